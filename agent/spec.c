#include "agent/spec.h"

#include "agent/broker_main.h"
#include "agent/proxy_main.h"
#include "base/frame.h"
#include "base/mem.h"
#include "base/seal.h"

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_S 86400
#define GIB (INT64_C(1) << 30)

/* A whole number: where it stands, where it goes, its limits. */
struct spec_number {
    const char *name;
    size_t at; /* offset in struct agent_spec */
    int64_t min, max;
};

#define AT(member) offsetof(struct agent_spec, member)
static const struct spec_number root_numbers[] = {
    {"created_ms", AT(created_ms), 0, INT64_C(1) << 52},
    {"lifetime_s", AT(lifetime_s), 1, DAY_S},
    {"idle_s", AT(idle_s), 0, DAY_S},
    {"linger_s", AT(linger_s), 0, 3600},
    {"linger_detached_s", AT(linger_detached_s), 0, 3600},
    {"hold_s", AT(hold_s), 0, DAY_S},
    {"attach_max_s", AT(attach_max_s), 1, DAY_S},
    {"ring_bytes", AT(ring_bytes), 65536, 64 << 20},
    {"window_bytes", AT(window_bytes), 4096, 32 << 20},
    {"input_window_bytes", AT(input_window_bytes), 4096, 1 << 20},
};
static const struct spec_number fetch_numbers[] = {
    {"max_bytes", AT(fetch.max_bytes), 1, 64 * GIB},
    {"max_s", AT(fetch.max_s), 1, DAY_S},
    {"min_bytes_s", AT(fetch.min_bytes_s), 0, GIB},
    {"max_redirects", AT(fetch.max_redirects), 0, 20},
};
static const struct spec_number unpack_numbers[] = {
    {"max_entries", AT(unpack.max_entries), 1, 10000000},
    {"max_bytes", AT(unpack.max_bytes), 1, 256 * GIB},
    {"max_ratio", AT(unpack.max_ratio), 1, 1000000},
    {"max_depth", AT(unpack.max_depth), 1, 256},
    {"max_name", AT(unpack.max_name), 1, 4096},
};
static const struct spec_number limit_numbers[] = {
    {"nproc", AT(limits.nproc), 0, 1 << 20},
    {"nofile", AT(limits.nofile), 0, 1 << 20},
    {"data_bytes", AT(limits.data_bytes), 0, INT64_C(1) << 46},
    {"fsize_bytes", AT(limits.fsize_bytes), 0, INT64_C(1) << 46},
    {"cpu_s", AT(limits.cpu_s), 0, 365 * DAY_S},
};
#undef AT
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int spec_bad(struct err *e, const char *where, const char *name,
                    const char *want)
{
    return err_set(e, ERR_INPUT, "spec: %s%s%s must be %s", where,
                   where[0] ? "." : "", name, want);
}

static int spec_numbers(const struct json *j, const char *where,
                        const struct spec_number *rows, size_t count,
                        struct agent_spec *s, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        int64_t v;

        if (json_get_int(j, rows[i].name, &v) < 0 || v < rows[i].min ||
            v > rows[i].max) {
            char want[80];

            snprintf(want, sizeof(want), "a whole number from %lld to %lld",
                     (long long)rows[i].min, (long long)rows[i].max);
            return spec_bad(e, where, rows[i].name, want);
        }
        memcpy((char *)s + rows[i].at, &v, sizeof(v));
    }
    return 0;
}

/* A string of 1 (or 0, if may_be_empty) to size - 1 bytes. */
static int spec_str(const struct json *j, const char *where, const char *name,
                    char *out, size_t size, bool may_be_empty, struct err *e)
{
    const char *v = json_get_str(j, name);

    if (!v || strlen(v) >= size || (!v[0] && !may_be_empty)) {
        char want[64];

        snprintf(want, sizeof(want), "a string of at most %zu bytes", size - 1);
        return spec_bad(e, where, name, want);
    }
    snprintf(out, size, "%s", v);
    return 0;
}

static int spec_version(const struct json *j, const char *where, int version,
                        struct err *e)
{
    char want[48];
    int64_t v;

    if (json_get_int(j, "v", &v) == 0 && v == version)
        return 0;
    snprintf(want, sizeof(want), "%d: this agent knows no other", version);
    return spec_bad(e, where, "v", want);
}

static int spec_owner(const struct json *root, struct agent_spec *s,
                      struct err *e)
{
    static const char *const names[] = {"iss", "sub", NULL};
    const struct json *j = json_get(root, "owner");

