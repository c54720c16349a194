/*
 * RSA keys and RS256 signatures (RSASSA-PKCS1-v1_5 with SHA-256, RFC 8017;
 * doorway on OpenSSL for keys). Accepted anywhere: 2048 to 4096 bits and the
 * exponent 65537.
 *
 * A key is immutable and may be shared by threads.
 */
#ifndef PODTERM_BASE_RSA_H
#define PODTERM_BASE_RSA_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 4096
#define RSA_BYTES_MAX (RSA_BITS_MAX / 8) /* of a modulus or a signature */
#define RSA_PEM_MAX 16384                /* bytes of a private key's text */

struct rsa_key; /* a private or a public key */

/* A fresh private key of RSA_BITS_MIN bits. NULL with ERR_SYSTEM. */
struct rsa_key *rsa_make(struct err *e);
/* An unencrypted PEM private key. NULL with ERR_INPUT saying what is wrong
 * with it; it is tried on a signature before it is believed. */
struct rsa_key *rsa_from_pem(const void *pem, size_t len, struct err *e);
/* The private key as PKCS#8 PEM: a secret, buf_fini_secret it. */
int rsa_to_pem(const struct rsa_key *k, struct buf *out, struct err *e);
/* A public key of its big-endian modulus and exponent, without leading
 * zeros. NULL with ERR_INPUT. */
struct rsa_key *rsa_from_parts(const uint8_t *n, size_t n_len,
                               const uint8_t *exponent, size_t exponent_len,
                               struct err *e);
void rsa_free(struct rsa_key *k);

/* The modulus, big-endian, without leading zeros; returns its bytes. The
 * exponent is always 65537. */
size_t rsa_modulus(const struct rsa_key *k, uint8_t out[RSA_BYTES_MAX]);

/* Returns the signature's bytes, or -1 with ERR_SYSTEM. */
long rsa_sign(const struct rsa_key *k, const void *bytes, size_t len,
              uint8_t out[RSA_BYTES_MAX], struct err *e);
bool rsa_verify(const struct rsa_key *k, const void *bytes, size_t len,
                const uint8_t *sig, size_t sig_len);

#endif
