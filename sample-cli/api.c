#include "sample-cli/api.h"

#include "base/buf.h"
#include "base/http_client.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/url.h"
#include "sample-cli/message.h"
#include "sample-cli/sse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define API_PATH "/v1/messages"

/* One try. */
struct call {
    const struct api_conf *conf;
    struct task *task;
    struct message message;
    struct sse sse;
    struct buf error; /* the body of a refusal */
    struct http_answer answer;
    int status;       /* 0 = no answer */
    int64_t after_ms; /* Retry-After, -1 = none */
    bool is_stream;
    bool is_refused; /* the stream, by us: what it says cannot stand */
};

static const char *api_base(const struct api_conf *conf)
{
    return conf->url ? conf->url : API_URL;
}

static bool api_is_printable(const char *text, size_t max)
{
    size_t n = 0;

    while (text[n] > ' ' && text[n] < 0x7f)
        n++;
    return n > 0 && n <= max && !text[n];
}

int api_check(const struct api_conf *conf, struct err *e)
{
    struct url u;

    if (url_check_api(api_base(conf), &u, e) < 0)
        return err_wrap(e, "ANTHROPIC_BASE_URL");
    if (conf->key && !api_is_printable(conf->key, API_KEY_MAX))
        return err_set(e, ERR_INPUT,
                       "ANTHROPIC_API_KEY is no key: blanks, control or other "
                       "characters, or more than %d bytes",
                       API_KEY_MAX);
    return 0;
}

static char *api_body(const struct api_conf *conf)
{
    own_json struct json *j = json_object();
    struct json *one;

    json_set_str(j, "model", conf->model);
    json_set_int(j, "max_tokens", conf->max_tokens);
    json_set_bool(j, "stream", true);
    json_set_str(j, "system", conf->system);
    one = json_set(json_set(j, "messages", json_array()), NULL, json_object());
    json_set_str(one, "role", "user");
    json_set_strn(one, "content", conf->prompt, conf->prompt_len);
    return json_text(j);
}

/* --- what comes --- */

static int call_event(void *arg, const char *name, const char *data, size_t len,
                      struct err *e)
{
    struct call *c = arg;

    (void)name; /* the object has it as its type */
    return message_parse(&c->message, data, len, e);
}

static int call_head(void *arg, const struct http_answer *a, struct err *e)
{
    struct call *c = arg;
    char *end;

    (void)e;
    c->status = a->status;
    c->is_stream = a->status == 200 &&
                   strncasecmp(a->content_type, "text/event-stream", 17) == 0;
    if (a->retry_after[0] >= '0' && a->retry_after[0] <= '9') {
        double s = strtod(a->retry_after, &end);

        /* a date is not one of the forms this service uses */
        if (!*end && s < 1e6)
            c->after_ms = (int64_t)(s * 1000);
    }
    return 0;
}

static int call_data(void *arg, const uint8_t *bytes, size_t len, struct err *e)
{
    struct call *c = arg;

    if (c->is_stream) {
        c->is_refused = sse_feed(&c->sse, bytes, len, e) < 0;
        /* all has been said: whoever keeps the line is not waited for */
        return c->is_refused || c->message.is_over ? -1 : 0;
    }
    (void)buf_append(&c->error, bytes, len); /* full: it will not be read */
    return 0;
}

static bool call_is_stopped(void *arg)
{
    struct call *c = arg;

    return task_is_stopped(c->task);
}

/* --- the judgement of a try --- */

static bool call_is_passing(int status)
{
    return status == 408 || status == 429 || status >= 500;
}

