#include "agent/proxy_request.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define LENGTH_DIGITS 15 /* of Content-Length */
#define CHUNK_DIGITS 12  /* of a chunk's size, hexadecimal */

/* For this hop alone (RFC 9110 7.6.1), or written by us. */
static const char *const ours[] = {
    "connection", "host",    "keep-alive",          "proxy-authenticate",
    "te",         "upgrade", "proxy-authorization", "proxy-connection",
};
/* Without these a request is another one. */
static const char *const framing[] = {"content-length", "transfer-encoding",
                                      "host", "trailer"};

struct seen {
    struct http_text host, length, encoding, connection;
};

static bool is_of(struct http_text name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (http_text_is(name, names[i]))
            return true;
    return false;
}

#define IS_OF(name, names) is_of(name, names, sizeof(names) / sizeof(*(names)))

/* --- the first line --- */

/* The next word, up to a single blank. */
static bool word_take(struct http_text *line, struct http_text *word)
{
    const char *end = memchr(line->at, ' ', line->len);

    if (!end)
        return false;
    *word = (struct http_text){line->at, (size_t)(end - line->at)};
    line->at = end + 1;
    line->len -= word->len + 1;
    return word->len > 0;
}

static int judge_host(const char *url, struct proxy_request *r, struct err *e)
{
    struct url u;

    if (url_parse(url, &u, e) < 0)
        return -1;
    memcpy(r->host, u.host, sizeof(r->host));
    r->host_is_literal = u.host_is_literal;
    r->port = u.port;
    return 0;
}

/* "host:port", and nothing else. */
static int authority(struct http_text target, struct proxy_request *r,
                     struct err *e)
{
    char url[URL_MAX];
    const char *colon = memrchr(target.at, ':', target.len);
    size_t host = colon ? (size_t)(colon - target.at) : 0;

    if (host == 0 || host + 1 == target.len || target.len > URL_HOST_MAX + 8 ||
        target.at[host - 1] == ':' || memchr(target.at, '/', target.len) ||
        memchr(target.at, '?', target.len))
        return err_set(e, ERR_INPUT, "CONNECT takes host:port");
    snprintf(url, sizeof(url), "https://%.*s/", (int)target.len, target.at);
    return judge_host(url, r, e);
}

/* "http://host/path": where its path begins. */
static int absolute(struct http_text target, struct proxy_request *r,
                    struct err *e)
{
    char url[URL_MAX];
    size_t at = strlen("http://");

    if (target.len < at || strncasecmp(target.at, "http://", at) != 0)
        return err_set(e, ERR_INPUT,
                       "this is a proxy: it takes CONNECT host:port, and "
                       "http:// URLs");
    if (target.len >= sizeof(url))
        return err_set(e, ERR_INPUT, "a URL has at most %d bytes", URL_MAX - 1);
    while (at < target.len && target.at[at] != '/' && target.at[at] != '?')
        at++;
    r->target = (struct http_text){target.at + at, target.len - at};
    /* its path and query are the server's to judge */
    snprintf(url, sizeof(url), "%.*s/", (int)at, target.at);
    return judge_host(url, r, e);
}

/* "/path": of the server that was dialled. */
static int origin(struct http_text target, struct proxy_request *r,
                  struct err *e)
{
    if (r->is_connect || target.at[0] != '/')
        return err_set(e, ERR_INPUT, "this is a server: it takes paths");
    r->target = target;
    return 0;
}

static int first_line(struct http_text line, bool is_origin,
                      struct proxy_request *r, bool *is_old, struct err *e)
{
    struct http_text target;

    if (!word_take(&line, &r->method) || !word_take(&line, &target) ||
        !http_text_is_token(r->method) || r->method.len > PROXY_METHOD_MAX ||
        !http_text_is_visible(target) || memchr(target.at, '#', target.len) ||
        line.len != 8 || memcmp(line.at, "HTTP/1.", 7) != 0 ||
        (line.at[7] != '0' && line.at[7] != '1'))
        return err_set(e, ERR_INPUT, "this is no request of HTTP/1.1");
    *is_old = line.at[7] == '0';
    r->is_connect =
        r->method.len == 7 && memcmp(r->method.at, "CONNECT", 7) == 0;
    if (is_origin)
        return *is_old ? err_set(e, ERR_INPUT, "HTTP/1.1 is spoken here")
                       : origin(target, r, e);
    return r->is_connect ? authority(target, r, e) : absolute(target, r, e);
}

/* --- the others --- */

