/*
 * A request to the egress proxy, or to the key broker, and its body: what is
 * let through is written as one request with one Host and one length, its body
 * ends at the same byte however it is cut, and a path leads where the table
 * says or nowhere.
 */
#include "agent/broker_apis.h"
#include "agent/proxy_request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* How many header lines have that name. */
static int count(const struct buf *b, const char *name)
{
    struct http_text rest = {(const char *)b->data, b->len}, line;
    struct http_text field, value;
    int n = 0;

    if (!http_line_take(&rest, &line))
        abort();
    while (http_line_take(&rest, &line) && line.len > 0) {
        if (http_field_take(line, &field, &value) < 0)
            abort();
        n += http_text_is(field, name);
    }
    if (rest.len > 0)
        abort();
    return n;
}

static void check_written(const struct proxy_request *r)
{
    struct err e = {0};
    struct buf out;
    size_t seen = 0;

    buf_init(&out, 2 * PROXY_HEAD_MAX);
    if (proxy_request_write(r, &out, &e) < 0)
        abort(); /* at most a head and what is ours */
    if (http_head_end((const char *)out.data, out.len, &seen) != (long)out.len)
        abort();
    if (count(&out, "host") != 1 || count(&out, "connection") != 1 ||
        count(&out, "proxy-authorization") != 0 ||
        count(&out, "upgrade") != 0 ||
        count(&out, "content-length") + count(&out, "transfer-encoding") > 1 ||
        count(&out, "transfer-encoding") != r->is_chunked)
        abort();
    buf_fini(&out);
}

static void check_body(const struct proxy_request *r, const char *bytes,
                       size_t len)
{
    struct proxy_body whole, cut;
    long all, sum = 0, n = 0;

    proxy_body_init(&whole, r);
    all = proxy_body_take(&whole, bytes, len);
    proxy_body_init(&cut, r);
    for (size_t i = 0; i < len && n >= 0; i++) {
        n = proxy_body_take(&cut, bytes + i, 1);
        sum += n > 0 ? n : 0;
    }
    if (all < 0 ? n >= 0 : (sum != all || all > (long)len))
        abort();
    if (all >= 0 && proxy_body_is_over(&whole) != proxy_body_is_over(&cut))
        abort();
    if (all >= 0 && all < (long)len && !proxy_body_is_over(&whole))
        abort();
}

/* Its content by pieces is as long as its length says. */
static void check_content(const struct proxy_request *r, const char *bytes,
                          size_t len)
{
    struct proxy_body b;
    size_t at = 0, content, all = 0;

    proxy_body_init(&b, r);
    while (at < len && !proxy_body_is_over(&b)) {
        long n = proxy_body_piece(&b, bytes + at, len - at, &content);

        if (n < 0)
            return;
        if (n == 0 || content > (size_t)n)
            abort();
        at += (size_t)n;
        all += content;
    }
    if (!r->is_chunked && proxy_body_is_over(&b) && all != (size_t)r->length)
        abort();
}

static void check_origin(const char *bytes, size_t end, size_t size)
{
    struct proxy_request r;
    struct http_text path, query;
    enum broker_api api;
    struct err e = {0};

    if (proxy_request_parse_origin(bytes, end, &r, &e) < 0) {
        if (!e.text[0])
            abort();
        return;
    }
    if (r.host[0] || r.port || r.is_connect || r.target.at[0] != '/')
        abort();
    if (broker_target(r.target, &api, &path, &query) == 0) {
        if (path.at[0] != '/' ||
            memmem(path.at, path.len, "/..", 3) == path.at + path.len - 3 ||
            memmem(path.at, path.len, "/../", 4) ||
            memmem(path.at, path.len, "//", 2) ||
            memchr(path.at, '%', path.len) || memchr(path.at, '?', path.len))
            abort();
        broker_is_allowed(api, r.method, path);
    }
    check_body(&r, bytes + end, size - end);
    check_content(&r, bytes + end, size - end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = malloc(size ? size : 1); /* its exact bound */
    struct proxy_request r;
    struct err e = {0};
    size_t seen = 0;
    long end;

    memcpy(exact, data, size);
    end = http_head_end(exact, size, &seen);
    if (end > 0 && end <= PROXY_HEAD_MAX)
        check_origin(exact, (size_t)end, size);
    if (end > 0 && end <= PROXY_HEAD_MAX &&
        proxy_request_parse(exact, (size_t)end, &r, &e) == 0) {
        if (!r.host[0] || !r.port ||
            (r.is_connect && (r.length || r.is_chunked)))
            abort();
        if (!r.is_connect)
            check_written(&r);
        check_body(&r, exact + end, size - (size_t)end);
    } else if (end > 0 && end <= PROXY_HEAD_MAX && !e.text[0]) {
        abort(); /* every refusal says why */
    }
    free(exact);
    return 0;
}
