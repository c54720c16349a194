/* The clients of tests/lib/agentbox.h. */
#include "tests/lib/agentbox.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "gateway/wsframe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- birth and death --- */

struct agentlink *agentlink_try(struct agentbox *b, const uint8_t *key,
                                const char *psk_id)
{
    struct wspeer *p = wspeer_try_dial(b->addr);
    struct agentlink *l;

    if (!p)
        return NULL;
    p->tls = tls_dial_psk(b->ctx, p->fd, psk_id, key);
    if (!p->tls || !wspeer_shake(p) || !wspeer_try_upgrade(p, b->addr)) {
        wspeer_free(p);
        return NULL;
    }
    l = mem_zero(1, sizeof(*l));
    l->box = b;
    l->peer = p;
    l->auto_ack = true;
    l->exit_code = l->exit_signal = l->close_code = -1;
    l->text = mem_zero(1, 1);
    return l;
}

struct agentlink *agentlink_dial(struct agentbox *b)
{
    struct agentlink *l = agentlink_try(b, b->key, b->psk_id);

    if (!l)
        fail_msg("the agent was not reached");
    return l;
}

void agentlink_hello(struct agentlink *l, const char *token, int64_t from,
                     int cols, int rows)
{
    char where[64] = "", size[64] = "";
    own_mem char *text = NULL;

    if (from >= 0)
        snprintf(where, sizeof(where), ",\"output_from\":%lld",
                 (long long)from);
    if (cols)
        snprintf(size, sizeof(size), ",\"cols\":%d,\"rows\":%d", cols, rows);
    text = mem_printf("{\"token\":\"%s\"%s%s}", token, where, size);
    wspeer_binary(l->peer, FRAME_HELLO, text);
}

struct agentlink *agentlink_new_as(struct agentbox *b, enum role role,
                                   const char *sub, int64_t from)
{
    own_mem char *token = agentbox_token(b, role, sub, NULL);
    struct agentlink *l = agentlink_dial(b);

    agentlink_hello(l, token, from, 0, 0);
    l->may_jump = role == ROLE_VIEWER;
    agentlink_until(l, FRAME_READY, WSPEER_MS);
    return l;
}

struct agentlink *agentlink_new(struct agentbox *b, enum role role,
                                int64_t from)
{
    return agentlink_new_as(b, role, role == ROLE_VIEWER ? "vera" : NULL, from);
}

void agentlink_free(struct agentlink *l)
{
    if (!l)
        return;
    wspeer_free(l->peer);
    free(l->text);
    free(l);
}

/* --- taking in --- */

static uint64_t number(const struct json *j, const char *name)
{
    int64_t v = 0;

    if (json_get_int(j, name, &v) < 0)
        fail_msg("no number \"%s\"", name);
    return (uint64_t)v;
}

static void string(const struct json *j, const char *name, char *out,
                   size_t size)
{
    const char *v = json_get_str(j, name);

    snprintf(out, size, "%s", v ? v : "");
}

static void take_output(struct agentlink *l, const struct frame *f)
{
    if (f->offset != l->output) {
        if (!l->may_jump || f->offset < l->output)
            fail_msg("OUTPUT at %llu, %llu was next",
                     (unsigned long long)f->offset,
                     (unsigned long long)l->output);
        l->jumped += f->offset - l->output;
    }
    l->output = f->offset + f->body_len;
    if (l->take) {
        l->take(l->take_arg, f->offset, f->body, f->body_len);
    } else {
        if (l->text_len + f->body_len > AGENTBOX_TEXT_MAX)
            l->text_len = 0;
        l->text = mem_resize(l->text, l->text_len + f->body_len + 1, 1);
        for (size_t i = 0; i < f->body_len; i++)
            l->text[l->text_len++] = f->body[i] ? (char)f->body[i] : '.';
        l->text[l->text_len] = 0;
    }
    if (l->auto_ack)
        agentlink_ack(l, l->output);
}

