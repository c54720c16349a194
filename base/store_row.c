#include "base/store_row.h"

#include "base/layer.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define ROW_VERSION 1

enum row_kind {
    ROW_TEXT,    /* char[]: shorter than its place, no zero byte inside */
    ROW_NUMBER,  /* int64_t, 0.. */
    ROW_SMALL,   /* int, 0..max */
    ROW_STATE,   /* enum session_state */
    ROW_REASON,  /* enum end_reason */
    ROW_FLAG,    /* bool */
    ROW_BYTE,    /* uint8_t, 0..max */
    ROW_COUNTER, /* uint32_t */
    ROW_BYTES,   /* exactly as many as its place has */
    ROW_VIEWER,  /* one of a list, in order */
    ROW_STAGE,   /* one of a list, in order */
};

struct row_field {
    uint8_t tag; /* for good: a field that goes leaves its number */
    bool must;   /* a row without it is none */
    enum row_kind kind;
    size_t at, size;
    int max;
};

#define AT(member)                                                             \
    offsetof(struct store_session, member),                                    \
        sizeof(((struct store_session *)NULL)->member)
#define FIELD(tag, must, kind, member, max)                                    \
    {                                                                          \
        tag, must, kind, AT(member), max                                       \
    }

static const struct row_field fields[] = {
    FIELD(1, true, ROW_TEXT, id, 0),
    FIELD(2, true, ROW_TEXT, owner_iss, 0),
    FIELD(3, true, ROW_TEXT, owner_sub, 0),
    FIELD(4, true, ROW_STATE, state, STATE_COUNT - 1),
    FIELD(5, false, ROW_REASON, reason, REASON_COUNT - 1),
    FIELD(6, false, ROW_FLAG, has_exit, 0),
    FIELD(7, false, ROW_SMALL, exit_code, 255),
    FIELD(8, false, ROW_SMALL, exit_signal, 255),
    FIELD(9, false, ROW_TEXT, detail, 0),
    FIELD(10, true, ROW_NUMBER, created_ms, 0),
    FIELD(11, false, ROW_NUMBER, started_ms, 0),
    FIELD(12, false, ROW_NUMBER, ended_ms, 0),
    FIELD(13, false, ROW_NUMBER, output_bytes, 0),
    FIELD(14, false, ROW_NUMBER, input_bytes, 0),
    FIELD(15, false, ROW_TEXT, bundle_url, 0),
    FIELD(16, false, ROW_TEXT, bundle_sha256, 0),
    FIELD(17, false, ROW_VIEWER, viewers, 0),
    FIELD(18, false, ROW_FLAG, viewer_history, 0),
    FIELD(19, false, ROW_NUMBER, lifetime_s, 0),
    FIELD(20, false, ROW_NUMBER, idle_s, 0),
    FIELD(21, false, ROW_FLAG, end_wanted, 0),
    FIELD(22, false, ROW_BYTE, egress, EGRESS_COUNT - 1),
    FIELD(23, false, ROW_TEXT, isolation, 0),
    FIELD(24, false, ROW_TEXT, agent_addr, 0),
    FIELD(25, false, ROW_TEXT, agent_uid, 0),
    FIELD(26, false, ROW_TEXT, launch_ref, 0),
    FIELD(27, false, ROW_TEXT, psk_id, 0),
    FIELD(28, false, ROW_BYTES, psk_sealed, 0),
    FIELD(29, false, ROW_STAGE, stages, 0),
    FIELD(30, false, ROW_COUNTER, viewers_untold, 0),
    FIELD(31, false, ROW_BYTE, cage, LAYER_KNOWN | LAYER_ALL),
};
#define FIELDS (sizeof(fields) / sizeof(fields[0]))

/* --- writing --- */

static void put(struct buf *out, uint8_t tag, const void *bytes, size_t len)
{
    if (buf_append_u8(out, tag) < 0 || buf_append_u16(out, (uint16_t)len) < 0 ||
        buf_append(out, bytes, len) < 0)
        abort(); /* STORE_ROW_BYTES_MAX is too small: our own mistake */
}

