#include "base/http_client.h"

#include "base/http_library.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HTTP_TOTAL_MS 30000

struct http_call {
    const struct http_request *r;
    struct http_answer *a;
    struct http_gate gate;
    bool is_head_told; /* r->head was asked for this answer */
};

void http_client_init(void)
{
    http_library_load();
}

void http_answer_fini(struct http_answer *a)
{
    if (a)
        buf_fini(&a->body);
}

/* --- headers --- */

/* The value of "name: value\r\n" when it is this name; NULL else. */
static bool http_header(const char *line, size_t len, const char *name,
                        char *out, size_t size)
{
    size_t n = strlen(name);

    if (len <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
        return false;
    line += n + 1;
    len -= n + 1;
    while (len > 0 && (*line == ' ' || *line == '\t')) {
        line++;
        len--;
    }
    while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == '\n' ||
                       line[len - 1] == ' '))
        len--;
    /* one that does not fit is as good as absent: never a half of it */
    if (len < size) {
        memcpy(out, line, len);
        out[len] = 0;
    } else {
        out[0] = 0;
    }
    return true;
}

static void http_answer_clear(struct http_answer *a)
{
    struct buf body = a->body;

    *a = (struct http_answer){.length = -1, .body = body};
    buf_clear(&a->body);
}

static size_t http_on_header(char *line, size_t size, size_t count, void *arg)
{
    struct http_call *c = arg;
    struct http_answer *a = c->a;
    size_t len = size * count;
    char text[32];

    if (c->is_head_told)
        return len; /* a trailer: the head was acted on */
    if (len > 5 && strncmp(line, "HTTP/", 5) == 0) {
        /* an informational answer before the real one ends here */
        http_answer_clear(a);
        return len;
    }
    if (http_header(line, len, "content-length", text, sizeof(text)) &&
        text[0] >= '0' && text[0] <= '9')
        a->length = strtoll(text, NULL, 10);
    http_header(line, len, "location", a->location, sizeof(a->location));
    http_header(line, len, "etag", a->etag, sizeof(a->etag));
    http_header(line, len, "last-modified", a->last_modified,
                sizeof(a->last_modified));
    http_header(line, len, "content-range", a->content_range,
                sizeof(a->content_range));
    http_header(line, len, "retry-after", a->retry_after,
                sizeof(a->retry_after));
    http_header(line, len, "cache-control", a->cache_control,
                sizeof(a->cache_control));
    http_header(line, len, "content-type", a->content_type,
                sizeof(a->content_type));
    return len;
}

/* --- body --- */

static int http_tell_head(struct http_call *c, CURL *curl)
{
    long status = 0;

    if (c->is_head_told)
        return 0;
    c->is_head_told = true;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    c->a->status = (int)status;
    if (c->r->head && c->r->head(c->r->arg, c->a, c->gate.e) < 0) {
        c->gate.is_failed = true;
        return -1;
    }
    return 0;
}

struct http_body {
    struct http_call *c;
    CURL *curl;
    size_t bytes;
};

/* Bytes are counted here: the library's own limit does not stop a body
 * without a length. */
static size_t http_on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct http_body *b = arg;
    struct http_call *c = b->c;
    size_t len = size * count;

    if (http_tell_head(c, b->curl) < 0)
        return CURL_WRITEFUNC_ERROR;
    if (len > c->r->body_max - b->bytes) {
        err_set(c->gate.e, ERR_TOO_LARGE, "answer of more than %zu bytes",
                c->r->body_max);
        c->gate.is_failed = true;
        return CURL_WRITEFUNC_ERROR;
    }
    b->bytes += len;
    if (c->r->data) {
        if (c->r->data(c->r->arg, (const uint8_t *)bytes, len, c->gate.e) == 0)
            return len;
        c->gate.is_failed = true;
        return CURL_WRITEFUNC_ERROR;
    }
    return buf_append(&c->a->body, bytes, len) < 0 ? CURL_WRITEFUNC_ERROR : len;
}

static int http_on_progress(void *arg, curl_off_t total, curl_off_t now,
                            curl_off_t up_total, curl_off_t up_now)
{
    struct http_call *c = arg;

    (void)total;
    (void)now;
    (void)up_total;
    (void)up_now;
    if (!c->r->is_cancelled || !c->r->is_cancelled(c->r->arg))
        return 0;
    err_set(c->gate.e, ERR_TIMEOUT, "cancelled");
    c->gate.is_failed = true;
    return 1;
}

