#include "agent/hello.h"

#include <string.h>

enum { HANDSHAKE = 22, APPLICATION = 23 }; /* kinds of records */
enum { RECORD_HEAD = 5, RECORD_MAX = 16384 };
enum { CLIENT_HELLO = 1, MESSAGE_HEAD = 4 };
enum { EXT_NAME = 0, EXT_EARLY = 42, EXT_ESNI = 0xffce, EXT_ECH = 0xfe0d };
#define EXTENSIONS_MAX 64
/* No server takes a larger one (OpenSSL's bound): what says it is larger was
 * encrypted. */
#define LENGTH_MAX 131396

/* A run of bytes; is_bad: more was taken than there is. */
struct bytes {
    const uint8_t *at;
    size_t left;
    bool is_bad;
};

static uint32_t take(struct bytes *b, size_t width)
{
    uint32_t v = 0;

    if (b->left < width) {
        b->is_bad = true;
        b->left = 0;
        return 0;
    }
    for (size_t i = 0; i < width; i++)
        v = v << 8 | b->at[i];
    b->at += width;
    b->left -= width;
    return v;
}

static struct bytes take_run(struct bytes *b, size_t len)
{
    struct bytes run = {b->at, len, b->left < len};

    if (run.is_bad) {
        b->is_bad = true;
        run.left = b->left = 0;
        return run;
    }
    b->at += len;
    b->left -= len;
    return run;
}

/* A vector with its length in front. */
static struct bytes take_vector(struct bytes *b, size_t width)
{
    size_t len = take(b, width);

    return take_run(b, len);
}

static uint16_t u16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

/* --- records to one message --- */

/* A handshake record's head at the front of len bytes. */
static enum hello_verdict record_head(const uint8_t *at, size_t len,
                                      size_t *body)
{
    if (len > 0 && at[0] != HANDSHAKE)
        return HELLO_NOT_TLS;
    if (len > 1 && at[1] != 3)
        return HELLO_NOT_TLS;
    if (len < RECORD_HEAD)
        return HELLO_MORE;
    *body = u16(at + 3);
    return *body < 1 || *body > RECORD_MAX ? HELLO_BROKEN : HELLO_WHOLE;
}

/* Puts the first message together in flat, of HELLO_MAX bytes; *used: the
 * records' bytes. */
static enum hello_verdict gather(const uint8_t *bytes, size_t len,
                                 uint8_t *flat, size_t *flat_len, size_t *used)
{
    size_t have = 0, want = MESSAGE_HEAD, at = 0;

    while (have < want) {
        size_t body, part;
        enum hello_verdict v = record_head(bytes + at, len - at, &body);

        if (v == HELLO_NOT_TLS && at > 0)
            v = HELLO_BROKEN; /* a message that another kind cuts in two */
        if (v == HELLO_MORE && len >= HELLO_WIRE_MAX)
            v = HELLO_TOO_LARGE;
        if (v != HELLO_WHOLE)
            return v;
        at += RECORD_HEAD;
        part = body < len - at ? body : len - at;
        if (have + part > HELLO_MAX)
            part = HELLO_MAX - have;
        memcpy(flat + have, bytes + at, part);
        have += part;
        if (have > 0 && flat[0] != CLIENT_HELLO)
            return HELLO_BROKEN;
        if (have >= MESSAGE_HEAD)
            want = MESSAGE_HEAD + ((size_t)flat[1] << 16 | u16(flat + 2));
        if (want > HELLO_MAX)
            return HELLO_TOO_LARGE;
        if (part < body && have < want)
            return len >= HELLO_WIRE_MAX ? HELLO_TOO_LARGE : HELLO_MORE;
        if (part < body)
            return HELLO_BROKEN; /* more than it in its last record */
        at += body;
    }
    if (have > want)
        return HELLO_BROKEN;
    *flat_len = want;
    *used = at;
    return HELLO_WHOLE;
}

/* --- the message --- */

static bool is_name(const struct bytes *b)
{
    const uint8_t *at = b->at;

    if (b->left < 1 || b->left > HELLO_NAME_MAX)
        return false;
    for (size_t i = 0; i < b->left; i++)
        if (!((at[i] >= 'a' && at[i] <= 'z') ||
              (at[i] >= 'A' && at[i] <= 'Z') ||
              (at[i] >= '0' && at[i] <= '9') || at[i] == '-' || at[i] == '_' ||
              (at[i] == '.' && i > 0 && at[i - 1] != '.')))
            return false;
    return at[b->left - 1] != '.';
}

/* One name of the only kind there is, and nothing else. */
static enum hello_verdict read_name(struct bytes ext, struct hello *out)
{
    struct bytes list = take_vector(&ext, 2), name;
    uint32_t type = take(&list, 1);

    name = take_vector(&list, 2);
    if (ext.is_bad || ext.left || list.is_bad || list.left || type != 0)
        return HELLO_BROKEN;
    if (!is_name(&name))
        return HELLO_NAMELESS;
    for (size_t i = 0; i < name.left; i++)
        out->name[i] = (char)(name.at[i] >= 'A' && name.at[i] <= 'Z'
                                  ? name.at[i] + ('a' - 'A')
                                  : name.at[i]);
    out->name[name.left] = 0;
    return HELLO_WHOLE;
}

