#include "gateway/say.h"

#include "base/frame.h"
#include "base/json.h"
#include "gateway/wsframe.h"

#include <string.h>

/* A client knows nine words; what else may go wrong is one of them. */
static enum err_kind kind_for_clients(enum err_kind kind)
{
    switch (kind) {
    case ERR_ABSENT:
        return ERR_DENIED;
    case ERR_CONFLICT:
    case ERR_TOO_LARGE:
        return ERR_INPUT;
    default:
        return kind;
    }
}

const char *say_word(enum err_kind kind)
{
    return err_word(kind_for_clients(kind));
}

static void say_frame(struct buf *out, uint8_t opcode, const void *body,
                      size_t len)
{
    uint8_t head[WSFRAME_HEAD_MAX];
    size_t n = wsframe_write(head, opcode, len, NULL);

    if (out->max - out->len < n + len)
        return; /* never half a frame */
    buf_append(out, head, n);
    buf_append(out, body, len);
}

static void say_body(struct buf *out, struct buf *body)
{
    say_frame(out, WSFRAME_BINARY, body->data, body->len);
    buf_fini(body);
}

void say_close(struct buf *out, int code)
{
    uint8_t body[2] = {(uint8_t)(code >> 8), (uint8_t)code};

    say_frame(out, WSFRAME_CLOSE, body, sizeof(body));
}

/* Codes that may stand in a close frame: RFC 6455, 7.4, and its registry. */
static bool is_close_code(int code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

void say_close_back(struct buf *out, const uint8_t *payload, size_t len)
{
    int code = len >= 2 ? payload[0] << 8 | payload[1] : 0;

    if (len == 0)
        say_frame(out, WSFRAME_CLOSE, NULL, 0);
    else
        say_close(out, is_close_code(code) ? code : WSFRAME_BROKEN);
}

void say_move(struct buf *out)
{
    uint8_t type = FRAME_MOVE;

    say_frame(out, WSFRAME_BINARY, &type, 1);
}

static void say_end(struct buf *body, const struct refusal *r)
{
    buf_printf(body, ",\"reason\":\"%s\",\"output_end\":%lld",
               end_reason_name(r->reason), (long long)r->output_end);
    if (r->detail && *r->detail) {
        buf_append_str(body, ",\"detail\":");
        json_quote(body, r->detail, strlen(r->detail));
    }
    if (!r->has_exit)
        return;
    if (r->exit_signal)
        buf_printf(body, ",\"signal\":%d", r->exit_signal);
    else
        buf_printf(body, ",\"exit_code\":%d", r->exit_code);
}

void say_refusal(struct buf *out, const struct refusal *r)
{
    enum err_kind kind = kind_for_clients(r->kind);
    const char *message = r->message ? r->message : "";
    struct buf body;

    if (kind == ERR_NONE) {
        say_close(out, r->close_code);
        return;
    }
    buf_init(&body, SAY_MAX - 2 * WSFRAME_HEAD_MAX - 2);
    buf_append_u8(&body, FRAME_ERROR);
    buf_printf(&body, "{\"code\":\"%s\",\"message\":", err_word(kind));
    json_quote(&body, message, strlen(message));
    if (r->retry_after_ms > 0)
        buf_printf(&body, ",\"retry_after_ms\":%lld",
                   (long long)r->retry_after_ms);
    if (kind == ERR_ENDED)
        say_end(&body, r);
    buf_append_str(&body, "}");
    say_body(out, &body);
    say_close(out, err_ws_code(kind));
}

void say_stage(struct buf *out, const char *stage, const char *state,
               int64_t ms, const char *detail)
{
    struct buf body;

    buf_init(&body, SAY_MAX - WSFRAME_HEAD_MAX);
    buf_append_u8(&body, FRAME_STAGE);
    buf_append_str(&body, "{\"stage\":");
    json_quote(&body, stage, strlen(stage));
    buf_append_str(&body, ",\"state\":");
    json_quote(&body, state, strlen(state));
    buf_printf(&body, ",\"ms\":%lld", (long long)ms);
    if (*detail) {
        buf_append_str(&body, ",\"detail\":");
        json_quote(&body, detail, strlen(detail));
    }
    buf_append_str(&body, "}");
    say_body(out, &body);
}
