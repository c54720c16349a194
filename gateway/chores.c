#include "gateway/chores.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/tls.h"

#include <stdlib.h>
#include <sys/stat.h>

#define CHORES_MS 5000     /* between two rounds */
#define CHORES_SOON_MS 250 /* while something is missing */

struct chores {
    struct gateway *gw;
    struct store *store;
    struct keyset *keyset;
    const struct settings *set;
    int64_t now_ms, cert_stamp;
    bool read_keys, is_store_well;
    struct ssl_ctx_st *server_ctx; /* a renewed one, or NULL */
    struct err store_e, keys_e, cert_e;
};

static int64_t file_stamp(const char *path)
{
    struct stat st;

    if (!path || stat(path, &st) < 0)
        return 0;
    return (int64_t)st.st_mtim.tv_sec * 1000003 + st.st_mtim.tv_nsec +
           (int64_t)st.st_ino * 31 + st.st_size;
}

int64_t chores_cert_stamp(const struct settings *s)
{
    return file_stamp(s->tls_cert) * 7 + file_stamp(s->tls_key);
}

static void chores_run(void *arg)
{
    struct chores *c = arg;
    int64_t stamp = chores_cert_stamp(c->set);

    c->is_store_well = store_ping(c->store, &c->store_e) == 0;
    if (c->read_keys && keyset_refresh(c->keyset, c->now_ms, &c->keys_e) > 0)
        c->read_keys = false; /* another reads: again in the next round */
    if (c->set->tls_cert && stamp != c->cert_stamp) {
        c->server_ctx =
            tls_server_ctx(c->set->tls_cert, c->set->tls_key, &c->cert_e);
        c->cert_stamp = stamp; /* a broken pair is tried once a change */
    }
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
    if (c->cert_e.kind)
        log_err(&c->cert_e, "certificate.refused");
    if (c->server_ctx) {
        tls_ctx_free(gw->server_ctx); /* live connections hold their own */
        gw->server_ctx = c->server_ctx;
        log_info("certificate.loaded", NULL);
    }
    gw->cert_stamp = c->cert_stamp;
    is_whole = gw->is_store_well && keyset_is_loaded(gw->keyset);
    if (c->read_keys && !c->keys_e.kind)
        gw->keys_ms = gw->now_ms + gw->set.jwks_refresh_ms;
    gw->chores_ms = gw->now_ms + (is_whole ? CHORES_MS : CHORES_SOON_MS);
    if (gw->keys_ms > gw->now_ms && gw->keys_ms < gw->chores_ms)
        gw->chores_ms = gw->keys_ms;
    gw->is_chore_running = false;
    free(c);
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
    c->set = &gw->set;
    c->now_ms = gw->now_ms;
    c->cert_stamp = gw->cert_stamp;
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
    gw->cert_stamp = -1;
    gw->keys_ms = 0;
    gw->chores_ms = 0;
}