/* What is not there is 0. What could not be read again is cut to what can:
 * a row that is written stays readable. */
static void put_number(struct buf *out, const struct row_field *f, int64_t n,
                       int64_t max)
{
    uint64_t v = (uint64_t)(n < 0 ? 0 : n > max ? max : n);
    uint8_t bytes[8];

    if (v == 0 && !f->must)
        return;
    for (int i = 7; i >= 0; i--, v >>= 8)
        bytes[i] = (uint8_t)v;
    put(out, f->tag, bytes, sizeof(bytes));
}

static void put_stage(struct buf *out, uint8_t tag, const struct store_stage *s)
{
    const char *const texts[] = {s->stage, s->state, s->detail};
    struct buf b;

    buf_init(&b, sizeof(*s) + 16);
    for (size_t i = 0; i < 3; i++) {
        buf_append_u8(&b, (uint8_t)strlen(texts[i]));
        buf_append_str(&b, texts[i]);
    }
    buf_append_u64(&b, (uint64_t)s->ms);
    put(out, tag, b.data, b.len);
    buf_fini(&b);
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i])
            return false;
    return true;
}

static void put_field(struct buf *out, const struct row_field *f,
                      const struct store_session *row)
{
    const void *at = (const char *)row + f->at;

    switch (f->kind) {
    case ROW_TEXT:
        if (f->must || *(const char *)at)
            put(out, f->tag, at, strlen(at));
        break;
    case ROW_NUMBER:
        put_number(out, f, *(const int64_t *)at, INT64_MAX);
        break;
    case ROW_SMALL:
    case ROW_STATE:
    case ROW_REASON:
        put_number(out, f, *(const int *)at, f->max);
        break;
    case ROW_FLAG:
        put_number(out, f, *(const bool *)at, 1);
        break;
    case ROW_BYTE:
        put_number(out, f, *(const uint8_t *)at, f->max);
        break;
    case ROW_COUNTER:
        put_number(out, f, *(const uint32_t *)at, UINT32_MAX);
        break;
    case ROW_BYTES:
        if (!is_zero(at, f->size))
            put(out, f->tag, at, f->size);
        break;
    case ROW_VIEWER:
        for (int i = 0; i < STORE_VIEWERS_MAX && row->viewers[i][0]; i++)
            put(out, f->tag, row->viewers[i], strlen(row->viewers[i]));
        break;
    case ROW_STAGE:
        for (int i = 0; i < row->stage_count; i++)
            put_stage(out, f->tag, &row->stages[i]);
        break;
    }
}

void store_row_put(struct buf *out, const struct store_session *row)
{
    if (buf_append_u8(out, ROW_VERSION) < 0)
        abort();
    for (size_t i = 0; i < FIELDS; i++)
        put_field(out, &fields[i], row);
}

/* --- reading --- */

static int take_text(char *to, size_t size, const uint8_t *bytes, size_t len)
{
    if (len >= size || memchr(bytes, 0, len))
        return -1;
    memcpy(to, bytes, len);
    to[len] = '\0';
    return 0;
}

static int take_number(const uint8_t *bytes, size_t len, int64_t max,
                       int64_t *out)
{
    struct cursor c = cursor_of(bytes, len);
    uint64_t v;

    if (len != 8 || buf_take_u64(&c, &v) < 0 || v > (uint64_t)max)
        return -1;
    *out = (int64_t)v;
    return 0;
}

static int take_viewer(struct store_session *row, const uint8_t *bytes,
                       size_t len)
{
    int n = 0;

    while (n < STORE_VIEWERS_MAX && row->viewers[n][0])
        n++;
    if (n == STORE_VIEWERS_MAX || len == 0)
        return -1;
    return take_text(row->viewers[n], TOKEN_STR_MAX, bytes, len);
}

static int take_short(struct cursor *c, char *to, size_t size)
{
    const uint8_t *bytes;
    uint8_t len;

    if (buf_take_u8(c, &len) < 0 || buf_take_bytes(c, len, &bytes) < 0)
        return -1;
    return take_text(to, size, bytes, len);
}

