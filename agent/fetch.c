#include "agent/fetch.h"

#include "base/beneath.h"
#include "base/http_client.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FETCH_CHUNK_BYTES 65536
#define FETCH_WAIT_SLICE_MS 100 /* of a backoff, between looks at cancel */
#define FETCH_CLOCK_MS 100      /* the library's clock may be ahead of ours */
#define FETCH_ASIDE_BYTES 65536 /* read of an answer that is no archive */

struct fetch {
    const struct fetch_conf *conf;
    struct digest *sha256, *blake2b;
    int64_t bytes, total; /* total 0 = not known */
    int64_t deadline_ms;
    char validator[256]; /* for If-Range; "" = cannot be resumed */
    char url[URL_MAX];   /* of this hop */
    int64_t wait_ms;     /* asked for by Retry-After */
    size_t aside;        /* bytes of an answer that is no archive */
    bool is_local;       /* every hop so far was on this machine */
    bool is_body;        /* what comes is the archive */
    bool is_answered;    /* head and status are all that was wanted */
    bool is_final;       /* an error that another try does not mend */
};

static void fetch_restart(struct fetch *f)
{
    digest_free(f->sha256);
    digest_free(f->blake2b);
    f->sha256 = digest_new(DIGEST_SHA256);
    f->blake2b =
        f->conf->spec->bundle_signature ? digest_new(DIGEST_BLAKE2B_512) : NULL;
    f->bytes = 0;
    f->validator[0] = 0;
}

/* Fail for good. */
static int fetch_final(struct fetch *f)
{
    f->is_final = true;
    return -1;
}

static int fetch_too_large(struct fetch *f, struct err *e)
{
    err_set(e, ERR_INPUT, "the bundle is larger than %lld bytes",
            (long long)f->conf->spec->fetch.max_bytes);
    return fetch_final(f);
}

static int fetch_take(struct fetch *f, const uint8_t *bytes, size_t len,
                      struct err *e)
{
    int64_t at = f->bytes;

    if ((int64_t)len > f->conf->spec->fetch.max_bytes - f->bytes)
        return fetch_too_large(f, e);
    digest_add(f->sha256, bytes, len);
    if (f->blake2b)
        digest_add(f->blake2b, bytes, len);
    f->bytes += (int64_t)len;
    while (len > 0) {
        ssize_t n = pwrite(f->conf->file_fd, bytes, len, at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            err_sys(e, "%s",
                    errno == ENOSPC ? "disk full while fetching"
                                    : "write the bundle");
            return fetch_final(f);
        }
        bytes += n;
        len -= (size_t)n;
        at += n;
    }
    if (f->conf->progress)
        f->conf->progress(f->conf->arg, f->bytes, f->total);
    return 0;
}

/* --- http --- */

static bool fetch_is_cancelled(void *arg)
{
    struct fetch *f = arg;

    return f->conf->is_cancelled && f->conf->is_cancelled(f->conf->arg);
}

static int fetch_judge(void *arg, const struct sockaddr *sa, struct err *e)
{
    struct fetch *f = arg;
    struct addr_policy rules = f->conf->spec->fetch.addr;

    /* whoever answers for a name of the outside, or at one, has no say over
     * what is asked here */
    rules.allow_loopback = rules.allow_loopback && f->is_local;
    /* not final by itself: another address of the name may be right */
    return addr_judge(&rules, sa, e);
}

/* A 206 that answers what was asked: it begins where we stopped, and is of
 * the same bytes (RFC 9110, 15.3.7.3). */
static bool fetch_range_fits(const struct fetch *f, const struct http_answer *a)
{
    char want[40];

    snprintf(want, sizeof(want), "bytes %lld-", (long long)f->bytes);
    if (f->validator[0] == '"' && a->etag[0] &&
        strcmp(f->validator, a->etag) != 0)
        return false;
    return strncmp(a->content_range, want, strlen(want)) == 0;
}

static int fetch_head(void *arg, const struct http_answer *a, struct err *e)
{
    struct fetch *f = arg;
    int64_t before = 0;

    f->is_body = a->status == 200 || a->status == 206;
    if (a->status == 206) {
        if (!fetch_range_fits(f, a)) {
            fetch_restart(f); /* the next try asks for the whole */
            return err_set(e, ERR_PEER, "the server resumed with other bytes");
        }
        before = f->bytes;
    } else if (a->status == 200) {
        fetch_restart(f);
        if (ftruncate(f->conf->file_fd, 0) < 0)
            return err_sys(e, "restart the bundle");
        /* weak validators do not name bytes (RFC 9110, 13.1.5) */
        if (a->etag[0] == '"')
            snprintf(f->validator, sizeof(f->validator), "%s", a->etag);
        else
            snprintf(f->validator, sizeof(f->validator), "%s",
                     a->last_modified);
    }
    if (!f->is_body)
        return 0;
    f->total = a->length >= 0 ? before + a->length : 0;
    return f->total > f->conf->spec->fetch.max_bytes ? fetch_too_large(f, e)
                                                     : 0;
}