/* --- one call --- */

static void http_set_limits(CURL *curl, const struct http_request *r)
{
    http_set_basics(curl, r->allow_http, r->connect_ms);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS,
                     (long)(r->total_ms ? r->total_ms : HTTP_TOTAL_MS));
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)r->low_speed_bytes);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)r->low_speed_s);
}

static void http_set_pem(CURL *curl, CURLoption option, const char *pem)
{
    struct curl_blob blob = {(void *)(uintptr_t)pem, strlen(pem),
                             CURL_BLOB_NOCOPY};

    curl_easy_setopt(curl, option, &blob);
}

/* Only these: beside a CA of the caller's no other is trusted. */
static void http_set_trust(CURL *curl, const struct http_request *r)
{
    if (r->ca_path) {
        http_set_ca(curl, r->ca_path);
    } else if (r->ca_pem) {
        http_set_pem(curl, CURLOPT_CAINFO_BLOB, r->ca_pem); /* the one CA */
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    }
    if (r->cert_pem && r->key_pem) {
        http_set_pem(curl, CURLOPT_SSLCERT_BLOB, r->cert_pem);
        http_set_pem(curl, CURLOPT_SSLKEY_BLOB, r->key_pem);
    }
}

static void http_set_calls(CURL *curl, struct http_call *c, struct http_body *b)
{
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, http_on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, http_on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, b);
    http_set_gate(curl, &c->gate);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, http_on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, c);
}

static struct curl_slist *http_set_request(CURL *curl,
                                           const struct http_request *r)
{
    /* no "Expect: 100-continue": our bodies are small */
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");

    for (size_t i = 0; r->headers && r->headers[i]; i++)
        list = curl_slist_append(list, r->headers[i]);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(curl, CURLOPT_URL, r->url);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "podterm/" PODTERM_VERSION);
    if (r->body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                         (curl_off_t)r->body_len);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, r->body);
    }
    if (r->method)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, r->method);
    if (r->method && strcmp(r->method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    return list;
}

static int http_fail(struct http_call *c, CURLcode code, const char *said)
{
    c->a->is_untrusted = code == CURLE_PEER_FAILED_VERIFICATION ||
                         code == CURLE_SSL_CACERT_BADFILE;
    return http_failure(&c->gate, code, said, c->gate.e);
}

/* The connections a handle has stay with it; nothing else does. */
static CURL *http_handle(const struct http_request *r)
{
    CURL *curl = r->keep ? r->keep->handle : NULL;

    if (!curl)
        curl = curl_easy_init();
    if (!curl)
        abort();
    if (r->keep)
        r->keep->handle = curl;
    return curl;
}

static void http_handle_done(const struct http_request *r, CURL *curl)
{
    if (r->keep)
        curl_easy_reset(curl);
    else
        curl_easy_cleanup(curl);
}

void http_keep_fini(struct http_keep *k)
{
    if (k->handle)
        curl_easy_cleanup(k->handle);
    k->handle = NULL;
}

int http_do(const struct http_request *r, struct http_answer *a, struct err *e)
{
    /* told if the call fails: in one that comes through, an address may have
     * been refused on the way (libcurl 8 asks for those of both families) */
    struct err why = {0};
    struct http_call c = {
        .r = r,
        .a = a,
        .gate = {.judge = r->judge, .arg = r->arg, .e = &why},
    };
    struct http_body b = {.c = &c};
    struct curl_slist *list;
    char said[CURL_ERROR_SIZE] = "";
    CURLcode code;
    CURL *curl;
    int out = 0;

    if (!http_library_load())
        return err_set(e, ERR_SYSTEM, HTTP_LIBRARY " cannot be loaded");
    curl = http_handle(r);
    *a = (struct http_answer){.length = -1};
    buf_init(&a->body, r->data ? 0 : r->body_max);
    b.curl = curl;
    http_set_limits(curl, r);
    http_set_trust(curl, r);
    http_set_calls(curl, &c, &b);
    list = http_set_request(curl, r);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, said);
    code = curl_easy_perform(curl);
    if (code == CURLE_OK && http_tell_head(&c, curl) < 0)
        out = -1;
    else if (code != CURLE_OK)
        out = http_fail(&c, code, said);
    curl_slist_free_all(list);
    http_handle_done(r, curl);
    if (out < 0) {
        if (e)
            *e = why;
        http_answer_fini(a);
    }
    return out;
}
