/*
 * The public keys of session tokens: from a file or an https URL, read again
 * at intervals, and once in a while for a key id nobody knows. The last good
 * set stays when a reading fails. Any thread.
 * Source: SECURITY rule 16.
 */
#ifndef PODTERM_GATEWAY_KEYSET_H
#define PODTERM_GATEWAY_KEYSET_H

#include "base/err.h"
#include "base/token.h"

#include <stdbool.h>
#include <stdint.h>

#define KEYSET_UNKNOWN_MS 10000 /* between two readings for unknown ids */

struct keyset;

/* Exactly one of file and url. ca_path NULL = system roots. */
struct keyset *keyset_new(const char *file, const char *url,
                          const char *ca_path);
void keyset_free(struct keyset *k);
/* Read now. Blocks. 0; 1: another reading is under way; -1: the old set
 * stays. */
int keyset_refresh(struct keyset *k, int64_t now_ms, struct err *e);
enum keyset_news {
    KEYSET_SAME,  /* too soon, or it could not be read */
    KEYSET_FRESH, /* a set was read */
    KEYSET_BUSY   /* another reading is under way, which may bring the key */
};
/* For an unknown key id: reads at most once in KEYSET_UNKNOWN_MS, and not
 * beside another reading. Blocks while it reads. */
enum keyset_news keyset_refresh_unknown(struct keyset *k, int64_t now_ms);
/* Is there a set? */
bool keyset_is_loaded(struct keyset *k);
/* session_token_verify with the set of now; ERR_SYSTEM when there is none. */
int keyset_verify(struct keyset *k, const char *token, size_t len,
                  const char *iss, const char *aud, int64_t now_s,
                  int64_t skew_s, struct session_claims *out, bool *kid_unknown,
                  struct err *e);

#endif