static int fetch_data(void *arg, const uint8_t *bytes, size_t len,
                      struct err *e)
{
    struct fetch *f = arg;

    if (f->is_body)
        return fetch_take(f, bytes, len, e);
    f->aside += len;
    if (f->aside <= FETCH_ASIDE_BYTES)
        return 0;
    f->is_answered = true;
    return err_set(e, ERR_PEER, "an endless answer");
}

static int64_t fetch_left_ms(const struct fetch *f)
{
    return f->deadline_ms - loop_now_ms();
}

/* One request on f->url. */
static int fetch_once(struct fetch *f, struct http_answer *a, struct err *e)
{
    char range[64], if_range[280];
    const char *headers[4] = {"accept: */*", NULL};
    const struct spec_fetch *rules = &f->conf->spec->fetch;
    int64_t left_ms = fetch_left_ms(f); /* at most a day: SPEC's limit */
    struct http_request r = {
        .url = f->url,
        .headers = headers,
        .allow_http = rules->url.allow_http,
        .total_ms = (int)left_ms,
        .low_speed_bytes = (int)rules->min_bytes_s,
        .low_speed_s = f->conf->slow_s ? f->conf->slow_s : FETCH_SLOW_S,
        .judge = fetch_judge,
        .head = fetch_head,
        .data = fetch_data,
        .is_cancelled = fetch_is_cancelled,
        .arg = f,
        .body_max = SIZE_MAX,
    };

    if (left_ms <= 0) /* 0 would be the client's default */
        return err_set(e, ERR_PEER, "its time is over");
    if (f->bytes > 0 && f->validator[0]) {
        snprintf(range, sizeof(range), "range: bytes=%lld-",
                 (long long)f->bytes);
        snprintf(if_range, sizeof(if_range), "if-range: %s", f->validator);
        headers[1] = range;
        headers[2] = if_range;
        headers[3] = NULL;
    }
    f->is_body = f->is_answered = false;
    f->aside = 0;
    return http_do(&r, a, e) == 0 || f->is_answered ? 0 : -1;
}

/* Seconds, as they are sent with 429 and 503; dates are not read. */
static int64_t fetch_retry_after_ms(const struct http_answer *a)
{
    size_t digits = strspn(a->retry_after, "0123456789");

    if (digits == 0 || digits > 6 || a->retry_after[digits])
        return 0;
    return strtoll(a->retry_after, NULL, 10) * 1000;
}

static bool fetch_is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 ||
           status == 308;
}

/* What an answer means. 1: redirected, f->url is the next hop; 0 done. */
static int fetch_answer(struct fetch *f, const struct http_answer *a,
                        struct err *e)
{
    char next[URL_MAX];

    if (fetch_is_redirect(a->status)) {
        if (!a->location[0]) {
            err_set(e, ERR_INPUT, "redirected without a place to go");
            return fetch_final(f);
        }
        if (url_join(f->url, a->location, next, e) < 0) {
            err_wrap(e, "redirected to another place");
            return fetch_final(f);
        }
        memcpy(f->url, next, sizeof(f->url));
        return 1;
    }
    if (a->status == 200 || a->status == 206) {
        if (f->total > 0 && f->bytes < f->total)
            return err_set(e, ERR_PEER,
                           "the connection ended after %lld of "
                           "%lld bytes",
                           (long long)f->bytes, (long long)f->total);
        return 0;
    }
    err_set(e, ERR_INPUT, "the server answered %d", a->status);
    if (a->status == 416 && f->bytes > 0) {
        fetch_restart(f); /* nothing behind what we have: it has changed */
    } else if (a->status != 429 && a->status < 500) {
        return fetch_final(f);
    }
    f->wait_ms = fetch_retry_after_ms(a);
    e->kind = ERR_PEER;
    return -1;
}

/* Behind a redirect it is not the URL that was asked for that is to blame. */
static void fetch_say_hop(int64_t hop, struct err *e)
{
    if (hop > 0)
        err_wrap(e, "redirected to another place");
}

