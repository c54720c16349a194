/*
 * libcurl says which descriptors it waits for and when it wants to be called;
 * the loop does both. While libcurl runs (depth), a request cannot be taken
 * from it: one that is stopped then is dead, and swept away behind.
 */
#include "base/http_stream.h"

#include "base/buf.h"
#include "base/http_library.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define ALIVE_S 60 /* a line without a word is asked for its end then */

struct http_pool {
    struct loop *loop;
    CURLM *multi;
    struct loop_timer *timer;
    struct http_stream *streams;
    int depth;
};

struct http_stream {
    struct http_pool *pool;
    struct http_stream *next;
    CURL *curl;
    struct curl_slist *headers;
    const struct http_stream_verbs *verbs;
    void *arg;
    struct http_gate gate;
    struct err why; /* the gate's */
    struct buf head;
    char said[CURL_ERROR_SIZE];
    bool is_told; /* the head was */
    bool is_held, is_waiting;
    bool is_dead;
};

struct watch {
    struct http_pool *pool;
    int fd;
    struct loop_fd *fd_watch;
};

/* --- one stream's end --- */

static void stream_free(struct http_stream *s)
{
    struct http_stream **at = &s->pool->streams;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    curl_multi_remove_handle(s->pool->multi, s->curl);
    curl_easy_cleanup(s->curl);
    curl_slist_free_all(s->headers);
    buf_fini(&s->head);
    free(s);
}

static void stream_done(struct http_stream *s, CURLcode code)
{
    const struct http_stream_verbs *verbs = s->verbs;
    void *arg = s->arg;
    struct err e = {0};

    if (code != CURLE_OK)
        http_failure(&s->gate, code, s->said, &e);
    stream_free(s);
    verbs->done(arg, code != CURLE_OK ? &e : NULL);
}

/* libcurl has run: what has ended in it, ends. */
static void settle(struct http_pool *p)
{
    CURLMsg *m;
    int left;

    if (p->depth > 0)
        return;
    for (struct http_stream *s = p->streams, *next; s; s = next) {
        next = s->next;
        if (s->is_dead)
            stream_free(s);
    }
    while ((m = curl_multi_info_read(p->multi, &left))) {
        struct http_stream *s = NULL;
        CURLcode code = m->data.result;

        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&s);
        stream_done(s, code);
    }
}

/* --- the loop for libcurl --- */

static void run(struct http_pool *p, curl_socket_t fd, int events)
{
    int running;

    p->depth++;
    curl_multi_socket_action(p->multi, fd, events, &running);
    p->depth--;
    settle(p);
}

static void on_fd(void *arg, int events)
{
    struct watch *w = arg;
    int bits = 0;

    if (events & LOOP_READ)
        bits |= CURL_CSELECT_IN;
    if (events & LOOP_WRITE)
        bits |= CURL_CSELECT_OUT;
    if (events & LOOP_HANGUP)
        bits |= CURL_CSELECT_ERR;
    run(w->pool, w->fd, bits);
}

static void on_time(void *arg)
{
    run(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int want_fd(CURL *curl, curl_socket_t fd, int what, void *arg,
                   void *known)
{
    struct http_pool *p = arg;
    struct watch *w = known;

    (void)curl;
    if (what == CURL_POLL_REMOVE) {
        if (w)
            loop_fd_stop(w->fd_watch);
        free(w);
        curl_multi_assign(p->multi, fd, NULL);
        return 0;
    }
    if (!w) {
        w = mem_zero(1, sizeof(*w));
        w->pool = p;
        w->fd = fd;
        w->fd_watch = loop_fd_start(p->loop, fd, 0, on_fd, w);
        curl_multi_assign(p->multi, fd, w);
    }
    loop_fd_events(w->fd_watch, (what & CURL_POLL_IN ? LOOP_READ : 0) |
                                    (what & CURL_POLL_OUT ? LOOP_WRITE : 0));
    return 0;
}

static int want_time(CURLM *multi, long ms, void *arg)
{
    struct http_pool *p = arg;

    (void)multi;
    if (ms < 0) {
        loop_timer_stop(p->timer);
        p->timer = NULL;
    } else if (p->timer) {
        loop_timer_again(p->timer, ms, 0);
    } else {
        p->timer = loop_timer_start(p->loop, ms, 0, on_time, p);
    }
    return 0;
}

struct http_pool *http_pool_new(struct loop *l)
{
    struct http_pool *p;

    if (!http_library_load())
        return NULL;
    p = mem_zero(1, sizeof(*p));
    p->loop = l;
    p->multi = curl_multi_init();
    if (!p->multi)
        abort();
    curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, want_fd);
    curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
    curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, want_time);
    curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
    curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS, (long)HTTP_STREAM_KEPT);
    return p;
}

void http_pool_free(struct http_pool *p)
{
    if (!p)
        return;
    while (p->streams)
        stream_free(p->streams);
    curl_multi_cleanup(p->multi);
    loop_timer_stop(p->timer);
    free(p);
}

/* --- what comes --- */

/* A line without its end, if it can be one of a head. */
static size_t line_len(const char *line, size_t len)
{
    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
        len--;
    for (size_t i = 0; i < len; i++)
        if (((unsigned char)line[i] < 0x20 && line[i] != '\t') ||
            line[i] == 0x7f)
            return 0;
    return len;
}