static int keep(struct http_text *slot, struct http_text value,
                const char *name, struct err *e)
{
    if (slot->at)
        return err_set(e, ERR_INPUT, "%s stands there twice", name);
    *slot = value;
    return 0;
}

static int fields(struct http_text rest, struct seen *s, struct err *e)
{
    struct http_text line, name, value;
    int count = 0;

    while (http_line_take(&rest, &line) && line.len > 0) {
        if (http_field_take(line, &name, &value) < 0)
            return err_set(e, ERR_INPUT, "a header line is malformed");
        if (++count > PROXY_FIELDS_MAX)
            return err_set(e, ERR_INPUT, "more than %d headers",
                           PROXY_FIELDS_MAX);
        if ((http_text_is(name, "host") &&
             keep(&s->host, value, "Host", e) < 0) ||
            (http_text_is(name, "content-length") &&
             keep(&s->length, value, "Content-Length", e) < 0) ||
            (http_text_is(name, "transfer-encoding") &&
             keep(&s->encoding, value, "Transfer-Encoding", e) < 0) ||
            (http_text_is(name, "connection") &&
             keep(&s->connection, value, "Connection", e) < 0))
            return -1;
    }
    return rest.len == 0 ? 0 : err_set(e, ERR_INPUT, "this is no request head");
}

static int length_of(struct http_text t, int64_t *out)
{
    if (t.len < 1 || t.len > LENGTH_DIGITS)
        return -1;
    for (size_t i = 0; i < t.len; i++) {
        if (t.at[i] < '0' || t.at[i] > '9')
            return -1;
        *out = *out * 10 + (t.at[i] - '0');
    }
    return 0;
}

static int body(const struct seen *s, bool is_old, struct proxy_request *r,
                struct err *e)
{
    if (s->encoding.at &&
        (s->length.at || is_old || !http_text_is(s->encoding, "chunked")))
        return err_set(e, ERR_INPUT,
                       "a body has a Content-Length or is chunked, and "
                       "nothing else");
    r->is_chunked = s->encoding.at != NULL;
    if (s->length.at && length_of(s->length, &r->length) < 0)
        return err_set(e, ERR_INPUT, "Content-Length is no length");
    if (r->is_connect && (r->is_chunked || r->length > 0))
        return err_set(e, ERR_INPUT, "CONNECT has no body");
    return 0;
}

static int connection(const struct seen *s, struct proxy_request *r,
                      struct err *e)
{
    if (!s->connection.at)
        return 0;
    if (http_list_has(s->connection, "close", false) < 0)
        return err_set(e, ERR_INPUT, "Connection is malformed");
    for (size_t i = 0; i < sizeof(framing) / sizeof(framing[0]); i++)
        if (http_list_has(s->connection, framing[i], false) == 1)
            return err_set(e, ERR_INPUT, "Connection names %s", framing[i]);
    r->nominated = s->connection;
    return 0;
}

static int parse(const char *head, size_t len, bool is_origin,
                 struct proxy_request *out, struct err *e)
{
    struct http_text rest = {head, len}, line;
    struct proxy_request r = {0};
    struct seen s = {0};
    bool is_old = false;

    if (!http_line_take(&rest, &line))
        return err_set(e, ERR_INPUT, "this is no request of HTTP/1.1");
    if (first_line(line, is_origin, &r, &is_old, e) < 0 ||
        fields(rest, &s, e) < 0)
        return -1;
    if (!s.host.at && !is_old)
        return err_set(e, ERR_INPUT, "Host is missing");
    if (body(&s, is_old, &r, e) < 0 || connection(&s, &r, e) < 0)
        return -1;
    r.fields = rest;
    *out = r;
    return 0;
}

int proxy_request_parse(const char *head, size_t len, struct proxy_request *out,
                        struct err *e)
{
    return parse(head, len, false, out, e);
}

int proxy_request_parse_origin(const char *head, size_t len,
                               struct proxy_request *out, struct err *e)
{
    return parse(head, len, true, out, e);
}

/* --- for the server --- */

static int put(struct buf *b, const char *at, size_t len)
{
    return buf_append(b, at, len);
}

static bool is_nominated(const struct proxy_request *r, struct http_text name)
{
    char word[64];

    if (!r->nominated.at || name.len >= sizeof(word))
        return false;
    memcpy(word, name.at, name.len);
    word[name.len] = 0;
    return http_list_has(r->nominated, word, false) == 1;
}

bool proxy_request_passes(const struct proxy_request *r, struct http_text name)
{
    return !IS_OF(name, ours) && !is_nominated(r, name);
}