/* From the bundle's URL over its redirects to the end of the body. */
static int fetch_hops(struct fetch *f, struct err *e)
{
    const struct spec_fetch *rules = &f->conf->spec->fetch;

    snprintf(f->url, sizeof(f->url), "%s", f->conf->spec->bundle_url);
    f->is_local = true;
    for (int64_t hop = 0; hop <= rules->max_redirects; hop++) {
        struct http_answer a = {0};
        struct url u;
        int r;

        if (url_judge(&rules->url, f->url, &u, e) < 0) {
            fetch_say_hop(hop, e);
            return fetch_final(f);
        }
        if (u.scheme == URL_FILE) {
            err_set(e, ERR_DENIED, "redirected to a file");
            return fetch_final(f);
        }
        f->is_local = f->is_local && url_is_loopback(&u);
        r = fetch_once(f, &a, e);
        if (r == 0)
            r = fetch_answer(f, &a, e);
        http_answer_fini(&a);
        if (r < 0)
            fetch_say_hop(hop, e);
        if (r <= 0)
            return r;
    }
    err_set(e, ERR_INPUT, "redirected more than %lld times",
            (long long)rules->max_redirects);
    return fetch_final(f);
}

/* Sleep ms, or less when cancelled. */
static void fetch_wait(struct fetch *f, int64_t ms)
{
    while (ms > 0 && !fetch_is_cancelled(f)) {
        int64_t slice = ms < FETCH_WAIT_SLICE_MS ? ms : FETCH_WAIT_SLICE_MS;

        poll(NULL, 0, (int)slice);
        ms -= slice;
    }
}

static int fetch_http(struct fetch *f, struct err *e)
{
    int64_t backoff_ms =
        f->conf->backoff_ms ? f->conf->backoff_ms : FETCH_BACKOFF_MS;

    for (int i = 1;; i++) {
        struct err before = *e;
        int64_t wait_ms;

        f->wait_ms = 0;
        if (fetch_hops(f, e) == 0)
            return 0;
        if (fetch_is_cancelled(f))
            return err_set(e, ERR_TIMEOUT, "cancelled");
        if (f->is_final || e->kind == ERR_DENIED || e->kind == ERR_SYSTEM)
            return -1;
        /* a try cut short by our own clock says less than the one before */
        if (i > 1 && fetch_left_ms(f) <= FETCH_CLOCK_MS)
            *e = before;
        if (i >= FETCH_TRIES_MAX)
            return err_wrap(e, "not fetched in %d tries", i);
        wait_ms = f->wait_ms > backoff_ms ? f->wait_ms : backoff_ms;
        if (fetch_left_ms(f) <= wait_ms)
            return err_wrap(e, "not fetched within %lld s",
                            (long long)f->conf->spec->fetch.max_s);
        fetch_wait(f, wait_ms);
        backoff_ms *= 2;
        if (backoff_ms > FETCH_BACKOFF_MAX_MS)
            backoff_ms = FETCH_BACKOFF_MAX_MS;
    }
}

/* --- file --- */

static int fetch_open_file(const struct fetch *f, const char *path,
                           struct err *e)
{
    const char *root = f->conf->spec->fetch.url.file_root;
    own_fd int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    size_t skip = strlen(root);
    struct stat st;
    int fd;

    if (dir < 0)
        return err_sys(e, "open %s", root);
    while (path[skip] == '/')
        skip++;
    fd = beneath_open(dir, path + skip, O_RDONLY | O_NONBLOCK, 0,
                      BENEATH_NO_LINKS);
    if (fd < 0)
        return err_set(e, ERR_INPUT, "%s: %s", path, strerror(errno));
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return err_set(e, ERR_INPUT, "%s is no regular file", path);
    }
    return fd;
}

static int fetch_file(struct fetch *f, const struct url *u, struct err *e)
{
    own_mem uint8_t *chunk = mem_zero(FETCH_CHUNK_BYTES, 1);
    own_fd int fd = fetch_open_file(f, u->path, e);
    struct stat st;
    ssize_t n;

    if (fd < 0)
        return -1;
    fetch_restart(f);
    if (fstat(fd, &st) == 0)
        f->total = st.st_size;
    while ((n = read(fd, chunk, FETCH_CHUNK_BYTES)) > 0) {
        if (fetch_is_cancelled(f))
            return err_set(e, ERR_TIMEOUT, "cancelled");
        if (fetch_take(f, chunk, (size_t)n, e) < 0)
            return -1;
    }
    return n < 0 ? err_sys(e, "read %s", u->path) : 0;
}

int fetch_run(const struct fetch_conf *conf, struct fetch_result *out,
              struct err *e)
{
    struct fetch f = {
        .conf = conf,
        .deadline_ms = loop_now_ms() + conf->spec->fetch.max_s * 1000,
    };
    struct url u;
    int r;

    if (url_judge(&conf->spec->fetch.url, conf->spec->bundle_url, &u, e) < 0)
        return -1;
    fetch_restart(&f);
    r = u.scheme == URL_FILE ? fetch_file(&f, &u, e) : fetch_http(&f, e);
    if (r == 0) {
        out->bytes = f.bytes;
        digest_end(f.sha256, out->sha256);
        if (f.blake2b)
            digest_end(f.blake2b, out->blake2b);
    }
    digest_free(f.sha256);
    digest_free(f.blake2b);
    return r;
}