    if (json_only(j, names, e) < 0)
        return err_wrap(e, "spec: owner");
    if (spec_str(j, "owner", "iss", s->owner_iss, TOKEN_STR_MAX, false, e) < 0)
        return -1;
    return spec_str(j, "owner", "sub", s->owner_sub, TOKEN_STR_MAX, false, e);
}

static int spec_viewers(const struct json *root, struct agent_spec *s,
                        struct err *e)
{
    const struct json *j = json_get(root, "viewers");

    if (json_get_bool(root, "viewer_history", &s->viewer_history) < 0)
        return spec_bad(e, "", "viewer_history", "true or false");
    if (!j)
        return 0;
    if (!json_is_array(j) || json_count(j) > FRAME_VIEWERS_MAX)
        return spec_bad(e, "", "viewers", "a list of at most 8 subjects");
    for (size_t i = 0; i < json_count(j); i++) {
        const char *sub = json_str(json_at(j, i));

        if (!sub || !sub[0] || strlen(sub) >= FRAME_SUBJECT_SIZE)
            return spec_bad(e, "", "viewers", "subjects of 1 to 255 bytes");
        snprintf(s->viewers.subjects[s->viewers.count++], FRAME_SUBJECT_SIZE,
                 "%s", sub);
    }
    return 0;
}

static bool spec_is_sha256(const char *hex)
{
    return strlen(hex) == 64 && strspn(hex, "0123456789abcdef") == 64;
}

/* A text that a message can quote without growing: printable ASCII. */
static bool spec_is_plain(const char *text)
{
    for (; *text; text++)
        if (*text < 0x21 || *text > 0x7e)
            return false;
    return true;
}

static int spec_bundle(const struct json *root, struct agent_spec *s,
                       struct err *e)
{
    static const char *const names[] = {"url", "sha256", "size", "signature",
                                        NULL};
    const struct json *j = json_get(root, "bundle");
    const char *sig = json_get_str(j, "signature");

    if (json_only(j, names, e) < 0)
        return err_wrap(e, "spec: bundle");
    if (spec_str(j, "bundle", "url", s->bundle_url, URL_MAX, false, e) < 0 ||
        spec_str(j, "bundle", "sha256", s->bundle_sha256, 65, false, e) < 0)
        return -1;
    if (!spec_is_plain(s->bundle_url))
        return spec_bad(e, "bundle", "url", "printable ASCII");
    if (!spec_is_sha256(s->bundle_sha256))
        return spec_bad(e, "bundle", "sha256", "64 lower-case hex digits");
    if (json_get(j, "size") &&
        (json_get_int(j, "size", &s->bundle_size) < 0 || s->bundle_size < 0))
        return spec_bad(e, "bundle", "size", "a number of bytes");
    if (json_get(j, "signature") && (!sig || strlen(sig) > MINISIGN_TEXT_MAX))
        return spec_bad(e, "bundle", "signature", "a minisign signature");
    if (sig && sig[0])
        s->bundle_signature = mem_str(sig);
    return 0;
}

static int spec_command(const struct json *root, struct agent_spec *s,
                        struct err *e)
{
    const struct json *j = json_get(root, "command");
    size_t n = json_count(j);

    if (!j)
        return 0;
    if (!json_is_array(j) || n < 1 || n > SPEC_ARGS_MAX)
        return spec_bad(e, "", "command", "a list of 1 to 256 strings");
    s->command = mem_zero(n + 1, sizeof(*s->command));
    for (size_t i = 0; i < n; i++) {
        const char *arg = json_str(json_at(j, i));

        if (!arg || strlen(arg) > SPEC_ARG_BYTES_MAX || (i == 0 && !arg[0]))
            return spec_bad(e, "", "command",
                            "strings of at most 4096 bytes, "
                            "the first not empty");
        s->command[i] = mem_str(arg);
    }
    return 0;
}

static bool spec_is_env_name(const char *name)
{
    if (!name[0] || isdigit((unsigned char)name[0]))
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && *name != '_')
            return false;
    return true;
}

/* "NAME=value" in one piece of memory: a printf's buffer that grows would
 * leave parts of the secret behind. */
static char *spec_env_pair(const char *name, const char *value)
{
    size_t name_len = strlen(name), value_len = strlen(value);
    char *out = mem_zero(name_len + value_len + 2, 1);

    memcpy(out, name, name_len);
    out[name_len] = '=';
    memcpy(out + name_len + 1, value, value_len);
    return out;
}

static int spec_env(const struct json *root, struct agent_spec *s,
                    struct err *e)
{
    const struct json *j = json_get(root, "env");
    size_t n = json_count(j), bytes = 0;

