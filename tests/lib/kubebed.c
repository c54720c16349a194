#include "tests/lib/kubebed.h"

#include "base/mem.h"
#include "base/own.h"
#include "controller/counts.h"
#include "controller/launcher_kube.h"
#include "controller/record.h"
#include "controller/spec.h"
#include "tests/lib/certs.h"
#include "tests/lib/keysonce.h"
#include "tests/lib/peer.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- the sink --- */

static void say(struct kubebed *b, const char *sid, const char *fmt, ...)
{
    size_t len = strlen(b->said);
    va_list ap;

    len += (size_t)snprintf(b->said + len, sizeof b->said - len, "%c:", *sid);
    va_start(ap, fmt);
    len += (size_t)vsnprintf(b->said + len, sizeof b->said - len, fmt, ap);
    va_end(ap);
    assert_true(len + 2 < sizeof b->said);
    snprintf(b->said + len, sizeof b->said - len, " ");
}

static void on_stage(void *arg, const char *sid, const char *stage,
                     const char *state, const char *detail)
{
    say(arg, sid, "%s/%s%s%.40s", stage, state, *detail ? "=" : "", detail);
}

static void on_claimed(void *arg, const char *sid, const char *ref)
{
    struct kubebed *b = arg;

    say(b, sid, "claimed=%.2s", ref);
    snprintf(b->ref, sizeof b->ref, "%s", ref);
    snprintf(b->sid, sizeof b->sid, "%s", sid);
    if (!b->keeps_no_claims)
        b->launcher->claim_kept(b->launcher, sid);
}

static void on_launched(void *arg, const char *sid)
{
    say(arg, sid, "launched");
}

static void on_listening(void *arg, const char *sid, const char *addr,
                         const char *uid, const char *isolation)
{
    (void)uid;
    (void)isolation;
    say(arg, sid, "listening=%s", addr);
}

static void on_running(void *arg, const char *sid, int64_t started_ms,
                       uint8_t layers)
{
    (void)started_ms;
    (void)layers;
    say(arg, sid, "running");
}

static void on_ended(void *arg, const char *sid, const struct launch_end *end)
{
    struct kubebed *b = arg;

    snprintf(b->detail, sizeof b->detail, "%s", end->detail);
    say(b, sid, "ended=%s", end_reason_name(end->reason));
}

static void on_demand(void *arg, int64_t deficit)
{
    ((struct kubebed *)arg)->demand = deficit;
}

static bool leads(void *arg)
{
    return !atomic_load(&((struct kubebed *)arg)->is_deposed);
}

/* --- birth and death --- */

static void make_launcher(struct kubebed *b)
{
    struct err e = {0};

    b->launcher = launcher_kube_new(b->loop, &b->set, &b->keys, &e);
    if (!b->launcher)
        fail_msg("%s", e.text);
    b->inside = (struct kube_launcher *)b->launcher;
    b->launcher->sink = (struct launch_sink){
        on_stage, on_claimed, on_launched, on_listening, on_running,
        on_ended, on_demand,  b,           leads,        b};
}

static void write_config(struct kubebed *b)
{
    own_mem char *text = mem_printf(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster: "
        "{server: \"https://127.0.0.1:%d\", certificate-authority: "
        "\"%s/srv-ca.pem\"}\nusers:\n- name: u\n  user: {token: abc}\n"
        "contexts:\n- name: x\n  context: {cluster: c, user: u}\n"
        "current-context: x\n",
        kubeworld_port(b->world), b->dir);

    tree_put(b->dir, "config", text);
}

void kubebed_start(struct kubebed *b, int warm)
{
    static char config[256];

    *b = (struct kubebed){.dir = scratch_new(), .demand = -1};
    certs_make(b->dir, "srv", "IP:127.0.0.1");
    b->world = kubeworld_new(b->dir);
    write_config(b);
    snprintf(config, sizeof config, "%s/config", b->dir);
    keysonce_load(&b->keys);
    b->loop = loop_new();
    b->set = (struct settings){
        .is_kube = true,
        .kubeconfig = config,
        .namespace = KUBEWORLD_NS,
        .job_template = "infra/k8s/session-job.yaml",
        .agent_image = "example/agent:1",
        .runner_image = KUBEBED_IMAGE,
        .runner_images = "",
        .issuer = "https://controller.example",
        .installation = KUBEWORLD_INSTALLATION,
        .warm_target = warm,
        .warm_max_age_s = 3600,
        .lifetime_max_s = 3600,
        .start_timeout_s = 60,
    };
    b->trusted = spec_trust(&b->keys);
    make_launcher(b);
}

