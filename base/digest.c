#include "base/digest.h"

#include "base/mem.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

struct digest {
    EVP_MD_CTX *ctx;
};

/* The library fails only for want of memory or of a provider: neither can
 * be mended here, and going on without a digest is worse. */
static void digest_must(int ok)
{
    if (ok != 1)
        abort();
}

struct digest *digest_new(enum digest_kind kind)
{
    struct digest *d = mem_zero(1, sizeof(*d));
    const EVP_MD *md =
        kind == DIGEST_BLAKE2B_512 ? EVP_blake2b512() : EVP_sha256();

    d->ctx = EVP_MD_CTX_new();
    digest_must(d->ctx != NULL);
    digest_must(EVP_DigestInit_ex(d->ctx, md, NULL));
    return d;
}

void digest_free(struct digest *d)
{
    if (!d)
        return;
    EVP_MD_CTX_free(d->ctx);
    free(d);
}

void digest_add(struct digest *d, const void *bytes, size_t len)
{
    if (len)
        digest_must(EVP_DigestUpdate(d->ctx, bytes, len));
}

void digest_end(struct digest *d, uint8_t *out)
{
    digest_must(EVP_DigestFinal_ex(d->ctx, out, NULL));
}

void sha256(const void *bytes, size_t len, uint8_t out[SHA256_BYTES])
{
    digest_must(EVP_Digest(bytes, len, out, NULL, EVP_sha256(), NULL));
}

void sha1(const void *bytes, size_t len, uint8_t out[SHA1_BYTES])
{
    digest_must(EVP_Digest(bytes, len, out, NULL, EVP_sha1(), NULL));
}

void hkdf_sha256(const void *key, size_t key_len, const char *info, void *out,
                 size_t out_len)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    char md[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, md, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)key,
                                          key_len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)info,
                                          strlen(info)),
        OSSL_PARAM_construct_end(),
    };

    digest_must(ctx != NULL);
    digest_must(EVP_KDF_derive(ctx, out, out_len, params));
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
}

void hmac_sha256(const void *key, size_t key_len, const void *bytes, size_t len,
                 uint8_t out[SHA256_BYTES])
{
    digest_must(EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key, key_len,
                          bytes, len, out, SHA256_BYTES, NULL) != NULL);
}

/* --- text encodings --- */

void hex_encode(const void *bytes, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = bytes;

    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * len] = 0;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int hex_decode(const char *text, size_t len, uint8_t *out, size_t out_len)
{
    if (len / 2 != out_len || len % 2)
        return -1;
    for (size_t i = 0; i < len; i++)
        if (hex_value(text[i]) < 0)
            return -1;
    for (size_t i = 0; i < out_len; i++) {
        unsigned high = (unsigned)hex_value(text[2 * i]);
        unsigned low = (unsigned)hex_value(text[2 * i + 1]);

        out[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

static const char standard[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char urlsafe[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

size_t base64_size(size_t len)
{
    return (len + 2) / 3 * 4 + 1;
}

/* Unpadded; returns the length. */
static size_t base64_write(const uint8_t *p, size_t len, const char *abc,
                           char *out)
{
    size_t at = 0;

    for (size_t i = 0; i < len; i += 3) {
        size_t take = len - i < 3 ? len - i : 3;
        uint32_t v = (uint32_t)p[i] << 16;

        if (take > 1)
            v |= (uint32_t)p[i + 1] << 8;
        if (take > 2)
            v |= p[i + 2];
        for (size_t k = 0; k <= take; k++)
            out[at++] = abc[v >> (18 - 6 * k) & 63];
    }
    out[at] = 0;
    return at;
}

size_t base64_encode(const void *bytes, size_t len, char *out)
{
    size_t at = base64_write(bytes, len, standard, out);

    while (at % 4)
        out[at++] = '=';
    out[at] = 0;
    return at;
}

size_t base64url_encode(const void *bytes, size_t len, char *out)
{
    return base64_write(bytes, len, urlsafe, out);
}

static int base64_value(char c, const char *abc)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == abc[62])
        return 62;
    return c == abc[63] ? 63 : -1;
}

/* Unpadded text; every bit of it must be used or zero. Output bytes are
 * written as they are found: a caller's buffer may be dirty after -1. */
static long base64_read(const char *text, size_t len, const char *abc,
                        uint8_t *out, size_t cap)
{
    size_t bytes = len / 4 * 3 + (len % 4 ? len % 4 - 1 : 0);
    uint32_t acc = 0;
    unsigned bits = 0;
    size_t at = 0;

    if (len % 4 == 1 || bytes > cap)
        return -1;
    for (size_t i = 0; i < len; i++) {
        int v = base64_value(text[i], abc);

        if (v < 0)
            return -1;
        acc = (acc << 6 | (uint32_t)v) & 0xffffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[at++] = (uint8_t)(acc >> bits);
        }
    }
    if (acc & ((1u << bits) - 1))
        return -1; /* a second spelling of the same bytes */
    return (long)at;
}

long base64_decode(const char *text, size_t len, uint8_t *out, size_t cap)
{
    size_t pad = 0;

    if (len % 4)
        return -1;
    while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
        pad++;
    return base64_read(text, len - pad, standard, out, cap);
}

long base64url_decode(const char *text, size_t len, uint8_t *out, size_t cap)
{
    return base64_read(text, len, urlsafe, out, cap);
}