    s->env = mem_zero(n + 1, sizeof(*s->env));
    if (!j)
        return 0;
    if (!json_is_object(j) || n > SPEC_ENV_COUNT_MAX)
        return spec_bad(e, "", "env", "an object of at most 256 strings");
    for (size_t i = 0; i < n; i++) {
        const char *name = json_name(json_at(j, i));
        const char *value = json_str(json_at(j, i));

        /* values are secrets: the message names the name alone, cut */
        if (!value || !spec_is_env_name(name))
            return err_set(e, ERR_INPUT,
                           "spec: env: \"%.40s\" must be a name of letters, "
                           "digits and _ with a string",
                           name);
        bytes += strlen(name) + strlen(value) + 2;
        if (bytes > SPEC_ENV_BYTES_MAX)
            return spec_bad(e, "", "env", "at most 32768 bytes in all");
        s->env[i] = spec_env_pair(name, value);
    }
    return 0;
}

static int spec_size(const struct json *root, struct agent_spec *s,
                     struct err *e)
{
    int64_t cols, rows;

    if (json_get_int(root, "cols", &cols) < 0 || cols < FRAME_CELLS_MIN ||
        cols > FRAME_CELLS_MAX)
        return spec_bad(e, "", "cols", "1 to 1000");
    if (json_get_int(root, "rows", &rows) < 0 || rows < FRAME_CELLS_MIN ||
        rows > FRAME_CELLS_MAX)
        return spec_bad(e, "", "rows", "1 to 1000");
    s->cols = (uint16_t)cols;
    s->rows = (uint16_t)rows;
    return 0;
}

int spec_token(const struct json *root, struct agent_spec *s, struct err *e)
{
    static const char *const names[] = {"iss", "aud", "skew_s", "jwks", NULL};
    const struct json *j = json_get(root, "token");

    if (json_only(j, names, e) < 0)
        return err_wrap(e, "spec: token");
    if (spec_str(j, "token", "iss", s->token_iss, TOKEN_STR_MAX, false, e) <
            0 ||
        spec_str(j, "token", "aud", s->token_aud, TOKEN_STR_MAX, false, e) < 0)
        return -1;
    if (json_get_int(j, "skew_s", &s->token_skew_s) < 0 ||
        s->token_skew_s < 0 || s->token_skew_s > TOKEN_SKEW_S)
        return spec_bad(e, "token", "skew_s", "0 to 30");
    s->token_keys = token_keys_of(json_get(j, "jwks"), e);
    return s->token_keys ? 0 : err_wrap(e, "spec: token.jwks");
}

static int spec_signing_keys(const struct json *fetch, struct spec_fetch *f,
                             struct err *e)
{
    const struct json *j = json_get(fetch, "signing_keys");

    /* one that is missing must not mean that none is needed */
    if (!json_is_array(j) || json_count(j) > SPEC_KEYS_MAX)
        return spec_bad(e, "fetch", "signing_keys", "a list of at most 8");
    for (size_t i = 0; i < json_count(j); i++) {
        const char *text = json_str(json_at(j, i));

        if (!text || minisign_key_parse(text, &f->keys[i], e) < 0)
            return spec_bad(e, "fetch", "signing_keys", "minisign public keys");
        f->key_count++;
    }
    return 0;
}

static int spec_fetch_lists(const struct json *j, struct spec_fetch *f,
                            struct err *e)
{
    const char *domains = json_get_str(j, "domains");
    const char *deny = json_get_str(j, "deny_cidrs");
    const char *hosts = json_get_str(j, "public_cache_hosts");

    if (!domains || domain_list_parse(domains, &f->url.domains, e) < 0)
        return spec_bad(e, "fetch", "domains", "domains with commas between");
    if (!deny || cidr_list_parse(deny, &f->addr.deny, e) < 0)
        return spec_bad(e, "fetch", "deny_cidrs", "CIDRs with commas between");
    if (!hosts || domain_list_parse(hosts, &f->public_cache_hosts, e) < 0)
        return spec_bad(e, "fetch", "public_cache_hosts",
                        "domains with commas between");
    return 0;
}

static int spec_fetch_of(const struct json *root, struct agent_spec *s,
                         struct err *e)
{
    static const char *const names[] = {
        "domains",       "allow_http",         "allow_loopback", "file_root",
        "deny_cidrs",    "max_bytes",          "max_s",          "min_bytes_s",
        "max_redirects", "public_cache_hosts", "signing_keys",   NULL};
    const struct json *j = json_get(root, "fetch");
    const char *file_root = json_get_str(j, "file_root");