static void take_json(struct agentlink *l, const struct frame *f)
{
    struct err e = {0};
    own_json struct json *j = json_parse(f->body, f->body_len, &e);
    int64_t v;

    if (!j)
        fail_msg("%s: %s", frame_name(f->type), e.text);
    if (f->type == FRAME_READY) {
        l->output = l->output_from = number(j, "output_from");
        l->output_seen = number(j, "output_seen");
        l->typed = l->input_acked = number(j, "input_received");
        l->window = number(j, "window");
        l->input_window = number(j, "input_window");
    } else if (f->type == FRAME_STAGE) {
        l->stages++;
        string(j, "stage", l->stage, sizeof(l->stage));
        if (strcmp(l->stage, "notice") == 0)
            string(j, "detail", l->notice, sizeof(l->notice));
    } else if (f->type == FRAME_EXIT) {
        l->exits++;
        string(j, "reason", l->reason, sizeof(l->reason));
        string(j, "detail", l->detail, sizeof(l->detail));
        l->exit_code = json_get_int(j, "code", &v) == 0 ? (int)v : -1;
        l->exit_signal = json_get_int(j, "signal", &v) == 0 ? (int)v : -1;
        l->output_end = number(j, "output_end");
        /* EXIT comes behind all OUTPUT */
        assert_int_equal(l->output, l->output_end);
    } else if (f->type == FRAME_ERROR) {
        string(j, "code", l->error, sizeof(l->error));
        assert_true(strlen(json_get_str(j, "message")) > 5);
    }
}

static int take_message(struct agentlink *l, const uint8_t *bytes, size_t len)
{
    struct frame f;

    if (frame_parse(bytes, len, false, &f) < 0)
        fail_msg("a message of type %02x and %zu bytes", len ? bytes[0] : 0,
                 len);
    switch (f.type) {
    case FRAME_OUTPUT:
        take_output(l, &f);
        break;
    case FRAME_INPUT_ACK:
        assert_true(f.offset >= l->input_acked);
        l->input_acked = f.offset;
        break;
    case FRAME_PONG:
        l->pong = f.offset;
        break;
    case FRAME_RESIZED:
        l->cols = f.cols;
        l->rows = f.rows;
        break;
    case FRAME_MOVE:
        break;
    default:
        take_json(l, &f);
    }
    return f.type;
}

/* A whole frame from what was read. 1 taken, 0 more bytes are needed. */
static int take_frame(struct agentlink *l, int *type)
{
    struct wspeer *p = l->peer;
    own_mem uint8_t *body = NULL;
    struct wsframe f;
    int r = wsframe_read(p->in, p->in_len, false, false, &f);

    if (r == WSFRAME_MORE || (r == 0 && p->in_len - f.head_len < f.len))
        return 0;
    assert_int_equal(r, 0);
    assert_true(f.is_final);
    body = mem_zero((size_t)f.len + 1, 1);
    memcpy(body, p->in + f.head_len, (size_t)f.len);
    p->in_len -= f.head_len + (size_t)f.len;
    memmove(p->in, p->in + f.head_len + (size_t)f.len, p->in_len);
    *type = 0;
    if (f.opcode == WSFRAME_BINARY) {
        *type = take_message(l, body, (size_t)f.len);
    } else if (f.opcode == WSFRAME_PING) {
        wspeer_send(p, WSFRAME_PONG, body, (size_t)f.len);
    } else if (f.opcode == WSFRAME_CLOSE) {
        l->close_code = f.len >= 2 ? body[0] << 8 | body[1] : 1005;
        p->may_die = true;
        wspeer_send(p, WSFRAME_CLOSE, body, f.len >= 2 ? 2 : 0);
        l->is_over = true;
        *type = -1;
    }
    return 1;
}

int agentlink_next(struct agentlink *l, int ms)
{
    int64_t until = loop_now_ms() + ms;

    for (;;) {
        int64_t left;
        int type, n;

        if (l->is_over)
            return -1;
        if (take_frame(l, &type) == 1) {
            if (type != 0)
                return type;
            continue;
        }
        left = until - loop_now_ms();
        n = wspeer_more(l->peer, left > 0 ? (int)left : 0);
        if (n < 0)
            l->is_over = true;
        else if (n == 0)
            return 0;
    }
}

