#include "base/minisign.h"

#include "base/digest.h"
#include "base/seal.h"

#include <stdbool.h>
#include <string.h>

#define KEY_BYTES 42 /* "Ed", id, key */
#define SIG_BYTES 74 /* "ED", id, signature of the BLAKE2b-512 */
#define GLOBAL_BYTES 64
#define KEY_TEXT_MAX 1024 /* bytes of a .pub file */
#define COMMENT_MAX MINISIGN_TEXT_MAX

static const char untrusted[] = "untrusted comment: ";
static const char trusted[] = "trusted comment: ";

struct line {
    const char *text;
    size_t len;
};

/* The next line without its end ("\n" or "\r\n"); false when none is left. */
static bool line_take(const char **at, size_t *left, struct line *out)
{
    const char *end;
    size_t len;

    if (*left == 0)
        return false;
    end = memchr(*at, '\n', *left);
    len = end ? (size_t)(end - *at) : *left;
    *out = (struct line){*at, len};
    if (out->len && out->text[out->len - 1] == '\r')
        out->len--;
    len += end != NULL;
    *at += len;
    *left -= len;
    return true;
}

static bool line_starts(const struct line *l, const char *with)
{
    return l->len >= strlen(with) && memcmp(l->text, with, strlen(with)) == 0;
}

/* Exactly len bytes of base64. */
static bool line_bytes(const struct line *l, uint8_t *out, size_t len)
{
    return base64_decode(l->text, l->len, out, len) == (long)len;
}

int minisign_key_parse(const char *text, struct minisign_key *out,
                       struct err *e)
{
    size_t left = strnlen(text, KEY_TEXT_MAX + 1);
    uint8_t raw[KEY_BYTES];
    struct line l = {0};

    if (left > KEY_TEXT_MAX)
        return err_set(e, ERR_INPUT,
                       "minisign public key: longer than %d bytes",
                       KEY_TEXT_MAX);
    if (line_take(&text, &left, &l) && line_starts(&l, untrusted))
        line_take(&text, &left, &l);
    if (!line_bytes(&l, raw, sizeof(raw)) || left > 0)
        return err_set(e, ERR_INPUT,
                       "minisign public key: expected one line of 56 base64 "
                       "characters, with or without its comment");
    if (memcmp(raw, "Ed", 2) != 0)
        return err_set(e, ERR_INPUT, "minisign public key: not an Ed25519 key");
    memcpy(out->id, raw + 2, sizeof(out->id));
    memcpy(out->key, raw + 10, sizeof(out->key));
    return 0;
}

struct signature {
    uint8_t raw[SIG_BYTES]; /* algorithm, id, signature */
    uint8_t global[GLOBAL_BYTES];
    struct line comment; /* the trusted one, without its prefix */
};

static int signature_parse(const char *text, size_t left, struct signature *out,
                           struct err *e)
{
    struct line l = {0};

    if (left > MINISIGN_TEXT_MAX)
        return err_set(e, ERR_INPUT, "signature: %zu bytes, at most %d", left,
                       MINISIGN_TEXT_MAX);
    if (!line_take(&text, &left, &l) || !line_starts(&l, untrusted))
        return err_set(e, ERR_INPUT,
                       "signature: not a minisign signature (line 1 is no "
                       "untrusted comment)");
    if (!line_take(&text, &left, &l) ||
        !line_bytes(&l, out->raw, sizeof(out->raw)))
        return err_set(e, ERR_INPUT,
                       "signature: line 2 is not 74 bytes in base64");
    if (!line_take(&text, &left, &l) || !line_starts(&l, trusted))
        return err_set(e, ERR_INPUT, "signature: line 3 is no trusted comment");
    out->comment =
        (struct line){l.text + strlen(trusted), l.len - strlen(trusted)};
    if (!line_take(&text, &left, &l) ||
        !line_bytes(&l, out->global, sizeof(out->global)))
        return err_set(e, ERR_INPUT,
                       "signature: line 4 is not 64 bytes in base64");
    if (left > 0)
        return err_set(e, ERR_INPUT, "signature: bytes behind line 4");
    return 0;
}

static const struct minisign_key *
key_of(const struct signature *s, const struct minisign_key *keys, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (memcmp(keys[i].id, s->raw + 2, sizeof(keys[i].id)) == 0)
            return &keys[i];
    return NULL;
}

/* The global signature covers the signature and the trusted comment. */
static bool comment_is_signed(const struct signature *s,
                              const struct minisign_key *key)
{
    uint8_t text[64 + COMMENT_MAX];

    memcpy(text, s->raw + 10, 64);
    memcpy(text + 64, s->comment.text, s->comment.len);
    return ed25519_verify(s->global, text, 64 + s->comment.len, key->key);
}

int minisign_verify(const char *sig_text, size_t sig_len,
                    const uint8_t blake2b[64], const struct minisign_key *keys,
                    size_t count, struct err *e)
{
    const struct minisign_key *key;
    struct signature s = {.comment = {"", 0}};

    if (signature_parse(sig_text, sig_len, &s, e) < 0)
        return -1;
    if (memcmp(s.raw, "ED", 2) != 0)
        return err_set(e, ERR_INPUT,
                       "signature: not of minisign's prehashed kind; sign "
                       "again without -l");
    key = key_of(&s, keys, count);
    if (!key)
        return err_set(e, ERR_DENIED,
                       "signature: made with a key that is not among the "
                       "%zu accepted",
                       count);
    if (!ed25519_verify(s.raw + 10, blake2b, BLAKE2B_BYTES, key->key))
        return err_set(e, ERR_DENIED, "signature: wrong for these bytes");
    if (!comment_is_signed(&s, key))
        return err_set(e, ERR_DENIED,
                       "signature: the trusted comment was changed");
    return 0;
}
