/*
 * A look at the request's head before libwebsockets has it. It decodes and
 * straightens targets ("/%6d", "//", "/../") and does not tell, so that what
 * a proxy before us refuses by its path could be had by another spelling; it
 * takes a bare LF for the end of a line, and loses whole lines behind some
 * names, so that a proxy that does not sees other headers than it; and it
 * answers what it cannot read in its own way. Only the exact path is served,
 * lines end in CR LF, and what is no header line is refused.
 *
 * The bytes are peeked at on a duplicate of the socket, while libwebsockets
 * is kept from reading; nothing is taken away. Under TLS there is nothing to
 * see, and nothing between us and the client that reads paths.
 */
#include "base/ws_target.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TARGET_WAIT (-1) /* the head is not whole */
#define TARGET_LONG                                                            \
    (-2) /* and never will be: as with other such heads there
                            is no answer */

/* "/.", "/..": a segment of dots alone, or none between two slashes. */
static bool target_is_straight(const char *path, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t dots = 1, end;

        while (at + dots < len && path[at + dots] == '.')
            dots++;
        end = at + 1;
        while (end < len && path[end] != '/')
            end++;
        if (end == at + 1 ? end < len : end == at + dots)
            return false;
        at = end;
    }
    return true;
}

/* Every '%' begins an octet that is no control. */
static bool target_is_encoded_well(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] != '%')
            continue;
        if (len - i < 3 || !isxdigit((unsigned char)text[i + 1]) ||
            !isxdigit((unsigned char)text[i + 2]))
            return false;
        if (text[i + 1] < '2' ||
            (text[i + 1] == '7' && tolower((unsigned char)text[i + 2]) == 'f'))
            return false;
    }
    return true;
}

static int target_judge(const char *target, size_t len)
{
    const char *query = memchr(target, '?', len);
    const size_t path = query ? (size_t)(query - target) : len;

    if (len == 0 || target[0] != '/' || memchr(target, '#', len) ||
        !target_is_encoded_well(target, len))
        return 400;
    if (memchr(target, '%', path) || !target_is_straight(target, path))
        return 404;
    return 0;
}

int ws_target_judge(const char *text, size_t len)
{
    const char *end = memchr(text, '\n', len), *target, *sp;

    if (!end)
        return TARGET_WAIT;
    sp = memchr(text, ' ', (size_t)(end - text));
    if (!sp)
        return 400;
    if (!ws_http_is_method(text, (size_t)(sp - text)))
        return 501;
    target = sp + 1;
    sp = memchr(target, ' ', (size_t)(end - target));
    return sp ? target_judge(target, (size_t)(sp - target)) : 400;
}

/*
 * Does libwebsockets lose its place in this name? It does in the beginning of
 * one that it knows ("A", "X-F"): what follows up to the next colon, another
 * header and all, it takes for more of the name. And a few it knows have no
 * end of their own ("put"): "Put-X" is one of them to it.
 */
static bool name_misleads(const char *name, size_t len)
{
    bool is_half = false;

    for (int i = 0; i < WSI_TOKEN_COUNT; i++) {
        const char *known =
            (const char *)lws_token_to_string((enum lws_token_indexes)i);
        const size_t n = known ? strlen(known) : 0;

        if (n == 0)
            continue;
        if (strncasecmp(known, name, len) == 0) {
            if (known[len] == ':')
                return false;
            is_half = true;
        }
        if (isalpha((unsigned char)known[n - 1]) && n <= len &&
            strncasecmp(known, name, n) == 0)
            is_half = true;
    }
    return is_half;
}

static bool has_control(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (((unsigned char)text[i] < ' ' && text[i] != '\t') ||
            text[i] == 0x7f)
            return true;
    return false;
}

/* A header line without its end: a name of token characters and a colon. */
static bool line_is_plain(const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);

    if (!colon || colon == line || has_control(line, len))
        return false;
    for (const char *p = line; p < colon; p++)
        if (!isalnum((unsigned char)*p) && !strchr("!#$%&'*+-.^_`|~", *p))
            return false;
    return !name_misleads(line, (size_t)(colon - line));
}

