/*
 * What base/token.c needs of signers and key sets beyond base/token.h.
 */
#ifndef PODTERM_BASE_TOKEN_KEYS_H
#define PODTERM_BASE_TOKEN_KEYS_H

#include "base/rsa.h"
#include "base/token.h"

const struct rsa_key *token_signer_key(const struct token_signer *s);
/* The key of exactly this kid, or NULL. */
const struct rsa_key *token_keys_find(const struct token_keys *k,
                                      const char *kid);

#endif
