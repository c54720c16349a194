#include "agent/activation.h"

#include "agent/specfile.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- the warm spec --- */

bool warm_spec_is(const struct json *root)
{
    return json_get(root, "warm") != NULL;
}

static int warm_bad(struct err *e, const char *member, const char *want)
{
    return err_set(e, ERR_INPUT, "warm spec: %s must be %s", member, want);
}

/* As a label's value: it stands in one. */
static bool warm_is_name(const char *name)
{
    size_t len = name ? strspn(name, "0123456789abcdefghijklmnopqrstuvwxyz"
                                     "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_.")
                      : 0;

    return len > 0 && len <= WARM_POOL_MAX && !name[len];
}

static int warm_members(const struct json *j, struct warm_spec *w,
                        struct err *e)
{
    static const char *const names[] = {"pool", "psk_id", "max_age_s", NULL};
    const char *pool = json_get_str(j, "pool");
    const char *id = json_get_str(j, "psk_id");

    if (!json_is_object(j))
        return warm_bad(e, "warm", "an object");
    if (json_only(j, names, e) < 0)
        return err_wrap(e, "warm spec: warm");
    if (!warm_is_name(pool))
        return warm_bad(e, "pool", "a name of at most 63 characters");
    if (!id || !id_is_valid(id))
        return warm_bad(e, "psk_id", "an id of 26 characters a-z2-7");
    if (json_get_int(j, "max_age_s", &w->max_age_s) < 0 || w->max_age_s < 1 ||
        w->max_age_s > WARM_AGE_MAX_S)
        return warm_bad(e, "max_age_s", "1 to 86400");
    snprintf(w->pool, sizeof(w->pool), "%s", pool);
    memcpy(w->psk_id, id, ID_SIZE);
    return 0;
}

int warm_spec_of(const struct json *root, struct warm_spec *out, struct err *e)
{
    static const char *const names[] = {"v", "warm", "token", NULL};
    struct warm_spec w = {0};
    int64_t v;

    if (json_only(root, names, e) < 0)
        return err_wrap(e, "warm spec");
    if (json_get_int(root, "v", &v) < 0 || v != 1)
        return warm_bad(e, "v", "1: this agent knows no other");
    if (warm_members(json_get(root, "warm"), &w, e) < 0 ||
        spec_token(root, &w.trust, e) < 0) {
        warm_spec_fini(&w);
        return -1;
    }
    *out = w;
    return 0;
}

void warm_spec_fini(struct warm_spec *w)
{
    spec_fini(&w->trust);
}

/* --- judgement --- */

static int activation_refuse(struct err *e, const char *why)
{
    return err_set(e, ERR_INPUT, "activation: %s", why);
}

static int activation_fits(const struct warm_spec *w,
                           const uint8_t pool_key[SESSION_KEY_BYTES],
                           const struct activation *a, struct err *e)
{
    if (strcmp(a->spec.sid, a->claims.sid) != 0)
        return activation_refuse(e, "the spec is of another session");
    if (strcmp(a->spec.token_iss, w->trust.token_iss) != 0 ||
        strcmp(a->spec.token_aud, w->trust.token_aud) != 0)
        return activation_refuse(e, "the spec is of another installation");
    if (strcmp(a->spec.psk_id, w->psk_id) == 0 ||
        same_bytes(a->claims.key, pool_key, SESSION_KEY_BYTES))
        return activation_refuse(e, "the session's key is the pool's");
    return 0;
}

int activation_read(const struct warm_spec *w,
                    const uint8_t pool_key[SESSION_KEY_BYTES], const char *uid,
                    const void *token, size_t len, int64_t now_s,
                    struct activation *out, struct err *e)
{
    const struct agent_spec *trust = &w->trust;
    struct activation a = {0};

    if (activate_token_verify(trust->token_keys, token, len, trust->token_iss,
                              uid, now_s, trust->token_skew_s, &a.claims,
                              e) < 0)
        return -1;
    if (spec_of(a.claims.spec, &a.spec, e) < 0 ||
        activation_fits(w, pool_key, &a, e) < 0) {
        activation_fini(&a);
        return -1;
    }
    sha256(token, len, a.digest);
    *out = a;
    wipe(a.claims.key, sizeof(a.claims.key));
    return 0;
}

void activation_fini(struct activation *a)
{
    if (a->claims.spec)
        specfile_wipe(a->claims.spec);
    activate_claims_fini(&a->claims);
    spec_fini(&a->spec);
}

bool activation_is(const uint8_t digest[SHA256_BYTES], const void *token,
                   size_t len)
{
    uint8_t now[SHA256_BYTES];

    sha256(token, len, now);
    return same_bytes(now, digest, sizeof(now));
}

/* --- keeping --- */

/* What a session's agent finds as if it had begun with that spec itself. */
static int activation_fill(const struct activation *a, const struct warmfile *f,
                           struct state *s, struct err *e)
{
    struct state_head *h = s->head;

    memcpy(h->cookie, f->cookie, sizeof(h->cookie));
    h->cookie_used = f->cookie_used;
    h->restarts = 0;
    h->is_activated = 1;
    memcpy(h->activation, a->digest, sizeof(h->activation));
    memcpy(h->key, a->claims.key, sizeof(h->key));
    h->created_ms = a->spec.created_ms;
    h->cols = a->spec.cols;
    h->rows = a->spec.rows;
    h->owner_gone_mono_ms = h->active_mono_ms = loop_now_ms();
    return specfile_keep(a->claims.spec, s, e);
}

/* Beside, then renamed: a kill leaves all of it or nothing. */
int activation_keep(const struct activation *a, const struct warmfile *f,
                    const char *state_path, struct err *e)
{
    own_mem char *beside = mem_printf("%s.new", state_path);
    struct state s = {0};
    int r;

    if (unlink(beside) < 0 && errno != ENOENT)
        return err_sys(e, "%s", beside);
    r = state_open(&s, beside, (size_t)a->spec.ring_bytes, e);
    if (r == 0) {
        r = activation_fill(a, f, &s, e);
        state_close(&s);
    }
    if (r == 0 && rename(beside, state_path) < 0)
        r = err_sys(e, "%s", state_path);
    if (r < 0)
        unlink(beside);
    return r;
}
