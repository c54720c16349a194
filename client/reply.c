#include "client/reply.h"

#include "client/command.h"

#include <stdio.h>
#include <string.h>

static void reply_copy(const struct json *j, const char *name, char *out,
                       size_t size)
{
    const char *text = json_get_str(j, name);

    snprintf(out, size, "%s", text ? text : "");
}

static struct json *reply_parse(const void *text, size_t len, const char *what,
                                struct err *e)
{
    struct json *j = json_parse(text, len, e);

    if (j && json_is_object(j))
        return j;
    json_free(j);
    err_set(e, ERR_INPUT, "the server's %s is not what was agreed", what);
    return NULL;
}

static int reply_count(const struct json *j, const char *name, uint64_t max,
                       uint64_t *out)
{
    int64_t v;

    if (json_get_int(j, name, &v) < 0 || v < 0 || (uint64_t)v > max)
        return -1;
    *out = (uint64_t)v;
    return 0;
}

int reply_ready(const void *text, size_t len, struct reply_ready *out,
                struct err *e)
{
    own_json struct json *j = reply_parse(text, len, "READY", e);
    struct reply_ready r = {0};
    const char *isolation;

    if (!j)
        return -1;
    if (reply_count(j, "output_from", INT64_MAX, &r.output_from) < 0 ||
        reply_count(j, "input_received", INT64_MAX, &r.input_received) < 0 ||
        reply_count(j, "window", REPLY_WINDOW_MAX, &r.window) < 0 ||
        reply_count(j, "input_window", REPLY_WINDOW_MAX, &r.input_window) < 0 ||
        !r.window || !r.input_window)
        return err_set(e, ERR_INPUT, "READY lacks an offset or a window");
    if (reply_count(j, "output_seen", INT64_MAX, &r.output_seen) < 0)
        r.output_seen = 0;
    isolation = json_get_str(j, "isolation");
    r.is_isolated = isolation && strcmp(isolation, "full") == 0;
    *out = r;
    return 0;
}

int reply_stage(const void *text, size_t len, struct reply_stage *out,
                struct err *e)
{
    own_json struct json *j = reply_parse(text, len, "STAGE", e);

    if (!j)
        return -1;
    *out = (struct reply_stage){.done = -1, .total = -1};
    reply_copy(j, "stage", out->stage, sizeof(out->stage));
    reply_copy(j, "state", out->state, sizeof(out->state));
    reply_copy(j, "detail", out->detail, sizeof(out->detail));
    if (json_get_int(j, "ms", &out->ms) < 0 || out->ms < 0)
        out->ms = 0;
    if (json_get_int(j, "done", &out->done) < 0 || out->done < 0)
        out->done = -1;
    if (json_get_int(j, "total", &out->total) < 0 || out->total <= 0)
        out->total = -1;
    return 0;
}

/* code: name of the member that holds the program's exit code */
static void reply_end(const struct json *j, const char *code,
                      struct reply_end *out)
{
    int64_t v;

    *out = (struct reply_end){.code = -1, .output_end = -1};
    reply_copy(j, "reason", out->word, sizeof(out->word));
    reply_copy(j, "detail", out->detail, sizeof(out->detail));
    out->reason = out->word[0] ? end_reason_of(out->word) : -1;
    if (json_get_int(j, code, &v) == 0 && v >= 0 && v <= 255)
        out->code = (int)v;
    if (json_get_int(j, "signal", &v) == 0 && v > 0 && v <= 64)
        out->signal = (int)v;
    if (json_get_int(j, "output_end", &v) == 0 && v >= 0)
        out->output_end = v;
}

int reply_exit(const void *text, size_t len, struct reply_end *out,
               struct err *e)
{
    own_json struct json *j = reply_parse(text, len, "EXIT", e);

    if (!j)
        return -1;
    reply_end(j, "code", out);
    return 0;
}

int reply_error(const void *text, size_t len, struct reply_error *out,
                struct err *e)
{
    own_json struct json *j = reply_parse(text, len, "ERROR", e);
    const char *code;

    if (!j)
        return -1;
    *out = (struct reply_error){.kind = ERR_NONE};
    code = json_get_str(j, "code");
    for (int k = ERR_NONE + 1; code && k < ERR_KIND_COUNT; k++)
        if (strcmp(err_word((enum err_kind)k), code) == 0)
            out->kind = (enum err_kind)k;
    reply_copy(j, "message", out->message, sizeof(out->message));
    if (json_get_int(j, "retry_after_ms", &out->retry_after_ms) < 0 ||
        out->retry_after_ms < 0)
        out->retry_after_ms = 0;
    reply_end(j, "exit_code", &out->end);
    return 0;
}

bool reply_record(const struct json *session, struct reply_end *out)
{
    const char *state = json_get_str(session, "state");

    if (!state || strcmp(state, "ended") != 0)
        return false;
    reply_end(session, "exit_code", out);
    if (json_get_int(session, "output_bytes", &out->output_end) < 0)
        out->output_end = -1;
    return true;
}

int reply_status(const struct reply_end *end)
{
    if (end->reason == REASON_SIGNALLED && end->signal)
        return 128 + end->signal;
    if ((end->reason == REASON_EXITED || end->reason == REASON_SIGNALLED) &&
        end->code >= 0)
        return end->code;
    return EXIT_PODTERM;
}

/* What happened, and what it means to the user. */
static const struct {
    int reason;
    const char *what, *means;
} reply_ends[] = {
    {REASON_DELETED, "the session was ended by its owner",
     "its program with it"},
    {REASON_IDLE, "the session was ended: nothing happened in it for too long",
     "its program with it; --idle-s sets how long that is"},
    {REASON_LIFETIME, "the session was ended: its lifetime is over",
     "its program with it; --lifetime-s sets how long that is"},
    {REASON_BUNDLE_REFUSED, "the bundle was refused",
     "its program was not started"},
    {REASON_START_FAILED, "the program could not be started",
     "the session has ended"},
    {REASON_OUT_OF_MEMORY, "the program was ended: it used too much memory",
     "start it anew with less to do, or ask the operator for more"},
    {REASON_EVICTED, "the session was ended: the platform needed its place",
     "its program with it; podterm run starts another"},
    {REASON_RUNNER_LOST, "the session was lost",
     "its program has ended with it; podterm run starts another"},
};

/* How much of a sentence goes before more of one: all but its full stop. */
static int reply_unstopped(const char *text)
{
    const size_t len = strnlen(text, 300);

    return (int)(len > 0 && text[len - 1] == '.' ? len - 1 : len);
}

void reply_sentence(const struct reply_end *end, char *out, size_t size)
{
    const char *colon = end->detail[0] ? ": " : "";

    out[0] = 0;
    if (end->reason == REASON_EXITED && end->code >= 0)
        return;
    if (end->reason == REASON_SIGNALLED && end->signal) {
        snprintf(out, size, "the program was ended by signal %d (%s)",
                 end->signal, strsignal(end->signal));
        return;
    }
    for (size_t i = 0; i < sizeof(reply_ends) / sizeof(*reply_ends); i++)
        if (reply_ends[i].reason == end->reason) {
            snprintf(out, size, "%s%s%.*s (%s)", reply_ends[i].what, colon,
                     reply_unstopped(end->detail), end->detail,
                     reply_ends[i].means);
            return;
        }
    snprintf(out, size, "the session has ended (%s)%s%.300s",
             end->word[0] ? end->word : "no reason was told", colon,
             end->detail);
}