    if (json_only(j, names, e) < 0)
        return err_wrap(e, "spec: fetch");
    if (json_get_bool(j, "allow_http", &s->fetch.url.allow_http) < 0)
        return spec_bad(e, "fetch", "allow_http", "true or false");
    if (json_get_bool(j, "allow_loopback", &s->fetch.addr.allow_loopback) < 0)
        return spec_bad(e, "fetch", "allow_loopback", "true or false");
    if (!file_root || strlen(file_root) >= URL_MAX)
        return spec_bad(e, "fetch", "file_root", "a path, or empty");
    if (file_root[0])
        s->fetch.url.file_root = s->file_root = mem_str(file_root);
    if (spec_fetch_lists(j, &s->fetch, e) < 0 ||
        spec_signing_keys(j, &s->fetch, e) < 0)
        return -1;
    return spec_numbers(j, "fetch", fetch_numbers, COUNT(fetch_numbers), s, e);
}

/* One of some words, NULL-terminated, into out. */
static int spec_word(const struct json *j, const char *where, const char *name,
                     const char *const *words, char out[8], struct err *e)
{
    const char *v = json_get_str(j, name);
    char want[64] = "";

    for (; *words; words++) {
        size_t len = strlen(want);

        if (v && strcmp(v, *words) == 0) {
            snprintf(out, 8, "%s", v);
            return 0;
        }
        snprintf(want + len, sizeof(want) - len, "%s\"%s\"", len ? " or " : "",
                 *words);
    }
    return spec_bad(e, where, name, want);
}
#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static int spec_sandbox(const struct json *root, struct agent_spec *s,
                        struct err *e)
{
    static const char *const names[] = {"v", "isolation", "cage", "limits",
                                        NULL};
    static const char *const limits[] = {"nproc",       "nofile", "data_bytes",
                                         "fsize_bytes", "cpu_s",  NULL};
    const struct json *j = json_get(root, "sandbox");
    const struct json *l = json_get(j, "limits");

    if (json_only(j, names, e) < 0)
        return err_wrap(e, "spec: sandbox");
    if (json_only(l, limits, e) < 0)
        return err_wrap(e, "spec: sandbox.limits");
    if (spec_version(j, "sandbox", 2, e) < 0 ||
        spec_word(j, "sandbox", "isolation", WORDS("full", "none"),
                  s->isolation, e) < 0 ||
        spec_word(j, "sandbox", "cage", WORDS("strict", "best", "open"),
                  s->cage, e) < 0)
        return -1;
    return spec_numbers(l, "sandbox.limits", limit_numbers,
                        COUNT(limit_numbers), s, e);
}

/* Only where the program has a network of its own is the broker's port nobody
 * else's. */
static int spec_broker(const struct json *network, struct agent_spec *s,
                       struct err *e)
{
    const struct json *j = json_get(network, "broker");

    if (!j)
        return 0;
    if (json_get_is(network, "egress", "open"))
        return err_set(e, ERR_INPUT,
                       "spec: network.broker cannot be with egress \"open\"");
    if (broker_rules_check(j, s->has_api, e) < 0)
        return err_wrap(e, "spec: network.broker");
    s->broker_rules = json_text(j);
    return 0;
}

/* What its proxy lets through is there exactly where it has one. */
static int spec_network(const struct json *root, struct agent_spec *s,
                        struct err *e)
{
    static const char *const names[] = {"v",     "shared", "egress",
                                        "rules", "broker", NULL};
    const struct json *j = json_get(root, "network");
    const struct json *rules = json_get(j, "rules");
    const bool is_proxied = json_get_is(j, "egress", "proxy");
    struct proxy_rules judged;
    int r;

    if (json_only(j, names, e) < 0)
        return err_wrap(e, "spec: network");
    if (spec_version(j, "network", 2, e) < 0)
        return -1;
    if (json_get_bool(j, "shared", &s->is_network_shared) < 0)
        return spec_bad(e, "network", "shared", "true or false");
    if (s->is_network_shared && strcmp(s->cage, "open") == 0 &&
        !json_get_is(j, "egress", "open"))
        return spec_bad(e, "network", "egress",
                        "\"open\": nothing keeps the program from it");
    if (spec_broker(j, s, e) < 0)
        return -1;
    if (is_proxied != (rules != NULL))
        return err_set(e, ERR_INPUT,
                       "spec: network.rules belong to egress \"proxy\"");
    if (!is_proxied)
        return spec_word(j, "network", "egress", WORDS("none", "open"),
                         s->egress, e);
    r = proxy_rules_of(rules, &judged, e);
    proxy_rules_fini(&judged);
    if (r < 0)
        return err_wrap(e, "spec: network.rules");
    snprintf(s->egress, sizeof(s->egress), "proxy");
    s->proxy_rules = json_text(rules);
    return 0;
}

