#include "agent/greet.h"

#include "base/layer.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/token.h"
#include "base/url.h"

#include <assert.h>
#include <string.h>

static int greet_cells(const struct json *body, const char *name, uint16_t *out,
                       struct err *e)
{
    int64_t v;

    *out = 0;
    if (!json_get(body, name))
        return 0;
    if (json_get_int(body, name, &v) < 0 || v < FRAME_CELLS_MIN ||
        v > FRAME_CELLS_MAX)
        return err_set(e, ERR_INPUT, "HELLO: %s must be %d..%d", name,
                       FRAME_CELLS_MIN, FRAME_CELLS_MAX);
    *out = (uint16_t)v;
    return 0;
}

/* The claims against this session. The signature was checked before. */
static int greet_judge(const struct agent_spec *spec,
                       const struct session_claims *c, struct err *e)
{
    if (strcmp(c->sid, spec->sid) != 0)
        return err_set(e, ERR_TOKEN, "token is for another session");
    if (strcmp(c->bnd, spec->bundle_sha256) != 0)
        return err_set(e, ERR_TOKEN, "token names another bundle");
    if (c->role == ROLE_VIEWER) {
        if (frame_viewers_find(&spec->viewers, c->sub) < 0)
            return err_set(e, ERR_DENIED, "subject is no viewer here");
    } else if (strcmp(c->sub, spec->owner_sub) != 0) {
        return err_set(e, ERR_DENIED, "subject is not the owner");
    }
    return 0;
}

/* Where output starts for this role, given what was asked for. */
static int greet_output_from(const struct agent_spec *spec,
                             const struct state_head *h,
                             const struct json *body, struct greet *g,
                             struct err *e)
{
    int64_t want = (int64_t)h->output_oldest;

    if (json_get(body, "output_from") &&
        (json_get_int(body, "output_from", &want) < 0 || want < 0))
        return err_set(e, ERR_INPUT,
                       "HELLO: output_from must be a whole "
                       "number");
    if ((uint64_t)want > h->output_end)
        return err_set(e, ERR_INPUT,
                       "HELLO: output_from %lld is ahead of the program",
                       (long long)want);
    g->output_from = (uint64_t)want;
    if (g->output_from < h->output_oldest)
        g->output_from = h->output_oldest;
    if (g->role == ROLE_VIEWER && !spec->viewer_history)
        g->output_from = h->output_end;
    return 0;
}

int greet_hello(const struct agent_spec *spec, struct state *s,
                const struct frame *hello, int64_t now_s, struct greet *out,
                struct err *e)
{
    static const char *const names[] = {"token", "cols", "rows", "output_from",
                                        NULL};
    own_json struct json *body = json_parse(hello->body, hello->body_len, e);
    struct session_claims claims;
    struct greet g = {0};
    const char *token;

    if (!body)
        return err_wrap(e, "HELLO");
    token = json_get_str(body, "token");
    if (!json_is_object(body) || !token || json_only(body, names, e) < 0)
        return err_set(e, ERR_INPUT, "HELLO: want an object with token");
    if (greet_cells(body, "cols", &g.cols, e) < 0 ||
        greet_cells(body, "rows", &g.rows, e) < 0)
        return -1;
    if (!g.cols != !g.rows)
        return err_set(e, ERR_INPUT, "HELLO: cols and rows go together");
    if (session_token_verify(spec->token_keys, token, strlen(token),
                             spec->token_iss, spec->token_aud, now_s,
                             spec->token_skew_s, &claims, NULL, e) < 0 ||
        greet_judge(spec, &claims, e) < 0)
        return -1;
    g.role = claims.role;
    g.viewer = g.role == ROLE_VIEWER
                   ? frame_viewers_find(&spec->viewers, claims.sub)
                   : -1;
    if (greet_output_from(spec, s->head, body, &g, e) < 0 ||
        state_jti_add(s, claims.jti, g.role,
                      claims.exp + spec->token_skew_s + 1, now_s, e) < 0)
        return -1;
    *out = g;
    return 0;
}

const char *greet_sentence(enum err_kind kind)
{
    switch (kind) {
    case ERR_INPUT:
        return "The client sent something this session does not understand.";
    case ERR_TOKEN:
        return "The session token is not valid any more; a new one is needed.";
    case ERR_DENIED:
        return "This token does not allow that here.";
    case ERR_BUSY:
        return "Too many attachments to this session; try again shortly.";
    case ERR_ENDED:
        return "The session has ended.";
    default:
        return "The session cannot be reached at the moment.";
    }
}

static void greet_cage(struct json *ready, const struct agent_spec *spec,
                       const struct state_head *h)
{
    struct json *j = json_set(ready, "cage", json_object());

    json_set_str(j, "mode", spec->cage);
    layer_to_json(j, "holds", h->layers);
    json_set_int(j, "landlock", h->landlock);
}

struct json *greet_ready(const struct agent_spec *spec,
                         const struct state_head *h, enum role role,
                         uint64_t output_from)
{
    struct json *j = json_object(), *sub;
    char url[URL_MAX];

    json_set_str(j, "sid", spec->sid);
    json_set_str(j, "role", role_name(role));
    json_set_int(j, "output_from", (int64_t)output_from);
    json_set_int(j, "output_seen", (int64_t)h->output_seen);
    json_set_int(j, "input_received", (int64_t)h->input_received);
    json_set_int(j, "window", spec->window_bytes);
    json_set_int(j, "input_window", spec->input_window_bytes);
    sub = json_set(j, "size", json_object());
    json_set_int(sub, "cols", h->cols);
    json_set_int(sub, "rows", h->rows);
    url_show(spec->bundle_url, url, sizeof(url));
    sub = json_set(j, "bundle", json_object());
    json_set_str(sub, "url", url);
    json_set_str(sub, "sha256", spec->bundle_sha256);
    json_set_str(j, "isolation", spec->isolation);
    json_set_str(j, "egress", spec->egress);
    if (h->started_ms) /* before, the kernel has not been asked */
        greet_cage(j, spec, h);
    return j;
}

struct json *greet_stage(const struct state_stage *st)
{
    struct json *j = json_object();

    json_set_str(j, "stage", st->stage);
    json_set_str(j, "state", st->state);
    json_set_int(j, "ms", st->ms);
    if (st->total > 0 || st->done > 0)
        json_set_int(j, "done", st->done);
    if (st->total > 0)
        json_set_int(j, "total", st->total);
    if (st->detail[0])
        json_set_str(j, "detail", st->detail);
    return j;
}

struct json *greet_notice(const struct state_head *h, const char *detail,
                          int64_t now_wall_ms)
{
    struct json *j = json_object();

    json_set_str(j, "stage", "notice");
    json_set_str(j, "state", "waiting");
    json_set_int(j, "ms", now_wall_ms - h->created_ms);
    json_set_str(j, "detail", detail);
    return j;
}

struct json *greet_exit(const struct state_head *h)
{
    struct json *j = json_object();

    json_set_str(j, "reason", end_reason_name(h->reason));
    if (h->exit_kind == 0)
        json_set_int(j, "code", h->exit_value);
    else if (h->exit_kind > 0)
        json_set_int(j, "signal", h->exit_value);
    json_set_int(j, "output_end", (int64_t)h->output_end);
    if (h->detail[0])
        json_set_str(j, "detail", h->detail);
    return j;
}

size_t greet_json(uint8_t *out, size_t cap, uint8_t type, const struct json *j)
{
    own_mem char *text = json_text(j);
    size_t head = frame_head(out, type), len = strlen(text);

    assert(head + len <= cap);
    memcpy(out + head, text, len);
    return head + len;
}
