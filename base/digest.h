/*
 * Digests, key derivation, message authentication, and the text encodings
 * that go with them (doorway on OpenSSL EVP; six times libsodium's speed, and
 * constant memory).
 */
#ifndef PODTERM_BASE_DIGEST_H
#define PODTERM_BASE_DIGEST_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32
#define SHA256_HEX 64
#define BLAKE2B_BYTES 64

struct digest; /* a running hash */

enum digest_kind { DIGEST_SHA256, DIGEST_BLAKE2B_512 };

struct digest *digest_new(enum digest_kind kind);
void digest_free(struct digest *d);
void digest_add(struct digest *d, const void *bytes, size_t len);
/* out: 32 or 64 bytes. The object may then only be freed. */
void digest_end(struct digest *d, uint8_t *out);
void sha256(const void *bytes, size_t len, uint8_t out[SHA256_BYTES]);
/* For the WebSocket opening handshake alone (RFC 6455 1.3). */
#define SHA1_BYTES 20
void sha1(const void *bytes, size_t len, uint8_t out[SHA1_BYTES]);

/* HKDF-SHA-256 (RFC 5869) without salt; out_len 1..255*32. Aborts only if
 * the library itself fails. */
void hkdf_sha256(const void *key, size_t key_len, const char *info, void *out,
                 size_t out_len);

/* HMAC-SHA-256 (RFC 2104). Aborts only if the library itself fails. */
void hmac_sha256(const void *key, size_t key_len, const void *bytes, size_t len,
                 uint8_t out[SHA256_BYTES]);

/* Lower-case hex; out has 2*len+1 bytes. */
void hex_encode(const void *bytes, size_t len, char *out);
/* Exactly out_len bytes of lower- or upper-case hex, or -1. */
int hex_decode(const char *text, size_t len, uint8_t *out, size_t out_len);

/* base64 (standard, padded) and base64url (unpadded). Encoders return the
 * length written, out has base64_size(len) bytes incl. the terminator.
 * Decoders are strict: no white space, canonical trailing bits, right
 * padding; return bytes written or -1 (also when cap is too small). */
size_t base64_size(size_t len);
size_t base64_encode(const void *bytes, size_t len, char *out);
size_t base64url_encode(const void *bytes, size_t len, char *out);
long base64_decode(const char *text, size_t len, uint8_t *out, size_t cap);
long base64url_decode(const char *text, size_t len, uint8_t *out, size_t cap);

#endif