static int spec_unpack_of(const struct json *root, struct agent_spec *s,
                          struct err *e)
{
    static const char *const names[] = {"max_entries", "max_bytes", "max_ratio",
                                        "max_depth",   "max_name",  NULL};
    const struct json *j = json_get(root, "unpack");

    if (json_only(j, names, e) < 0)
        return err_wrap(e, "spec: unpack");
    return spec_numbers(j, "unpack", unpack_numbers, COUNT(unpack_numbers), s,
                        e);
}

static int spec_ids(const struct json *root, struct agent_spec *s,
                    struct err *e)
{
    if (spec_str(root, "", "sid", s->sid, ID_SIZE, false, e) < 0 ||
        spec_str(root, "", "psk_id", s->psk_id, ID_SIZE, false, e) < 0)
        return -1;
    if (!id_is_valid(s->sid) || !id_is_valid(s->psk_id))
        return err_set(e, ERR_INPUT,
                       "spec: sid and psk_id must be ids of %d "
                       "characters a-z2-7",
                       ID_LEN);
    return 0;
}

static int spec_rules(const struct agent_spec *s, struct err *e)
{
    if (s->ring_bytes & (s->ring_bytes - 1))
        return spec_bad(e, "", "ring_bytes", "a power of two");
    if (s->window_bytes > s->ring_bytes / 2)
        return spec_bad(e, "", "window_bytes", "at most half of ring_bytes");
    return 0;
}

int spec_of(const struct json *root, struct agent_spec *out, struct err *e)
{
    static const char *const names[] = {"v",
                                        "sid",
                                        "created_ms",
                                        "psk_id",
                                        "owner",
                                        "viewers",
                                        "viewer_history",
                                        "bundle",
                                        "command",
                                        "env",
                                        "cols",
                                        "rows",
                                        "lifetime_s",
                                        "idle_s",
                                        "linger_s",
                                        "linger_detached_s",
                                        "hold_s",
                                        "attach_max_s",
                                        "ring_bytes",
                                        "window_bytes",
                                        "input_window_bytes",
                                        "token",
                                        "fetch",
                                        "unpack",
                                        "sandbox",
                                        "network",
                                        NULL};
    static int (*const parts[])(const struct json *, struct agent_spec *,
                                struct err *) = {
        spec_ids,      spec_owner,     spec_viewers, spec_bundle,
        spec_command,  spec_env,       spec_size,    spec_token,
        spec_fetch_of, spec_unpack_of, spec_sandbox, spec_network};
    struct agent_spec s = {0};

    if (!json_is_object(root))
        return err_set(e, ERR_INPUT, "spec: must be an object");
    if (json_only(root, names, e) < 0 || spec_version(root, "", 1, e) < 0)
        return err_wrap(e, "spec");
    if (spec_numbers(root, "", root_numbers, COUNT(root_numbers), &s, e) < 0)
        return -1;
    for (size_t i = 0; i < COUNT(parts); i++)
        if (parts[i](root, &s, e) < 0) {
            spec_fini(&s);
            return -1;
        }
    if (spec_rules(&s, e) < 0) {
        spec_fini(&s);
        return -1;
    }
    *out = s;
    return 0;
}

int spec_parse(const char *text, size_t len, struct agent_spec *out,
               struct err *e)
{
    own_json struct json *root = json_parse(text, len, e);

    return root ? spec_of(root, out, e) : err_wrap(e, "spec");
}

static void spec_free_list(char **list, bool is_secret)
{
    for (char **p = list; p && *p; p++) {
        if (is_secret)
            wipe(*p, strlen(*p));
        free(*p);
    }
    free(list);
}

void spec_env_forget(struct agent_spec *s)
{
    spec_free_list(s->env, true);
    s->env = mem_zero(1, sizeof(*s->env));
}

void spec_fini(struct agent_spec *s)
{
    if (!s)
        return;
    spec_free_list(s->env, true);
    spec_free_list(s->command, false);
    free(s->bundle_signature);
    free(s->file_root);
    free(s->proxy_rules);
    free(s->broker_rules);
    token_keys_free(s->token_keys);
    domain_list_fini(&s->fetch.url.domains);
    domain_list_fini(&s->fetch.public_cache_hosts);
    cidr_list_fini(&s->fetch.addr.deny);
    memset(s, 0, sizeof(*s));
}
