/*
 * minisign signatures over a bundle (Ed25519, prehashed "ED": BLAKE2b-512;
 * legacy "Ed" is refused). The trusted comment's global signature is checked
 * too. Source: https://jedisct1.github.io/minisign/ "Signature format".
 */
#ifndef PODTERM_BASE_MINISIGN_H
#define PODTERM_BASE_MINISIGN_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define MINISIGN_TEXT_MAX 4096 /* bytes of a signature file */

struct minisign_key {
    uint8_t id[8];
    uint8_t key[32];
};

/* Read a public key: the base64 line alone, or a whole .pub file's text. */
int minisign_key_parse(const char *text, struct minisign_key *out,
                       struct err *e);

/*
 * Check a signature file's text against the file's BLAKE2b-512.
 * keys/count: the operator's keys; the one with the signature's id is used.
 * 0, or -1 with ERR_DENIED (unknown key, wrong signature) or ERR_INPUT.
 */
int minisign_verify(const char *sig_text, size_t sig_len,
                    const uint8_t blake2b[64], const struct minisign_key *keys,
                    size_t count, struct err *e);

#endif
