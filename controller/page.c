#include "controller/page.h"

#include "base/frame.h"
#include "base/log.h"
#include "base/mem.h"
#include "controller/app.h"
#include "controller/routes.h"

#include <stdlib.h>
#include <string.h>

/* Read from the page's own origin, and from the gateway, and nothing else;
 * what can run is what was built, and no text becomes markup. */
#define POLICY_HEAD                                                            \
    "default-src 'none'; script-src 'self'; style-src 'self'; "                \
    "img-src 'self' data:; font-src 'self'; manifest-src 'self'; "             \
    "connect-src 'self' "
#define POLICY_TAIL                                                            \
    "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "          \
    "require-trusted-types-for 'script'"

/* Nothing a terminal has no use for; the clipboard also takes a gesture. */
#define PERMISSIONS                                                            \
    "accelerometer=(), autoplay=(), camera=(), display-capture=(), "           \
    "encrypted-media=(), geolocation=(), gyroscope=(), hid=(), "               \
    "idle-detection=(), local-fonts=(), magnetometer=(), microphone=(), "      \
    "midi=(), payment=(), picture-in-picture=(), "                             \
    "publickey-credentials-get=(), screen-wake-lock=(), serial=(), usb=(), "   \
    "xr-spatial-tracking=(), "                                                 \
    "clipboard-read=(self), clipboard-write=(self), fullscreen=(self)"

/* A hash in the name: what is in it never changes. */
#define CACHE_LASTING "public, max-age=31536000, immutable"
#define CACHE_CHECKED "no-cache" /* kept, and asked for by its tag */

struct page {
    struct webdir *dir;
    char *policy;
};

/* of every answer with a file, beside those that every answer has */
static const struct ws_header headers[] = {
    {"vary", "accept-encoding"},
    {"cross-origin-opener-policy", "same-origin"},
    {"permissions-policy", PERMISSIONS},
};

char *page_policy(const char *attach_url)
{
    const size_t scheme = strcspn(attach_url, "/"); /* "wss:" */
    const char *host = attach_url + scheme + 2;
    /* an IPv6 literal cannot be said in a policy: then any of the scheme */
    const size_t origin =
        *host == '[' ? scheme : scheme + 2 + strcspn(host, "/");

    return mem_printf(POLICY_HEAD "%.*s" POLICY_TAIL, (int)origin, attach_url);
}

struct page *page_open(const struct settings *set, struct err *e)
{
    const struct webdir_limits limits = {.files = set->web_max_files,
                                         .bytes = set->web_max_bytes,
                                         .name = set->web_max_name};
    struct webdir *dir;
    struct page *p;

    if (!*set->web_dir)
        return NULL;
    dir = webdir_load(set->web_dir, &limits, e);
    if (!dir)
        return NULL;
    p = mem_zero(1, sizeof *p);
    p->dir = dir;
    p->policy = page_policy(set->attach_url);
    log_info("web.loaded", "files", "i", (int64_t)webdir_count(dir), "bytes",
             "i", webdir_bytes(dir), NULL);
    return p;
}

void page_close(struct page *p)
{
    if (!p)
        return;
    webdir_free(p->dir);
    free(p->policy);
    free(p);
}

const struct webdir_file *page_find(const struct page *p, const char *path)
{
    return p ? webdir_find(p->dir, path) : NULL;
}

/* Which copy; -1 with an answer: none that may be sent. */
static int choose(const struct webdir_file *f, struct call *c)
{
    int64_t sizes[CODING_COUNT];
    int coding;

    for (int i = 0; i < CODING_COUNT; i++)
        sizes[i] = f->copies[i].etag[0] ? (int64_t)f->copies[i].len : -1;
    coding =
        negotiate_coding(ws_request_header(c->r, "accept-encoding"), sizes);
    if (coding < 0) {
        answer_problem(&c->answer, 406, "not_acceptable",
                       "There is no copy of this in an encoding that "
                       "Accept-Encoding lets pass.");
        answer_header(&c->answer, "vary", "accept-encoding");
    }
    return coding;
}

void page_answer(const struct page *p, const struct webdir_file *f,
                 struct call *c)
{
    const int coding = choose(f, c);
    const struct webdir_copy *copy = &f->copies[coding < 0 ? 0 : coding];
    struct answer *a = &c->answer;

    if (coding < 0)
        return;
    if (negotiate_has(ws_request_header(c->r, "if-none-match"), copy->etag))
        answer_lasting(a, 304, NULL, NULL, 0);
    else
        answer_lasting(a, 200, f->type, copy->bytes, copy->len);
    a->policy = p->policy;
    a->more = headers;
    a->more_count = sizeof headers / sizeof *headers;
    answer_header(a, "etag", copy->etag);
    answer_header(a, "cache-control",
                  f->is_lasting ? CACHE_LASTING : CACHE_CHECKED);
    if (a->status == 200 && negotiate_name((enum coding)coding))
        answer_header(a, "content-encoding",
                      negotiate_name((enum coding)coding));
}

/* --- /web/config.json --- */

static void set_sign_in(struct json *to, const struct settings *set)
{
    struct json *way = json_set(to, "sign_in", json_object());

    json_set_str(way, "kind", set->dev_issuer ? "dev" : "none");
    if (set->dev_issuer)
        json_set_str(way, "token_url", "/dev/token");
    else
        json_set_str(way, "issuer", set->oidc_issuer);
}

static void set_limits(struct json *to, const struct settings *set)
{
    struct json *l = json_set(to, "limits", json_object());

    json_set_int(l, "quota", set->quota);
    json_set_int(l, "lifetime_s", set->lifetime_s);
    json_set_int(l, "lifetime_max_s", set->lifetime_max_s);
    json_set_int(l, "idle_s", set->idle_s);
    json_set_int(l, "start_timeout_s", set->start_timeout_s);
    json_set_int(l, "hold_s", set->hold_s);
    json_set_int(l, "attach_max_s", set->attach_max_s);
    json_set_int(l, "ring_bytes", set->ring_bytes);
    json_set_int(l, "window_bytes", set->window_bytes);
    json_set_int(l, "input_window_bytes", set->input_window_bytes);
    json_set_int(l, "bundle_max_bytes", set->bundle_max_bytes);
    json_set_int(l, "viewers", FRAME_VIEWERS_MAX);
    json_set_int(l, "cells", FRAME_CELLS_MAX);
}

void page_config(struct call *c)
{
    const struct settings *set = c->app->set;
    struct json *out = json_object(), *bundle;

    json_set_str(out, "version", PODTERM_VERSION);
    json_set_str(out, "installation", set->installation);
    json_set_str(out, "attach_url", set->attach_url);
    set_sign_in(out, set);
    set_limits(out, set);
    if (set->web_bundle) {
        bundle = json_set(out, "bundle", json_object());
        json_set_str(bundle, "url", set->web_bundle);
        json_set_str(bundle, "sha256", set->web_bundle_sha256);
    }
    answer_json(&c->answer, 200, out);
}