void agentlink_until(struct agentlink *l, uint8_t type, int ms)
{
    int64_t until = loop_now_ms() + ms;
    int got;

    do {
        int64_t left = until - loop_now_ms();

        got = agentlink_next(l, left > 0 ? (int)left : 0);
        if (got <= 0)
            fail_msg("no %s within %d ms: %s, code %d, error \"%s\", output "
                     "\"%.200s\"",
                     frame_name(type), ms, got ? "over" : "silence",
                     l->close_code, l->error, l->text);
    } while (got != type);
}

void agentlink_expect(struct agentlink *l, const char *text, int ms)
{
    int64_t until = loop_now_ms() + ms;

    while (!strstr(l->text, text)) {
        int64_t left = until - loop_now_ms();

        if (left <= 0 || agentlink_next(l, (int)left) < 0)
            fail_msg("no \"%s\" in the output \"%.400s\" (%s, code %d, error "
                     "\"%s\")",
                     text, l->text, l->is_over ? "over" : "silence",
                     l->close_code, l->error);
    }
}

void agentlink_run(struct agentlink *l, int ms)
{
    int64_t until = loop_now_ms() + ms, left;

    while ((left = until - loop_now_ms()) > 0)
        if (agentlink_next(l, (int)left) < 0)
            return;
}

void agentlink_refused(struct agentlink *l, const char *word, int code)
{
    int64_t until = loop_now_ms() + AGENTBOX_MS, left;

    while (!l->is_over && (left = until - loop_now_ms()) > 0)
        agentlink_next(l, (int)left);
    if (!l->is_over || strcmp(l->error, word ? word : "") != 0 ||
        l->close_code != code)
        fail_msg("want %s %d, got \"%s\" %d (%s)", word ? word : "no error",
                 code, l->error, l->close_code,
                 l->is_over ? "over" : "still there");
    assert_true(wspeer_ends(l->peer, WSPEER_MS));
}

/* --- sending --- */

void agentlink_raw(struct agentlink *l, const void *bytes, size_t len)
{
    wspeer_send(l->peer, WSFRAME_BINARY, bytes, len);
}

static void send_offset(struct agentlink *l, uint8_t type, uint64_t value)
{
    uint8_t msg[FRAME_HEAD_MAX];

    agentlink_raw(l, msg, frame_head_offset(msg, type, value));
}

void agentlink_type_at(struct agentlink *l, uint64_t offset, const void *bytes,
                       size_t len)
{
    own_mem uint8_t *msg = mem_zero(FRAME_HEAD_MAX + len, 1);
    size_t head = frame_head_offset(msg, FRAME_INPUT, offset);

    memcpy(msg + head, bytes, len);
    agentlink_raw(l, msg, head + len);
}

void agentlink_type(struct agentlink *l, const void *bytes, size_t len)
{
    agentlink_type_at(l, l->typed, bytes, len);
    l->typed += len;
}

void agentlink_says(struct agentlink *l, const char *text)
{
    agentlink_type(l, text, strlen(text));
}

void agentlink_ack(struct agentlink *l, uint64_t offset)
{
    send_offset(l, FRAME_OUTPUT_ACK, offset);
}

void agentlink_resize(struct agentlink *l, uint16_t cols, uint16_t rows)
{
    uint8_t msg[FRAME_HEAD_MAX];

    agentlink_raw(l, msg, frame_size(msg, FRAME_RESIZE, cols, rows));
}

void agentlink_signal(struct agentlink *l, uint8_t signum)
{
    uint8_t msg[2] = {FRAME_SIGNAL, signum};

    agentlink_raw(l, msg, sizeof(msg));
}

void agentlink_ping(struct agentlink *l, uint64_t value)
{
    send_offset(l, FRAME_PING, value);
}

void agentlink_end(struct agentlink *l)
{
    uint8_t msg[1] = {FRAME_END};

    agentlink_raw(l, msg, sizeof(msg));
}