static int take_stage(struct store_session *row, const uint8_t *bytes,
                      size_t len)
{
    struct cursor c = cursor_of(bytes, len);
    struct store_stage *s;
    uint64_t ms;

    if (row->stage_count == STORE_STAGES_MAX)
        return -1;
    s = &row->stages[row->stage_count];
    if (take_short(&c, s->stage, sizeof(s->stage)) < 0 ||
        take_short(&c, s->state, sizeof(s->state)) < 0 ||
        take_short(&c, s->detail, sizeof(s->detail)) < 0 ||
        buf_take_u64(&c, &ms) < 0 || cursor_left(&c) > 0)
        return -1;
    s->ms = (int64_t)ms; /* negative where the clock was put back */
    row->stage_count++;
    return 0;
}

static int take_field(const struct row_field *f, const uint8_t *bytes,
                      size_t len, struct store_session *row)
{
    void *at = (char *)row + f->at;
    int64_t v = 0;

    switch (f->kind) {
    case ROW_TEXT:
        return take_text(at, f->size, bytes, len);
    case ROW_NUMBER:
        return take_number(bytes, len, INT64_MAX, at);
    case ROW_SMALL:
    case ROW_STATE:
    case ROW_REASON:
        if (take_number(bytes, len, f->max, &v) < 0)
            return -1;
        *(unsigned *)at = (unsigned)v;
        return 0;
    case ROW_FLAG:
        if (take_number(bytes, len, 1, &v) < 0)
            return -1;
        *(bool *)at = v == 1;
        return 0;
    case ROW_BYTE:
        if (take_number(bytes, len, f->max, &v) < 0)
            return -1;
        *(uint8_t *)at = (uint8_t)v;
        return 0;
    case ROW_COUNTER:
        if (take_number(bytes, len, UINT32_MAX, &v) < 0)
            return -1;
        *(uint32_t *)at = (uint32_t)v;
        return 0;
    case ROW_BYTES:
        if (len != f->size)
            return -1;
        memcpy(at, bytes, len);
        return 0;
    case ROW_VIEWER:
        return take_viewer(row, bytes, len);
    case ROW_STAGE:
        return take_stage(row, bytes, len);
    }
    return -1;
}

static const struct row_field *field_of(uint8_t tag)
{
    for (size_t i = 0; i < FIELDS; i++)
        if (fields[i].tag == tag)
            return &fields[i];
    return NULL;
}

static int take_all(struct cursor *c, struct store_session *row)
{
    bool is_seen[256] = {false};
    const uint8_t *bytes;
    uint8_t tag;
    uint16_t len;

    if (buf_take_u8(c, &tag) < 0 || tag != ROW_VERSION)
        return -1;
    while (cursor_left(c) > 0) {
        const struct row_field *f;

        if (buf_take_u8(c, &tag) < 0 || buf_take_u16(c, &len) < 0 ||
            buf_take_bytes(c, len, &bytes) < 0)
            return -1;
        f = field_of(tag);
        if (!f)
            continue; /* a newer program's */
        if (is_seen[tag] && f->kind != ROW_VIEWER && f->kind != ROW_STAGE)
            return -1;
        is_seen[tag] = true;
        if (take_field(f, bytes, len, row) < 0)
            return -1;
    }
    for (size_t i = 0; i < FIELDS; i++)
        if (fields[i].must && !is_seen[fields[i].tag])
            return -1;
    return id_is_valid(row->id) ? 0 : -1;
}

int store_row_take(const void *bytes, size_t len, struct store_session *out,
                   struct err *e)
{
    struct store_session *row = mem_zero(1, sizeof(*row));
    struct cursor c = cursor_of(bytes, len);
    int r = 0;

    if (len > STORE_ROW_BYTES_MAX || take_all(&c, row) < 0)
        r = err_set(e, ERR_SYSTEM, "store: a session's row is not one of ours");
    else
        *out = *row;
    wipe(row, sizeof(*row));
    free(row);
    return r;
}
