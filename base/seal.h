/*
 * Randomness, sealed boxes, signatures, constant-time and wiping memory
 * (doorway on libsodium).
 */
#ifndef PODTERM_BASE_SEAL_H
#define PODTERM_BASE_SEAL_H

#include "base/err.h"
#include "base/vocab.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SESSION_KEY_BYTES 32
#define SEAL_KEY_BYTES 32
#define SEAL_OVERHEAD (24 + 16) /* nonce, tag */
#define SEALED_KEY_BYTES (SESSION_KEY_BYTES + SEAL_OVERHEAD)

/* Once per process, before anything else here; aborts if it fails. */
void seal_init(void);
void random_bytes(void *out, size_t len);
/* A fresh id of ID_LEN characters and a terminator (base/vocab.h). */
void random_id(char out[ID_SIZE]);
/* ID_LEN characters of [a-z2-7]? */
bool id_is_valid(const char *text);
/* Equal? In time that depends on len alone. */
bool same_bytes(const void *a, const void *b, size_t len);
void wipe(void *bytes, size_t len);

/* Seal len bytes with `bind` (the session id) bound in: it opens only with
 * the same bind text. out: len + SEAL_OVERHEAD bytes. */
void seal_bytes(const uint8_t key[SEAL_KEY_BYTES], const char *bind,
                const void *plain, size_t len, uint8_t *out);
/* 0 and len - SEAL_OVERHEAD bytes in out, or -1 (wrong key, bind, bytes;
 * out is then of no use). */
int seal_open(const uint8_t key[SEAL_KEY_BYTES], const char *bind,
              const void *sealed, size_t len, uint8_t *out);

/*
 * Read a key of exactly 32 bytes (raw, or 64 hex characters and an optional
 * newline) from a regular file of ours or root's that only its owner may
 * read or write (base/keyfile.h).
 * ERR_INPUT says which rule the file breaks.
 */
int seal_key_load(const char *path, uint8_t out[32], struct err *e);
/* The key in what was read of such a file; path: for errors. */
struct buf;
int seal_key_of(const char *path, const struct buf *b, uint8_t out[32],
                struct err *e);
/* The same, making the file (0600, random) when it is absent. */
int seal_key_load_or_make(const char *path, uint8_t out[32], struct err *e);

/* Ed25519 */
bool ed25519_verify(const uint8_t sig[64], const void *bytes, size_t len,
                    const uint8_t key[32]);

#endif