static void head_is_whole(struct http_stream *s)
{
    long status = 0;

    curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200) {
        buf_clear(&s->head);
        return;
    }
    s->is_told = true;
    s->verbs->head(s->arg, (int)status,
                   (struct http_text){(const char *)s->head.data, s->head.len});
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct http_stream *s = arg;
    const size_t all = size * count, len = line_len(line, all);

    if (s->is_dead)
        return 0;
    if (s->is_told)
        return all; /* a trailer */
    if (len > 5 && strncmp(line, "HTTP/", 5) == 0) {
        buf_clear(&s->head);
    } else if (len == 0 && (line[0] == '\r' || line[0] == '\n')) {
        head_is_whole(s);
    } else if (len > 0 && (buf_append(&s->head, line, len) < 0 ||
                           buf_append(&s->head, "\r\n", 2) < 0)) {
        err_set(&s->why, ERR_TOO_LARGE,
                "an answer's head of more than %d bytes", HTTP_STREAM_HEAD_MAX);
        s->gate.is_failed = true;
        return 0;
    }
    return s->is_dead ? 0 : all;
}

static size_t on_data(char *bytes, size_t size, size_t count, void *arg)
{
    struct http_stream *s = arg;
    bool is_taken;

    if (s->is_dead)
        return CURL_WRITEFUNC_ERROR;
    is_taken = s->verbs->data(s->arg, (const uint8_t *)bytes, size * count);
    if (s->is_dead)
        return CURL_WRITEFUNC_ERROR;
    s->is_held = !is_taken;
    return is_taken ? size * count : CURL_WRITEFUNC_PAUSE;
}

/* --- what goes --- */

static size_t on_body(char *to, size_t size, size_t count, void *arg)
{
    struct http_stream *s = arg;
    bool is_over = false;
    size_t n;

    if (s->is_dead)
        return CURL_READFUNC_ABORT;
    n = s->verbs->body(s->arg, (uint8_t *)to, size * count, &is_over);
    if (s->is_dead)
        return CURL_READFUNC_ABORT;
    s->is_waiting = n == 0 && !is_over;
    return s->is_waiting ? CURL_READFUNC_PAUSE : n;
}

static int on_again(void *arg, curl_off_t offset, int origin)
{
    struct http_stream *s = arg;

    if (s->is_dead || offset != 0 || origin != SEEK_SET ||
        !s->verbs->again(s->arg))
        return CURL_SEEKFUNC_FAIL;
    return CURL_SEEKFUNC_OK;
}

static void unpause(struct http_stream *s)
{
    struct http_pool *p = s->pool;

    p->depth++;
    curl_easy_pause(s->curl, (s->is_held ? CURLPAUSE_RECV : 0) |
                                 (s->is_waiting ? CURLPAUSE_SEND : 0));
    p->depth--;
    settle(p);
}

void http_stream_resume(struct http_stream *s)
{
    if (s->is_dead || !s->is_held)
        return;
    s->is_held = false;
    unpause(s);
}

void http_stream_more(struct http_stream *s)
{
    if (s->is_dead || !s->is_waiting)
        return;
    s->is_waiting = false;
    unpause(s);
}

/* --- one stream --- */

static void set_calls(struct http_stream *s)
{
    curl_easy_setopt(s->curl, CURLOPT_PRIVATE, s);
    curl_easy_setopt(s->curl, CURLOPT_ERRORBUFFER, s->said);
    curl_easy_setopt(s->curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(s->curl, CURLOPT_HEADERDATA, s);
    curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(s->curl, CURLOPT_WRITEDATA, s);
    curl_easy_setopt(s->curl, CURLOPT_READFUNCTION, on_body);
    curl_easy_setopt(s->curl, CURLOPT_READDATA, s);
    curl_easy_setopt(s->curl, CURLOPT_SEEKFUNCTION, on_again);
    curl_easy_setopt(s->curl, CURLOPT_SEEKDATA, s);
    http_set_gate(s->curl, &s->gate);
}

static void set_request(struct http_stream *s,
                        const struct http_stream_conf *conf)
{
    /* no "Expect: 100-continue": the one it goes to answers anyhow */
    s->headers = curl_slist_append(NULL, "Expect:");
    for (size_t i = 0; conf->headers && conf->headers[i]; i++)
        s->headers = curl_slist_append(s->headers, conf->headers[i]);
    curl_easy_setopt(s->curl, CURLOPT_HTTPHEADER, s->headers);
    curl_easy_setopt(s->curl, CURLOPT_URL, conf->url);
    curl_easy_setopt(s->curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(s->curl, CURLOPT_CUSTOMREQUEST, conf->method);
    curl_easy_setopt(s->curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(s->curl, CURLOPT_TCP_KEEPIDLE, (long)ALIVE_S);
    if (!conf->has_body)
        return;
    curl_easy_setopt(s->curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(s->curl, CURLOPT_INFILESIZE_LARGE,
                     (curl_off_t)conf->length);
}

struct http_stream *http_stream_start(struct http_pool *p,
                                      const struct http_stream_conf *conf)
{
    struct http_stream *s = mem_zero(1, sizeof(*s));

    s->pool = p;
    s->verbs = conf->verbs;
    s->arg = conf->arg;
    s->gate = (struct http_gate){
        .judge = conf->judge, .arg = conf->judge_arg, .e = &s->why};
    buf_init(&s->head, HTTP_STREAM_HEAD_MAX);
    s->curl = curl_easy_init();
    if (!s->curl)
        abort();
    http_set_basics(s->curl, conf->allow_http, conf->connect_ms);
    if (conf->ca_path)
        http_set_ca(s->curl, conf->ca_path);
    set_calls(s);
    set_request(s, conf);
    s->next = p->streams;
    p->streams = s;
    curl_multi_add_handle(p->multi, s->curl); /* it runs by the timer */
    return s;
}

void http_stream_stop(struct http_stream *s)
{
    s->is_dead = true;
    if (s->pool->depth == 0)
        stream_free(s);
}
