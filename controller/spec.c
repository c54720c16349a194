#include "controller/spec.h"

#include "base/buf.h"
#include "base/cache.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/own.h"
#include "controller/jobspec.h"
#include "controller/record.h"

#include <stdio.h>
#include <string.h>

#define TRUST_BYTES_MAX 4096

char *spec_trust(const struct keys *k)
{
    const struct json *list = json_get(k->jwks, "keys");
    struct buf out;
    char *text;

    buf_init(&out, TRUST_BYTES_MAX);
    for (size_t i = 0; i < json_count(list); i++)
        buf_printf(&out, "%s\n", json_get_str(json_at(list, i), "kid"));
    text = mem_str(buf_cstr(&out));
    buf_fini(&out);
    return text;
}

uint64_t spec_charge(const char *iss, const char *sub)
{
    own_mem char *who = mem_printf("%s\n%s", iss, sub);
    uint8_t hash[SHA256_BYTES];
    uint64_t charge;

    sha256(who, strlen(who), hash);
    memcpy(&charge, hash, sizeof charge);
    return charge ? charge : 1;
}

static void add_request(struct json *spec, const struct create *c)
{
    struct json *b = json_set(spec, "bundle", json_object());

    json_set_str(b, "url", c->url);
    json_set_str(b, "sha256", c->sha256);
    if (c->size)
        json_set_int(b, "size", c->size);
    if (c->signature)
        json_set_str(b, "signature", c->signature);
    if (c->command)
        json_set(spec, "command", json_dup(c->command));
    json_set(spec, "env", c->env ? json_dup(c->env) : json_object());
    json_set_int(spec, "cols", c->cols);
    json_set_int(spec, "rows", c->rows);
    json_set_int(spec, "lifetime_s", c->lifetime_s);
    json_set_int(spec, "idle_s", c->idle_s);
}

static void add_row(struct json *spec, const struct store_session *row)
{
    struct json *o = json_set(spec, "owner", json_object());
    struct json *v = json_set(spec, "viewers", json_array());

    json_set_str(o, "iss", row->owner_iss);
    json_set_str(o, "sub", row->owner_sub);
    for (int i = 0; i < STORE_VIEWERS_MAX && row->viewers[i][0]; i++)
        json_set_str(v, NULL, row->viewers[i]);
    json_set_bool(spec, "viewer_history", row->viewer_history);
    json_set_str(spec, "psk_id", row->psk_id);
    json_set_int(spec, "created_ms", row->created_ms);
}

static void add_token(struct json *spec, const struct settings *s,
                      const struct keys *k)
{
    struct json *t = json_set(spec, "token", json_object());

    json_set_str(t, "iss", s->issuer);
    json_set_str(t, "aud", s->installation);
    json_set_int(t, "skew_s", TOKEN_SKEW_S);
    json_set(t, "jwks", json_dup(k->jwks));
}

struct launch *spec_launch(const struct settings *s, const struct keys *k,
                           const char *isolation, const struct create *c,
                           const struct store_session *row)
{
    struct launch *what = mem_zero(1, sizeof *what);
    struct json *spec = json_object();
    char owner[CACHE_OWNER_MAX];

    json_set_int(spec, "v", 1);
    json_set_str(spec, "sid", row->id);
    add_row(spec, row);
    add_request(spec, c);
    add_token(spec, s, k);
    settings_to_spec(s, isolation, spec);
    memcpy(what->sid, row->id, ID_SIZE);
    keys_session(k, row->id, what->key);
    what->spec = json_text(spec);
    what->trust = spec_trust(k);
    cache_owner(&s->public_hosts, c->url, row->owner_iss, row->owner_sub,
                owner);
    what->cache_owner = mem_str(owner);
    what->image = c->image ? mem_str(c->image) : NULL;
    if (s->is_kube)
        what->record = record_text(row, s->installation, k);
    what->deadline_s = settings_longest_s(s, c->lifetime_s);
    snprintf(what->bundle_sha256, sizeof what->bundle_sha256, "%s", c->sha256);
    what->charge = spec_charge(row->owner_iss, row->owner_sub);
    create_wipe(json_get(spec, "env"));
    json_free(spec);
    return what;
}

struct launch *spec_warm(const struct settings *s, const struct keys *k,
                         const char *id)
{
    struct launch *what = mem_zero(1, sizeof *what);
    own_json struct json *spec = json_object();
    struct json *w = json_set(spec, "warm", json_object());

    json_set_int(spec, "v", 1);
    json_set_str(w, "pool", JOBSPEC_POOL);
    json_set_str(w, "psk_id", id);
    json_set_int(w, "max_age_s", s->warm_max_age_s);
    add_token(spec, s, k);
    memcpy(what->sid, id, ID_SIZE);
    keys_pool(k, id, what->key);
    what->spec = json_text(spec);
    what->trust = spec_trust(k);
    what->image = mem_str(s->runner_image);
    what->deadline_s =
        s->warm_max_age_s + settings_longest_s(s, s->lifetime_max_s);
    return what;
}