static enum hello_verdict read_extensions(struct bytes all, struct hello *out)
{
    uint16_t seen[EXTENSIONS_MAX];
    size_t count = 0;
    enum hello_verdict v = HELLO_NAMELESS;

    while (all.left > 0) {
        uint16_t type = (uint16_t)take(&all, 2);
        struct bytes ext = take_vector(&all, 2);

        if (all.is_bad || count == EXTENSIONS_MAX)
            return HELLO_BROKEN;
        for (size_t i = 0; i < count; i++)
            if (seen[i] == type)
                return HELLO_BROKEN; /* which of the two counts? */
        seen[count++] = type;
        if (type == EXT_ECH || type == EXT_ESNI)
            return HELLO_ENCRYPTED;
        if (type == EXT_EARLY)
            out->has_early_data = true;
        if (type == EXT_NAME)
            v = read_name(ext, out);
        if (type == EXT_NAME && v != HELLO_WHOLE)
            return v;
    }
    return v;
}

static enum hello_verdict read_message(const uint8_t *flat, size_t len,
                                       struct hello *out)
{
    struct bytes b = {flat + MESSAGE_HEAD, len - MESSAGE_HEAD, false};
    struct bytes id, ciphers, compression, extensions;

    take(&b, 2);      /* version */
    take_run(&b, 32); /* random */
    id = take_vector(&b, 1);
    ciphers = take_vector(&b, 2);
    compression = take_vector(&b, 1);
    if (b.is_bad || id.left > 32 || ciphers.left < 2 || ciphers.left % 2 ||
        compression.left < 1)
        return HELLO_BROKEN;
    if (b.left == 0)
        return HELLO_NAMELESS; /* older than extensions */
    extensions = take_vector(&b, 2);
    if (b.is_bad || b.left)
        return HELLO_BROKEN;
    return read_extensions(extensions, out);
}

enum hello_verdict hello_read(const uint8_t *bytes, size_t len,
                              struct hello *out)
{
    uint8_t flat[HELLO_MAX];
    size_t flat_len, used;
    enum hello_verdict v = gather(bytes, len, flat, &flat_len, &used);

    if (v != HELLO_WHOLE)
        return v;
    out->has_early_data = false;
    out->used = used;
    return read_message(flat, flat_len, out);
}

/* --- what comes behind it --- */

/* After a ClientHello, and a change of cipher that means nothing yet, a client
 * says another one or what is encrypted; or, in TLS 1.2, the next message of
 * its handshake. Encrypted bytes of TLS 1.2 that look like the beginning of a
 * ClientHello are one in 30,000, and refused. */
static enum hello_verdict second(const uint8_t *bytes, size_t len,
                                 const struct hello *first, size_t *used)
{
    struct hello h = {0};
    enum hello_verdict v;

    if (len < RECORD_HEAD + 1)
        return HELLO_MORE;
    if (bytes[RECORD_HEAD] != CLIENT_HELLO)
        return HELLO_OVER;
    if (len >= RECORD_HEAD + MESSAGE_HEAD && u16(bytes + 3) >= MESSAGE_HEAD &&
        ((size_t)bytes[RECORD_HEAD + 1] << 16 | u16(bytes + RECORD_HEAD + 2)) >
            LENGTH_MAX)
        return HELLO_OVER;
    v = hello_read(bytes, len, &h);
    if (v == HELLO_WHOLE && strcmp(h.name, first->name) != 0)
        return HELLO_OTHER;
    *used = h.used;
    return v;
}

enum hello_verdict hello_next(const uint8_t *bytes, size_t len,
                              const struct hello *first, size_t *used)
{
    if (len < 1)
        return HELLO_MORE;
    if (bytes[0] == HANDSHAKE)
        return second(bytes, len, first, used);
    /* a server that takes no early data looks for a ClientHello behind it */
    if (bytes[0] == APPLICATION && !first->has_early_data)
        return HELLO_OVER;
    if (len < RECORD_HEAD || len < RECORD_HEAD + (size_t)u16(bytes + 3))
        return len < HELLO_WIRE_MAX ? HELLO_MORE : HELLO_TOO_LARGE;
    *used = RECORD_HEAD + (size_t)u16(bytes + 3);
    return HELLO_PASSES;
}

const char *hello_sentence(enum hello_verdict v)
{
    switch (v) {
    case HELLO_NOT_TLS:
        return "it does not speak TLS there";
    case HELLO_BROKEN:
        return "its TLS greeting cannot be read";
    case HELLO_TOO_LARGE:
        return "its TLS greeting is too large";
    case HELLO_NAMELESS:
        return "its TLS greeting does not name the server";
    case HELLO_ENCRYPTED:
        return "its TLS greeting may hide another name (Encrypted Client "
               "Hello)";
    case HELLO_OTHER:
        return "its second TLS greeting names another server";
    default:
        return NULL;
    }
}
