#include "agent/hello.h"

#include "base/buf.h"

#include <string.h>

enum { HANDSHAKE = 22, APPLICATION = 23 }; /* kinds of records */
enum { RECORD_HEAD = 5, RECORD_MAX = 16384 };
enum { CLIENT_HELLO = 1, MESSAGE_HEAD = 4 };
enum { EXT_NAME = 0, EXT_EARLY = 42, EXT_ESNI = 0xffce, EXT_ECH = 0xfe0d };
#define EXTENSIONS_MAX 64
/* No server takes a larger one (OpenSSL's bound): what says it is larger was
 * encrypted. */
#define LENGTH_MAX 131396

static int take_run(struct cursor *c, size_t len, struct cursor *run)
{
    const uint8_t *at;

    if (buf_take_bytes(c, len, &at) < 0)
        return -1;
    *run = cursor_of(at, len);
    return 0;
}

/* A vector with its length in front, of one byte or two. */
static int take_vector8(struct cursor *c, struct cursor *out)
{
    uint8_t len;

    return buf_take_u8(c, &len) < 0 ? -1 : take_run(c, len, out);
}

static int take_vector16(struct cursor *c, struct cursor *out)
{
    uint16_t len;

    return buf_take_u16(c, &len) < 0 ? -1 : take_run(c, len, out);
}

/* --- records to one message --- */

/* Of the body, by a record's whole head. */
static size_t record_size(const uint8_t head[RECORD_HEAD])
{
    struct cursor c = cursor_of(head + 3, RECORD_HEAD - 3);
    uint16_t size = 0;

    (void)buf_take_u16(&c, &size);
    return size;
}

/* A handshake record's head at the front of len bytes. */
static enum hello_verdict record_head(const uint8_t *at, size_t len,
                                      size_t *body)
{
    struct cursor c = cursor_of(at, len);
    uint8_t kind, major;

    if (buf_take_u8(&c, &kind) < 0)
        return HELLO_MORE;
    if (kind != HANDSHAKE)
        return HELLO_NOT_TLS;
    if (buf_take_u8(&c, &major) < 0)
        return HELLO_MORE;
    if (major != 3)
        return HELLO_NOT_TLS;
    if (len < RECORD_HEAD)
        return HELLO_MORE;
    *body = record_size(at);
    return *body < 1 || *body > RECORD_MAX ? HELLO_BROKEN : HELLO_WHOLE;
}

/* Bytes of the message that begins there, its head too, once that is whole;
 * else those of a head. */
static size_t message_size(const uint8_t *at, size_t len)
{
    struct cursor c = cursor_of(at, len);
    uint8_t kind, high;
    uint16_t low;

    if (buf_take_u8(&c, &kind) < 0 || buf_take_u8(&c, &high) < 0 ||
        buf_take_u16(&c, &low) < 0)
        return MESSAGE_HEAD;
    return MESSAGE_HEAD + ((size_t)high << 16 | low);
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
        want = message_size(flat, have);
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

static bool is_name(const struct cursor *c)
{
    const uint8_t *at = c->data;

    if (c->len < 1 || c->len > HELLO_NAME_MAX)
        return false;
    for (size_t i = 0; i < c->len; i++)
        if (!((at[i] >= 'a' && at[i] <= 'z') ||
              (at[i] >= 'A' && at[i] <= 'Z') ||
              (at[i] >= '0' && at[i] <= '9') || at[i] == '-' || at[i] == '_' ||
              (at[i] == '.' && i > 0 && at[i - 1] != '.')))
            return false;
    return at[c->len - 1] != '.';
}

/* One name of the only kind there is, and nothing else. */
static enum hello_verdict read_name(struct cursor ext, struct hello *out)
{
    struct cursor list, name;
    uint8_t type;

    if (take_vector16(&ext, &list) < 0 || cursor_left(&ext) ||
        buf_take_u8(&list, &type) < 0 || type != 0 ||
        take_vector16(&list, &name) < 0 || cursor_left(&list))
        return HELLO_BROKEN;
    if (!is_name(&name))
        return HELLO_NAMELESS;
    for (size_t i = 0; i < name.len; i++)
        out->name[i] = (char)(name.data[i] >= 'A' && name.data[i] <= 'Z'
                                  ? name.data[i] + ('a' - 'A')
                                  : name.data[i]);
    out->name[name.len] = 0;
    return HELLO_WHOLE;
}

static enum hello_verdict read_extensions(struct cursor all, struct hello *out)
{
    uint16_t seen[EXTENSIONS_MAX], type;
    size_t count = 0;
    enum hello_verdict v = HELLO_NAMELESS;

    while (cursor_left(&all) > 0) {
        struct cursor ext;

        if (buf_take_u16(&all, &type) < 0 || take_vector16(&all, &ext) < 0 ||
            count == EXTENSIONS_MAX)
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
    struct cursor c = cursor_of(flat, len), skipped;
    struct cursor id, ciphers, compression, extensions;

    if (take_run(&c, MESSAGE_HEAD, &skipped) < 0 ||
        take_run(&c, 2, &skipped) < 0 ||  /* version */
        take_run(&c, 32, &skipped) < 0 || /* random */
        take_vector8(&c, &id) < 0 || take_vector16(&c, &ciphers) < 0 ||
        take_vector8(&c, &compression) < 0)
        return HELLO_BROKEN;
    if (id.len > 32 || ciphers.len < 2 || ciphers.len % 2 ||
        compression.len < 1)
        return HELLO_BROKEN;
    if (cursor_left(&c) == 0)
        return HELLO_NAMELESS; /* older than extensions */
    if (take_vector16(&c, &extensions) < 0 || cursor_left(&c))
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
    if (record_size(bytes) >= MESSAGE_HEAD &&
        message_size(bytes + RECORD_HEAD, len - RECORD_HEAD) >
            MESSAGE_HEAD + LENGTH_MAX)
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
    if (len < RECORD_HEAD || len < RECORD_HEAD + record_size(bytes))
        return len < HELLO_WIRE_MAX ? HELLO_MORE : HELLO_TOO_LARGE;
    *used = RECORD_HEAD + record_size(bytes);
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
