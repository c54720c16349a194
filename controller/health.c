#include "controller/health.h"

#include "base/buf.h"
#include "base/mem.h"
#include "controller/app.h"
#include "controller/counts.h"
#include "controller/lease.h"
#include "controller/routes.h"

#include <stdio.h>
#include <string.h>

#define TEXT_PLAIN "text/plain; charset=utf-8"

void health_livez(struct call *c)
{
    answer_text(&c->answer, 200, TEXT_PLAIN, mem_str("ok\n"));
}

#define BLIND                                                                  \
    "the Lease of --lease cannot be had (lease.call in the log): no session "  \
    "starts unless another controller leads"

static bool is_warned(const struct app *a, char out[160])
{
    if (!a->lease || !lease_is_blind(a->lease))
        return store_warning(a->store, out);
    snprintf(out, 160, "%s", BLIND);
    return true;
}

void health_readyz(struct call *c)
{
    char warning[160];
    struct err e = {0};

    if (c->app->is_stopping || store_ping(c->app->store, &e) < 0)
        answer_problem(&c->answer, 503, "unavailable", "not ready");
    else if (is_warned(c->app, warning))
        answer_text(&c->answer, 200, TEXT_PLAIN,
                    mem_printf("ok\nwarning: %s\n", warning));
    else
        answer_text(&c->answer, 200, TEXT_PLAIN, mem_str("ok\n"));
}

void health_metrics(struct call *c)
{
    struct buf out;

    buf_init(&out, HEALTH_METRICS_MAX);
    if (counts_text(&out) == 0)
        answer_text(&c->answer, 200, "text/plain; version=0.0.4",
                    mem_str(buf_cstr(&out)));
    else
        answer_problem(&c->answer, 503, "unavailable", "too many metrics");
    buf_fini(&out);
}

void health_jwks(struct call *c)
{
    answer_text(&c->answer, 200, "application/json",
                mem_str(c->app->keys.jwks_text));
    answer_header(&c->answer, "cache-control", "public, max-age=60");
}
