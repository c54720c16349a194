#include "base/seal.h"

#include "base/digest.h"
#include "base/keyfile.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(SEAL_OVERHEAD == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES +
                                    crypto_aead_xchacha20poly1305_ietf_ABYTES,
               "nonce and tag");
_Static_assert(SEAL_KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
               "key");

#define SEAL_NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define ID_RANDOM_BYTES 16
#define KEY_FILE_MAX 65 /* bytes: 64 hex characters and a newline */

void seal_init(void)
{
    if (sodium_init() < 0)
        abort();
}

void random_bytes(void *out, size_t len)
{
    randombytes_buf(out, len);
}

void random_id(char out[ID_SIZE])
{
    static const char abc[] = "abcdefghijklmnopqrstuvwxyz234567";
    uint8_t raw[ID_RANDOM_BYTES + 1] = {0};

    random_bytes(raw, ID_RANDOM_BYTES);
    for (size_t i = 0; i < ID_LEN; i++) {
        size_t bit = 5 * i;
        unsigned pair = (unsigned)raw[bit / 8] << 8 | raw[bit / 8 + 1];

        out[i] = abc[pair >> (11 - bit % 8) & 31];
    }
    out[ID_LEN] = 0;
}

bool id_is_valid(const char *text)
{
    return text && strlen(text) == ID_LEN &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz234567") == ID_LEN;
}

bool same_bytes(const void *a, const void *b, size_t len)
{
    return sodium_memcmp(a, b, len) == 0;
}

void wipe(void *bytes, size_t len)
{
    sodium_memzero(bytes, len);
}

void seal_bytes(const uint8_t key[SEAL_KEY_BYTES], const char *bind,
                const void *plain, size_t len, uint8_t *out)
{
    random_bytes(out, SEAL_NONCE_BYTES);
    if (crypto_aead_xchacha20poly1305_ietf_encrypt(
            out + SEAL_NONCE_BYTES, NULL, plain, len, (const uint8_t *)bind,
            strlen(bind), NULL, out, key) != 0)
        abort();
}

int seal_open(const uint8_t key[SEAL_KEY_BYTES], const char *bind,
              const void *sealed, size_t len, uint8_t *out)
{
    const uint8_t *p = sealed;

    if (len < SEAL_OVERHEAD)
        return -1;
    return crypto_aead_xchacha20poly1305_ietf_decrypt(
               out, NULL, NULL, p + SEAL_NONCE_BYTES, len - SEAL_NONCE_BYTES,
               (const uint8_t *)bind, strlen(bind), p, key) == 0
               ? 0
               : -1;
}

/* --- key files --- */

int seal_key_of(const char *path, const struct buf *b, uint8_t out[32],
                struct err *e)
{
    const char *text = (const char *)b->data;
    size_t len = b->len;

    if (len == 32) {
        memcpy(out, b->data, 32);
        return 0;
    }
    if (len == 65 && text[64] == '\n')
        len--;
    if (len != 64)
        return err_set(e, ERR_INPUT,
                       "%s has %zu bytes: a key is 32 bytes, or 64 hex "
                       "characters",
                       path, b->len);
    if (hex_decode(text, len, out, 32) < 0)
        return err_set(e, ERR_INPUT, "%s: not 64 hex characters", path);
    return 0;
}

static int seal_key_read(const char *path, uint8_t out[32], struct err *e)
{
    struct buf b;
    int r;

    buf_init(&b, KEY_FILE_MAX);
    r = keyfile_read(path, &b, e);
    if (r == 0)
        r = seal_key_of(path, &b, out, e);
    buf_fini_secret(&b);
    return r;
}

int seal_key_load(const char *path, uint8_t out[32], struct err *e)
{
    struct err why = {0};

    if (seal_key_read(path, out, &why) == 0)
        return 0;
    /* a key that was named and is missing is a setting to mend */
    if (why.kind == ERR_ABSENT)
        why.kind = ERR_INPUT;
    if (e)
        *e = why;
    return -1;
}

int seal_key_load_or_make(const char *path, uint8_t out[32], struct err *e)
{
    struct err why = {0};
    uint8_t fresh[32];
    int r;

    if (seal_key_read(path, out, &why) == 0)
        return 0;
    if (why.kind != ERR_ABSENT) {
        if (e)
            *e = why;
        return -1;
    }
    random_bytes(fresh, sizeof(fresh));
    r = keyfile_make(path, fresh, sizeof(fresh), &why);
    wipe(fresh, sizeof(fresh));
    if (r < 0 && why.kind != ERR_CONFLICT) {
        if (e)
            *e = why;
        return -1;
    }
    return seal_key_load(path, out, e);
}

bool ed25519_verify(const uint8_t sig[64], const void *bytes, size_t len,
                    const uint8_t key[32])
{
    return crypto_sign_verify_detached(sig, bytes, len, key) == 0;
}