static int put_fields(const struct proxy_request *r, struct buf *b)
{
    struct http_text rest = r->fields, line, name, value;

    while (http_line_take(&rest, &line) && line.len > 0) {
        if (http_field_take(line, &name, &value) < 0)
            return -1;
        if (!proxy_request_passes(r, name))
            continue;
        if (put(b, name.at, name.len) < 0 || put(b, ": ", 2) < 0 ||
            put(b, value.at, value.len) < 0 || put(b, "\r\n", 2) < 0)
            return -1;
    }
    return 0;
}

int proxy_request_write(const struct proxy_request *r, struct buf *out,
                        struct err *e)
{
    const bool is_six = strchr(r->host, ':') != NULL;
    char line[URL_HOST_MAX + 64];
    int n;

    if (put(out, r->method.at, r->method.len) < 0 || put(out, " ", 1) < 0 ||
        (r->target.len == 0 || r->target.at[0] != '/' ? put(out, "/", 1) < 0
                                                      : false) ||
        put(out, r->target.at, r->target.len) < 0)
        return err_set(e, ERR_TOO_LARGE, "the request is too large");
    n = snprintf(line, sizeof(line), " HTTP/1.1\r\nHost: %s%s%s",
                 is_six ? "[" : "", r->host, is_six ? "]" : "");
    if (r->port != 80)
        n += snprintf(line + n, sizeof(line) - (size_t)n, ":%d", r->port);
    if (put(out, line, (size_t)n) < 0 || put(out, "\r\n", 2) < 0 ||
        put_fields(r, out) < 0 ||
        put(out, "Via: 1.1 podterm\r\nConnection: close\r\n\r\n", 39) < 0)
        return err_set(e, ERR_TOO_LARGE, "the request is too large");
    return 0;
}

/* --- its body --- */

enum body_state {
    PLAIN,   /* `left` bytes */
    SIZE,    /* a chunk's size */
    SIZE_LF, /* behind its CR */
    DATA,    /* `left` bytes of it */
    DATA_CR, /* behind it */
    DATA_LF,
    LAST_CR, /* behind the last one: no trailers */
    LAST_LF,
    OVER,
};

void proxy_body_init(struct proxy_body *b, const struct proxy_request *r)
{
    *b = (struct proxy_body){.left = r->length,
                             .state = r->is_chunked   ? SIZE
                                      : r->length > 0 ? PLAIN
                                                      : OVER};
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int size_byte(struct proxy_body *b, char c)
{
    int digit = hex_digit(c);

    if (c == '\r' && b->digits > 0) {
        b->state = SIZE_LF;
        return 0;
    }
    if (digit < 0 || ++b->digits > CHUNK_DIGITS)
        return -1; /* an extension, too: nobody needs one */
    b->left = b->left * 16 + digit;
    return 0;
}

/* One byte of what is around the chunks. */
static int around(struct proxy_body *b, char c)
{
    static const struct {
        char c;
        enum body_state next;
    } steps[] = {
        [DATA_CR] = {'\r', DATA_LF},
        [DATA_LF] = {'\n', SIZE},
        [LAST_CR] = {'\r', LAST_LF},
        [LAST_LF] = {'\n', OVER},
    };

    if (b->state == SIZE)
        return size_byte(b, c);
    if (b->state == SIZE_LF) {
        b->state = b->left > 0 ? DATA : LAST_CR;
        b->digits = 0;
        return c == '\n' ? 0 : -1;
    }
    if (c != steps[b->state].c)
        return -1;
    b->state = (int)steps[b->state].next;
    return 0;
}

static bool is_content(const struct proxy_body *b)
{
    return b->state == PLAIN || b->state == DATA;
}

long proxy_body_piece(struct proxy_body *b, const char *bytes, size_t len,
                      size_t *content)
{
    size_t at = 0;

    *content = 0;
    if (is_content(b)) {
        at = (uint64_t)b->left < len ? (size_t)b->left : len;
        b->left -= (int64_t)at;
        *content = at;
        if (b->left == 0)
            b->state = b->state == PLAIN ? OVER : DATA_CR;
        return (long)at;
    }
    while (at < len && b->state != OVER && !is_content(b))
        if (around(b, bytes[at++]) < 0)
            return -1;
    return (long)at;
}

long proxy_body_take(struct proxy_body *b, const char *bytes, size_t len)
{
    size_t at = 0, content;

    while (at < len && b->state != OVER) {
        long n = proxy_body_piece(b, bytes + at, len - at, &content);

        if (n < 0)
            return -1;
        at += (size_t)n;
    }
    return (long)at;
}

bool proxy_body_is_over(const struct proxy_body *b)
{
    return b->state == OVER;
}