/* A status in words. source: docs.anthropic.com, "Errors" */
static const char *call_meaning(int status)
{
    static const struct {
        int status;
        const char *words;
    } known[] = {
        {400, "the request is refused"},
        {404, "there is no such model or address"},
        {413, "more was sent than it takes, --review-bytes sends less"},
        {429, "too many requests, try again later"},
        {529, "the service is overloaded, try again later"},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (known[i].status == status)
            return known[i].words;
    return status >= 500 ? "the service has failed, try again later"
                         : "an answer that is not expected";
}

/* An answer that is no stream: whose fault, and may another try help? */
static int call_refused(struct call *c, struct err *e)
{
    struct err none = {0};
    own_json struct json *j =
        json_parse(buf_cstr(&c->error), c->error.len, &none);
    char said[ERR_TEXT_MAX / 2] = "";
    enum err_kind kind = call_is_passing(c->status) ? ERR_BUSY : ERR_PEER;

    if (c->status == 200)
        return err_set(e, ERR_PEER, "the answer is no event stream");
    (void)message_error(j, said, sizeof(said));
    if (c->status == 401 || c->status == 403)
        return err_set(e, ERR_DENIED, "%s is refused (%d)%s%s",
                       c->conf->key ? "the key" : "a call without a key",
                       c->status, *said ? ": " : "", said);
    if (c->status >= 300 && c->status < 400)
        return err_set(e, ERR_PEER, "a redirect (%d) is not followed",
                       c->status);
    return err_set(e, kind, "%s (%d)%s%s", call_meaning(c->status), c->status,
                   *said ? ": " : "", said);
}

/* http_do said no. */
static int call_broke(struct call *c, int64_t left_ms, struct err *e)
{
    if (task_is_stopped(c->task))
        return err_set(e, ERR_ENDED, "stopped");
    if (left_ms <= 0)
        return err_set(e, ERR_TIMEOUT, "no whole answer within %lld s",
                       (long long)c->conf->timeout_ms / 1000);
    if (c->answer.is_untrusted) {
        if (c->conf->ca_path)
            return err_wrap(e, "--review-ca %s", c->conf->ca_path);
        return err_wrap(e, "it is not trusted (--review-ca names other roots)");
    }
    /* no connection, or one that broke before it said anything */
    if (e->kind == ERR_PEER && !c->status)
        e->kind = ERR_BUSY;
    if (e->kind == ERR_PEER && c->is_stream && !c->is_refused)
        return err_wrap(e, "the stream broke off");
    return -1;
}

static int call_judge(struct call *c, struct err *e)
{
    if (!c->is_stream)
        return call_refused(c, e);
    if (!c->message.is_over)
        return err_set(e, ERR_PEER, "the stream broke off: its end is missing");
    *e = (struct err){0}; /* how the line ended does not count */
    if (!c->message.has_text)
        return err_set(e, ERR_PEER, "the answer is empty%s%s",
                       c->message.stop_reason[0] ? ": " : "",
                       c->message.stop_reason);
    return 0;
}

static int call_do(struct call *c, const char *body, int64_t end_ms,
                   struct err *e)
{
    const struct api_conf *conf = c->conf;
    const char *base = api_base(conf);
    own_mem char *url =
        mem_printf("%.*s" API_PATH,
                   (int)(strlen(base) - (base[strlen(base) - 1] == '/')), base);
    own_mem char *key = mem_printf("x-api-key: %s", conf->key ? conf->key : "");
    const char *headers[] = {
        "content-type: application/json", "accept: text/event-stream",
        ("anthropic-version: " API_VERSION), conf->key ? key : NULL, NULL};
    const struct http_request request = {
        .method = "POST",
        .url = url,
        .headers = headers,
        .body = body,
        .body_len = strlen(body),
        .ca_path = conf->ca_path,
        .allow_http = true, /* api_check has judged it */
        .total_ms = (int)(end_ms - task_now_ms(c->task)),
        .body_max = API_BYTES_MAX,
        .head = call_head,
        .data = call_data,
        .is_cancelled = call_is_stopped,
        .arg = c,
    };

    if (request.total_ms <= 0)
        return call_broke(c, 0, e);
    if (http_do(&request, &c->answer, e) < 0 && !c->message.is_over)
        return call_broke(c, end_ms - task_now_ms(c->task), e);
    http_answer_fini(&c->answer);
    return call_judge(c, e);
}

static void call_init(struct call *c, const struct api_conf *conf,
                      struct task *task, struct reply *reply)
{
    *c = (struct call){.conf = conf,
                       .task = task,
                       .message = {.text = reply_add, .arg = reply},
                       .after_ms = -1};
    sse_init(&c->sse, call_event, c);
    buf_init(&c->error, API_ERROR_MAX);
}

static void call_fini(struct call *c)
{
    sse_fini(&c->sse);
    buf_fini(&c->error);
}

/* --- the tries --- */

int api_ask(const struct api_conf *conf, struct task *task, struct reply *reply,
            const char **note, struct err *e)
{
    const int64_t end_ms = task_now_ms(task) + conf->timeout_ms;
    own_mem char *body = api_body(conf);
    int64_t wait_ms = API_WAIT_MS;

    for (int i = 1;; i++) {
        struct call c;
        int64_t after_ms;
        bool is_last;
        int r;

        call_init(&c, conf, task, reply);
        r = call_do(&c, body, end_ms, e);
        after_ms = c.after_ms >= 0 ? c.after_ms : wait_ms;
        /* what has been read cannot be taken back: no second try then */
        is_last = c.message.has_text || i == API_TRIES_MAX ||
                  task_now_ms(task) + after_ms >= end_ms;
        if (r == 0)
            *note = message_note(&c.message);
        else
            reply_hush(reply, e);
        call_fini(&c);
        if (r == 0 || e->kind != ERR_BUSY || is_last)
            return r;
        if (!task_retry(task, after_ms, e->text))
            return err_set(e, ERR_ENDED, "stopped");
        wait_ms *= 2;
    }
}
