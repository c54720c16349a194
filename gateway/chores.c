#include "gateway/chores.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/tls.h"
#include "base/tls_files.h"

#include <stdlib.h>

#define CHORES_MS TLS_FILES_LOOK_MS /* between two rounds */
#define CHORES_SOON_MS 250          /* while something is missing */

struct chores {
    struct gateway *gw;
    struct store *store;
    struct keyset *keyset;
    int64_t now_ms;
    struct tls_files tls_files; /* the gateway's, as of the last round */
    bool read_keys, is_store_well, is_cert_news;
    struct ssl_ctx_st *server_ctx; /* a renewed one, or NULL */
    struct err store_e, keys_e, cert_e;
};

/* Take up the pair if it is another. Live connections go on with theirs, and
 * new ones too while a pair does not load. */
static void certificate_look(struct chores *c)
{
    struct tls_files *f = &c->tls_files;

    if (!tls_files_look(f))
        return;
    c->server_ctx = tls_server_ctx(f->cert_path, f->key_path, &c->cert_e);
    if (!c->server_ctx)
        c->is_cert_news = tls_files_failed(f);
}

static void chores_run(void *arg)
{
    struct chores *c = arg;

    c->is_store_well = store_ping(c->store, &c->store_e) == 0;
    if (c->read_keys && keyset_refresh(c->keyset, c->now_ms, &c->keys_e) > 0)
        c->read_keys = false; /* another reads: again in the next round */
    certificate_look(c);
}

static void chores_done(void *arg)
{
    struct chores *c = arg;
    struct gateway *gw = c->gw;
    bool is_whole;

    if (!c->is_store_well && gw->is_store_well)
        log_err(&c->store_e, "store.failed");
    gw->is_store_well = c->is_store_well;
    if (c->keys_e.kind) {
        count(COUNT_KEYSET_ERRORS, 1);
        log_err(&c->keys_e, "keyset.failed");
    }
    if (c->is_cert_news)
        log_err(&c->cert_e, "certificate.refused");
    if (c->server_ctx) {
        tls_ctx_free(gw->server_ctx); /* live connections hold their own */
        gw->server_ctx = c->server_ctx;
        log_info("certificate.loaded", NULL);
    }
    gw->tls_files = c->tls_files;
    if (!gw->are_keys_told && keyset_is_loaded(gw->keyset)) {
        log_info("keyset.loaded", NULL);
        gw->are_keys_told = true;
    }
    is_whole = gw->is_store_well && keyset_is_loaded(gw->keyset);
    if (c->read_keys && !c->keys_e.kind)
        gw->keys_ms = gw->now_ms + gw->set.jwks_refresh_ms;
    gw->chores_ms = gw->now_ms + (is_whole ? CHORES_MS : CHORES_SOON_MS);
    if (gw->keys_ms > gw->now_ms && gw->keys_ms < gw->chores_ms)
        gw->chores_ms = gw->keys_ms;
    gw->is_chore_running = false;
    free(c);
    if (gw->is_chore_asked)
        chores_now(gw);
}

int chores_tick(struct gateway *gw)
{
    struct chores *c;

    if (gw->is_chore_running)
        return -1;
    if (gw->now_ms < gw->chores_ms)
        return (int)(gw->chores_ms - gw->now_ms);
    c = mem_zero(1, sizeof(*c));
    c->gw = gw;
    c->store = gw->store;
    c->keyset = gw->keyset;
    c->now_ms = gw->now_ms;
    c->tls_files = gw->tls_files;
    c->read_keys = gw->now_ms >= gw->keys_ms;
    gw->is_chore_running = jobs_add(gw->jobs, chores_run, chores_done, c);
    if (gw->is_chore_running)
        return -1;
    free(c);
    gw->chores_ms = gw->now_ms + CHORES_SOON_MS;
    return CHORES_SOON_MS;
}

void chores_now(struct gateway *gw)
{
    /* what runs may have looked already, and would overwrite this */
    gw->is_chore_asked = gw->is_chore_running;
    tls_files_ask(&gw->tls_files);
    gw->keys_ms = 0;
    gw->chores_ms = 0;
}