/* Method, target and version with one space between each; what they are is
 * judged elsewhere. */
static bool first_is_plain(const char *line, size_t len)
{
    const char *version = memrchr(line, ' ', len);
    size_t spaces = 0;

    for (size_t i = 0; i < len; i++)
        spaces += line[i] == ' ';
    return spaces == 2 && !has_control(line, len) &&
           line + len - version == (ptrdiff_t)sizeof(" HTTP/1.1") - 1 &&
           strncmp(version, " HTTP/", 6) == 0 &&
           isdigit((unsigned char)version[6]) && version[7] == '.' &&
           isdigit((unsigned char)version[8]);
}

/* Every line before the empty one at `end`. */
static bool head_is_plain(const char *text, const char *end)
{
    const char *at = text;

    while (at < end) {
        const char *lf = memchr(at, '\n', (size_t)(end - at));
        const size_t n = (size_t)(lf - 1 - at);

        if (!(at == text ? first_is_plain(at, n) : line_is_plain(at, n)))
            return false;
        at = lf + 1;
    }
    return true;
}

/* Asked after each piece of a head: its lines are judged once, at its end. */
int ws_target_lines(const char *text, size_t len)
{
    const char *at = text, *end;

    while ((end = memchr(at, '\n', len - (size_t)(at - text)))) {
        if (end == text || end[-1] != '\r')
            return 400;
        if (end == at + 1 && at != text)
            return head_is_plain(text, at) ? 0 : 400;
        at = end + 1;
    }
    return TARGET_WAIT;
}

void ws_target_stop(struct ws_conn *c)
{
    if (!c->look)
        return;
    loop_fd_stop(c->look);
    close(c->look_fd);
    c->look = NULL;
}

/* What lies there unread would wake us again and again. */
static void target_wake_at(const struct ws_conn *c, int bytes)
{
    setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

/* Nothing that comes would make the head whole: the peer has finished, or
 * has sent urgent data, at which every look would stop. */
static bool target_is_stuck(const struct ws_conn *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLRDHUP | POLLPRI};

    return poll(&p, 1, 0) > 0;
}

/* The judgement, or TARGET_WAIT. The end, where nothing is before it, is
 * libwebsockets' to find out. */
static int target_look(const struct ws_conn *c)
{
    char text[WS_HEAD_MAX];
    const ssize_t n = recv(c->fd, text, sizeof(text), MSG_PEEK | MSG_DONTWAIT);
    int status;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return TARGET_WAIT;
    if (n <= 0)
        return 0;
    status = ws_target_judge(text, (size_t)n);
    if (status == 0)
        status = ws_target_lines(text, (size_t)n);
    if (status == TARGET_WAIT && (n == sizeof(text) || target_is_stuck(c)))
        return TARGET_LONG;
    if (status == TARGET_WAIT)
        target_wake_at(c, (int)n + 1);
    return status;
}

static void target_seen(void *arg, int events)
{
    struct ws_conn *c = arg;
    const int status = c->phase == WS_HEAD ? target_look(c) : 0;

    (void)events;
    if (status == TARGET_WAIT)
        return;
    ws_target_stop(c);
    if (c->phase != WS_HEAD)
        return;
    target_wake_at(c, 1);
    if (status == 0)
        lws_rx_flow_control(c->wsi, 1);
    else if (status == TARGET_LONG)
        ws_kill(c);
    else
        ws_http_refuse_early(c, status);
}

void ws_target_watch(struct ws_conn *c)
{
    if (c->server->ctx || !c->wsi)
        return;
    c->look_fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
    if (c->look_fd < 0) {
        ws_kill(c); /* it could not be looked at */
        return;
    }
    lws_rx_flow_control(c->wsi, 0);
    c->look = loop_fd_start(c->x->loop, c->look_fd, LOOP_READ, target_seen, c);
}
