/*
 * The controller's settings: one table makes flags, environment names,
 * defaults and help; what must fit together is checked here before anything
 * starts. Read-only after settings_load.
 */
#ifndef PODTERM_CONTROLLER_SETTINGS_H
#define PODTERM_CONTROLLER_SETTINGS_H

#include "base/addr.h"
#include "base/err.h"
#include "base/json.h"
#include "base/seal.h"
#include "base/url.h"
#include "base/vocab.h"

#include <stdbool.h>
#include <stdint.h>

#define SETTINGS_SIGNING_KEYS_MAX 8
#define SETTINGS_DEV_ISSUER "urn:podterm:dev" /* iss of /dev/token's tokens */

struct settings {
    /* as given */
    const char *listen, *metrics_listen, *state_dir, *store, *attach_url;
    const char *keys_dir;
    const char *redis_user, *redis_password_file, *redis_ca;
    const char *installation, *issuer;
    const char *oidc_issuer, *oidc_audience, *oidc_jwks_url, *oidc_ca;
    bool dev_issuer;
    const char *web_dir, *web_bundle, *web_bundle_sha256;
    int64_t web_max_files, web_max_bytes, web_max_name;
    const char *tls_cert, *tls_key;
    const char *trusted_proxies, *cors_origins, *hosts;
    int64_t proxy_hops, conns_per_address;
    const char *bundle_domains, *bundle_file_root, *deny_cidrs;
    const char *program_domains, *program_allow_cidrs;
    const char *broker, *broker_upstream, *broker_allow_cidrs;
    int64_t broker_requests, broker_bytes, broker_per_minute;
    const char *signing_keys, *public_cache_hosts;
    bool bundle_http, program_http;
    int64_t bundle_max_bytes, bundle_max_s, bundle_min_bytes_s;
    int64_t bundle_max_redirects;
    int64_t unpack_max_entries, unpack_max_bytes, unpack_max_ratio;
    int64_t unpack_max_depth, unpack_max_name;
    int64_t quota, lifetime_s, lifetime_max_s, idle_s, start_timeout_s;
    int64_t linger_s, linger_detached_s, hold_s, attach_max_s, keep_s;
    int64_t ring_bytes, window_bytes, input_window_bytes;
    const char *isolation, *egress, *keeper, *agent, *shim, *cache_dir;
    const char *launcher, *kubeconfig, *namespace, *job_template;
    const char *agent_image, *runner_image, *runner_images;
    const char *lease, *lease_namespace, *lease_holder;
    const char *warm_by, *pool_secret_file;
    int64_t warm_target, warm_max_age_s;
    int64_t uid_first, uid_count;
    int64_t nproc, nofile, data_bytes, fsize_bytes, cpu_s;
    int64_t workers, life_fd;
    const char *log_level;

    /* made of it */
    struct url_policy bundles;
    struct domain_list public_hosts; /* public_cache_hosts */
    struct cidr_list proxies;
    struct { /* of the key broker: NULL = none, the API's own */
        const char *key_file, *upstream;
    } apis[BROKER_API_COUNT];
    bool is_strict, is_kube;
    bool is_keda; /* who makes warm runners */
    uint8_t pool_secret[SEAL_KEY_BYTES];
};

/*
 * Read argv and environment and check them.
 *
 * returns  the settings (static storage); NULL with *e->kind ERR_NONE when
 *          --help or --version was printed; NULL with *e otherwise
 */
const struct settings *settings_load(int argc, char **argv, struct err *e);

/* "STATE/keys/seal": a path below the state directory, the caller's. */
char *settings_path(const struct settings *s, const char *below);

#define SETTINGS_SLACK_S 60 /* beyond every limit: the backstop */
/* The longest that a session of this lifetime may take, in seconds from its
 * creation to the last of it. */
int64_t settings_longest_s(const struct settings *s, int64_t lifetime_s);

/* May a request ask for this image? */
bool settings_allows_image(const struct settings *s, const char *image);

/* How far programs reach. What holds: without isolation they share the host's
 * network, whatever was asked for. */
enum egress_mode settings_egress(const struct settings *s,
                                 const char *isolation);

/* Has such a session a key broker? Only where its network is its own. */
bool settings_has_broker(const struct settings *s, const char *isolation);

/* Members `fetch`, `unpack`, `sandbox`, `network`, times and sizes of a
 * session's spec, added to the object `spec` (PROTOCOL.md 6). */
void settings_to_spec(const struct settings *s, const char *isolation,
                      struct json *spec);

/* "a,b" as an array of strings in JSON; empty pieces are left out. */
struct json *settings_list(const char *text);

#endif