void kubebed_stop(struct kubebed *b)
{
    if (!b->dir)
        return;
    if (b->launcher)
        b->launcher->free(b->launcher);
    kubeworld_free(b->world);
    loop_free(b->loop);
    keys_fini(&b->keys);
    free(b->trusted);
    scratch_remove(b->dir);
    *b = (struct kubebed){0};
}

void kubebed_begin(struct kubebed *b)
{
    own_mem char(*sids)[ID_SIZE] = NULL;
    struct err e = {0};

    if (b->launcher->list(b->launcher, &sids, &e) < 0)
        fail_msg("%s", e.text);
    b->launcher->begin(b->launcher, b->trusted);
    kubebed_watched(b);
}

void kubebed_next(struct kubebed *b, bool stays)
{
    if (stays) {
        b->launcher->rest(b->launcher);
        assert_int_equal(b->launcher->count(b->launcher), 0);
    } else {
        b->launcher->free(b->launcher);
        make_launcher(b);
    }
}

/* --- sessions --- */

void kubebed_sid(char letter, char out[ID_SIZE])
{
    random_id(out);
    out[0] = letter;
    assert_true(id_is_valid(out));
}

char *kubebed_record(const struct kubebed *b, const char *sid,
                     const char *installation)
{
    own_mem struct store_session *row = mem_zero(1, sizeof *row);

    snprintf(row->id, sizeof row->id, "%s", sid);
    snprintf(row->owner_iss, sizeof row->owner_iss, "https://i.example");
    snprintf(row->owner_sub, sizeof row->owner_sub, "ann");
    snprintf(row->bundle_url, sizeof row->bundle_url, "https://b.example/x");
    memset(row->bundle_sha256, 'a', 64);
    random_id(row->psk_id);
    row->created_ms = 1;
    row->lifetime_s = 3600;
    return record_text(row, installation, &b->keys);
}

struct launch *kubebed_what(struct kubebed *b, const char *sid)
{
    struct launch *what = mem_zero(1, sizeof *what);

    snprintf(what->sid, sizeof what->sid, "%s", sid);
    what->spec = mem_printf("{\"v\":1,\"sid\":\"%s\"}", sid);
    what->trust = mem_str(b->trusted);
    what->image = mem_str(KUBEBED_IMAGE);
    what->record = kubebed_record(b, sid, b->set.installation);
    what->deadline_s = 600;
    return what;
}

void kubebed_launch(struct kubebed *b, const char *sid)
{
    b->launcher->start(b->launcher, kubebed_what(b, sid));
}

void kubebed_end(struct kubebed *b, const char *sid)
{
    b->launcher->end(b->launcher, sid, REASON_DELETED, "");
}

/* --- waiting --- */

struct wish {
    struct kubebed *b;
    const char *kind, *name;
    int count;
};

static bool has_objects(void *arg)
{
    const struct wish *w = arg;

    return kubeworld_count(w->b->world, w->kind, w->name) == w->count;
}

static bool is_heard(void *arg)
{
    const struct wish *w = arg;

    return strstr(w->b->said, w->name) != NULL;
}

static bool is_empty(void *arg)
{
    const struct wish *w = arg;

    return w->b->launcher->count(w->b->launcher) == 0;
}

static bool is_watched(void *arg)
{
    const struct wish *w = arg;

    return kubeworld_watches(w->b->world) >= 2;
}

static void wait_for(struct wish *w, bool (*done)(void *arg))
{
    if (!run_until(w->b->loop, done, w, KUBEBED_SOON_MS))
        fail_msg("no %d %s %s; said: %s", w->count, w->kind, w->name,
                 w->b->said);
}

void kubebed_until(struct kubebed *b, const char *kind, const char *name,
                   int count)
{
    wait_for(&(struct wish){b, kind, name, count}, has_objects);
}

void kubebed_hears(struct kubebed *b, const char *text)
{
    wait_for(&(struct wish){b, "word", text, 1}, is_heard);
}

void kubebed_empty(struct kubebed *b)
{
    wait_for(&(struct wish){b, "session", "left", 0}, is_empty);
}

static bool is_warm(void *arg)
{
    return count_get(COUNT_WARM) == ((const struct wish *)arg)->count;
}

void kubebed_warm(struct kubebed *b, int count)
{
    wait_for(&(struct wish){b, "warm", "ready", count}, is_warm);
}

void kubebed_watched(struct kubebed *b)
{
    wait_for(&(struct wish){b, "watches", "", 2}, is_watched);
}

int kubebed_said(const struct kubebed *b, const char *text)
{
    int n = 0;

    for (const char *at = b->said; (at = strstr(at, text)); at++)
        n++;
    return n;
}
