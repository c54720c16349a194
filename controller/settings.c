#include "controller/settings.h"

#include "base/conf.h"
#include "base/mem.h"
#include "base/minisign.h"
#include "base/own.h"
#include "controller/settings_internal.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct settings set;

#define TEXT(name, slot, value, unit, help)                                    \
    {                                                                          \
        name, CONF_STR, &set.slot, 0, 4096, value, unit, help                  \
    }
#define NAME(name, slot, value, unit, help) /* not empty */                    \
    {                                                                          \
        name, CONF_STR, &set.slot, 1, 4096, value, unit, help                  \
    }
#define NUMBER(name, slot, min, max, value, unit, help)                        \
    {                                                                          \
        name, CONF_INT, &set.slot, min, max, value, unit, help                 \
    }
#define FLAG(name, slot, help)                                                 \
    {                                                                          \
        name, CONF_BOOL, &set.slot, 0, 0, NULL, "", help                       \
    }

static const struct conf_row rows[] = {
    NAME("listen", listen, "127.0.0.1:8080", "host:port",
         "where the REST API listens"),
    NAME("metrics-listen", metrics_listen, NULL, "host:port",
         "serve /readyz and /metrics here instead; without it /metrics is "
         "for this machine alone, and without TLS"),
    NAME("state-dir", state_dir, "state", "directory",
         "keys, store and sessions"),
    NAME("keys-dir", keys_dir, NULL, "directory",
         "take the keys from here and make none: a secret that several "
         "controllers share"),
    NAME("store", store, NULL, "file|URL",
         "SQLite store (default: podterm.db in the state directory), or "
         "redis://HOST:PORT[/DB], rediss:// with TLS"),
    NAME("redis-user", redis_user, NULL, "",
         "user of that Redis (default: its default user)"),
    NAME("redis-password-file", redis_password_file, NULL, "file",
         "the user's password; read again for each connection"),
    NAME("redis-ca", redis_ca, NULL, "file",
         "certificates to trust for rediss:// instead of the system's"),
    NAME("attach-url", attach_url, NULL, "URL",
         "the gateway's address for clients: wss://HOST/v1/attach"),
    NAME("installation", installation, "podterm", "",
         "name of this installation: audience of session tokens"),
    NAME("issuer", issuer, "podterm-controller", "",
         "issuer of session tokens"),
    NAME("oidc-issuer", oidc_issuer, NULL, "URL", "issuer of identity tokens"),
    NAME("oidc-audience", oidc_audience, NULL, "",
         "audience of identity tokens"),
    NAME("oidc-jwks-url", oidc_jwks_url, NULL, "URL",
         "the issuer's key set (https; http on loopback)"),
    NAME("oidc-ca", oidc_ca, NULL, "file",
         "certificates to trust for the key set instead of the system's"),
    FLAG("dev-issuer", dev_issuer,
         "serve /dev/token instead of OIDC; loopback listeners only"),
    TEXT("web-dir", web_dir, "", "directory",
         "the web terminal's page as built, read once at the start (empty: "
         "no page)"),
    NUMBER("web-max-files", web_max_files, 1, 65536, "512", "files",
           "in it, compressed copies counted"),
    NUMBER("web-max-bytes", web_max_bytes, 1, 1 << 30, "16777216", "bytes",
           "of all of them together, held in memory"),
    NUMBER("web-max-name", web_max_name, 12, 1024, "128", "bytes",
           "a path in it"),
    NAME("web-bundle", web_bundle, NULL, "URL",
         "the bundle that the page offers to start"),
    NAME("web-bundle-sha256", web_bundle_sha256, NULL, "",
         "its digest, 64 hex digits"),
    NAME("tls-cert", tls_cert, NULL, "file", "certificate chain, PEM"),
    NAME("tls-key", tls_key, NULL, "file", "its private key, PEM"),
    TEXT("trusted-proxies", trusted_proxies, "", "CIDRs",
         "peers whose X-Forwarded-For is believed"),
    NUMBER("proxy-hops", proxy_hops, 1, 16, "1", "",
           "which entry of X-Forwarded-For counts, from the right"),
    NUMBER("conns-per-address", conns_per_address, 0, 1000000, "128",
           "connections",
           "one client address (IPv6: /64) may hold at once (0 = no limit)"),
    TEXT("cors-origins", cors_origins, "", "origins",
         "pages of other origins that may call the API"),
    TEXT("hosts", hosts, "", "host[:port],...",
         "names this server answers to (empty: any, unless --dev-issuer)"),
    TEXT("bundle-domains", bundle_domains, "", "domains",
         "hosts bundles may come from: example.com, *.example.com"),
    FLAG("bundle-http", bundle_http,
         "allow http, and bundles from localhost, 127.0.0.1 and [::1]"),
    NAME("bundle-file-root", bundle_file_root, NULL, "directory",
         "allow file: bundles below this directory"),
    TEXT("deny-cidrs", deny_cidrs, "", "CIDRs",
         "addresses no bundle may come from, beside the private ones"),
    NUMBER("bundle-max-bytes", bundle_max_bytes, 1, INT64_C(1) << 36,
           "1073741824", "bytes", "largest archive"),
    NUMBER("bundle-max-s", bundle_max_s, 1, 86400, "600", "s", "longest fetch"),
    NUMBER("bundle-min-bytes-s", bundle_min_bytes_s, 0, 1 << 30, "1024",
           "bytes/s", "slower fetches are given up"),
    NUMBER("bundle-max-redirects", bundle_max_redirects, 0, 20, "5", "",
           "redirects followed"),
    TEXT("signing-keys", signing_keys, "", "keys",
         "minisign public keys that may sign bundles"),
    TEXT("public-cache-hosts", public_cache_hosts, "", "domains",
         "hosts whose archives all owners share in the cache"),
    NUMBER("unpack-max-entries", unpack_max_entries, 1, 10000000, "100000", "",
           "entries of an archive"),
    NUMBER("unpack-max-bytes", unpack_max_bytes, 1, INT64_C(1) << 38,
           "4294967296", "bytes",
           "unpacked size; each entry counts 4096 beside its contents"),
    NUMBER("unpack-max-ratio", unpack_max_ratio, 1, 100000, "200", "",
           "unpacked bytes for each packed one"),
    NUMBER("unpack-max-depth", unpack_max_depth, 1, 256, "40", "",
           "directories inside each other"),
    NUMBER("unpack-max-name", unpack_max_name, 16, 4096, "1024", "bytes",
           "a path in the archive"),
    NUMBER("quota", quota, 1, 100000, "10", "sessions",
           "live sessions of one owner"),
    NUMBER("lifetime-s", lifetime_s, 1, 86400, "14400", "s",
           "a session's lifetime unless it asks for another"),
    NUMBER("lifetime-max-s", lifetime_max_s, 1, 86400, "86400", "s",
           "the longest lifetime a session may ask for"),
    NUMBER("idle-s", idle_s, 0, 86400, "1800", "s",
           "idle time after which a session ends (0 = never)"),
    NUMBER("start-timeout-s", start_timeout_s, 1, 86400, "600", "s",
           "from the request to the program's start"),
    NUMBER("linger-s", linger_s, 0, 3600, "5", "s",
           "after the end, while an owner is attached"),
    NUMBER("linger-detached-s", linger_detached_s, 0, 3600, "120", "s",
           "after the end, while no owner is"),
    NUMBER("hold-s", hold_s, 0, 86400, "300", "s",
           "unread output is kept that long for an owner who dropped"),
    NUMBER("attach-max-s", attach_max_s, 1, 86400, "3600", "s",
           "an attachment's longest life"),
    NUMBER("keep-s", keep_s, 60, INT64_C(31536000), "604800", "s",
           "records of ended sessions are kept that long"),
    NUMBER("ring-bytes", ring_bytes, 65536, 2097152, "1048576", "bytes",
           "output kept for re-attaching, a power of two"),
    NUMBER("window-bytes", window_bytes, 16384, 1572864, "262144", "bytes",
           "unacknowledged output under way"),
    NUMBER("input-window-bytes", input_window_bytes, 4096, 1048576, "65536",
           "bytes", "unacknowledged input under way"),
    NAME("isolation", isolation, "best", "strict|best|open",
         "a program's cage: whole or the session is refused, what this "
         "kernel has of it, or without filters (for debuggers)"),
    NAME("egress", egress, "none", "none|proxy|open",
         "the program's network: none, --program-domains, or all of it"),
    TEXT("program-domains", program_domains, "", "NAMES",
         "what programs may reach, with --egress proxy: a.example, "
         "*.b.example, c.example:8443 (TLS; 443 where no port is named)"),
    FLAG("program-http", program_http,
         "their plain http requests, too (port 80 where none is named)"),
    TEXT("program-allow-cidrs", program_allow_cidrs, "", "CIDRs",
         "addresses that are not public and their domains may lead to"),
    TEXT("broker", broker, "", "API=FILE,...",
         "APIs programs reach without their keys, which are in these files: "
         "anthropic, openai"),
    TEXT("broker-upstream", broker_upstream, "", "API=URL,...",
         "where these APIs are instead: a gateway of your own"),
    TEXT("broker-allow-cidrs", broker_allow_cidrs, "", "CIDRs",
         "addresses that are not public and such a gateway may have"),
    NUMBER("broker-requests", broker_requests, 1, 1000000000, "10000",
           "requests", "of one session to them"),
    NUMBER("broker-bytes", broker_bytes, 1, INT64_C(1) << 46, "1073741824",
           "bytes", "of one session to and from them"),
    NUMBER("broker-per-minute", broker_per_minute, 1, 10000, "120", "requests",
           "of one session within a minute"),
    NAME("keeper", keeper, NULL, "file", "podterm-keeper (default: beside)"),
    NAME("agent", agent, NULL, "file", "podterm-agent (default: beside)"),
    NAME("shim", shim, NULL, "file", "podterm-shim (default: beside)"),
    NAME("launcher", launcher, "local", "local|kubernetes",
         "where sessions run: on this machine, or as Jobs of a cluster"),
    NAME("kubeconfig", kubeconfig, NULL, "file",
         "the way to the Kubernetes API (default: a pod's own)"),
    NAME("namespace", namespace, "podterm-sessions", "",
         "of the sessions' Jobs"),
    NAME("job-template", job_template, "/etc/podterm/session-job.yaml", "file",
         "a session's Job, to be filled in"),
    NAME("agent-image", agent_image, NULL, "image", "of the agents"),
    NAME("runner-image", runner_image, NULL, "image",
         "of the programs, unless the request names another"),
    TEXT("runner-images", runner_images, "", "images",
         "that requests may name; one may end in /*, :* or @*"),
    TEXT("lease", lease, "podterm-controller", "",
         "by which several controllers agree on a leader (empty: this one is "
         "alone)"),
    NAME("lease-namespace", lease_namespace, NULL, "",
         "where it lies, the same for all of them (default: a pod's own, the "
         "kubeconfig's, or --namespace)"),
    NAME("lease-holder", lease_holder, NULL, "",
         "this controller's name in it (default: the host's)"),
    NUMBER("warm-target", warm_target, 0, 1000, "0", "runners",
           "that are started ahead and wait for a session"),
    NUMBER("warm-max-age-s", warm_max_age_s, 60, 86400, "3600", "s",
           "a runner waits that long, then another takes its place"),
    NAME("warm-by", warm_by, "controller", "controller|keda",
         "who makes them: KEDA is told in Redis how many are missing"),
    NAME("pool-secret-file", pool_secret_file, NULL, "file",
         "of KEDA's runners: their keys are made of it"),
    NUMBER("uid-first", uid_first, 1000, 4000000000, "210000", "",
           "first uid of the range sessions run under, as root"),
    NUMBER("uid-count", uid_count, 2, 65536, "4096", "",
           "uids in it: two a session, its agent's and its program's"),
    NUMBER("limit-nproc", nproc, 1, 1 << 20, "512", "",
           "processes (in a pod: podPidsLimit of its kubelet)"),
    NUMBER("limit-nofile", nofile, 16, 1 << 20, "1024", "",
           "descriptors of a process"),
    NUMBER("limit-data-bytes", data_bytes, 0, INT64_C(1) << 46, "4294967296",
           "bytes", "data of a process (0 = no limit)"),
    NUMBER("limit-fsize-bytes", fsize_bytes, 0, INT64_C(1) << 46, "1073741824",
           "bytes", "one file (0 = no limit)"),
    NUMBER("limit-cpu-s", cpu_s, 0, 365 * 86400, "0", "s",
           "processor time of a process (0 = no limit)"),
    NUMBER("workers", workers, 1, 64, "4", "threads",
           "for what blocks: store, disk, signing"),
    NUMBER("life-fd", life_fd, -1, 1 << 20, "-1", "descriptor",
           "pipe whose end of file ends everything (podterm dev)"),
    TEXT("log-level", log_level, "info", "debug|info|warn|error",
         "least level logged"),
};

char *settings_path(const struct settings *s, const char *below)
{
    return mem_printf("%s/%s", s->state_dir, below);
}

/* A program of ours lies beside this one unless a setting says otherwise. */
static const char *beside(const char *given, const char *name)
{
    char self[PATH_MAX];
    ssize_t n = given ? 0 : readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash;

    if (given || n <= 0)
        return given;
    self[n] = '\0';
    slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    return mem_printf("%s/%s", self, name);
}

static bool is_loopback_name(const char *host_port)
{
    struct sockaddr_storage sa;
    struct err ignored = {0};

    return strncmp(host_port, "localhost:", 10) == 0 ||
           (addr_parse(host_port, &sa, &ignored) == 0 &&
            addr_is_loopback((struct sockaddr *)&sa));
}

/* wss, or ws on loopback: SECURITY "certificates always checked". */
static int check_attach_url(const char *url, struct err *e)
{
    const char *rest = url && strncmp(url, "wss://", 6) == 0  ? url + 6
                       : url && strncmp(url, "ws://", 5) == 0 ? url + 5
                                                              : NULL;
    char host[300];
    size_t len = rest ? strcspn(rest, "/") : 0;

    if (!rest || !len || len >= sizeof host - 4 || !rest[len] ||
        strpbrk(url, "?# @;,'\""))
        return err_set(e, ERR_INPUT,
                       "--attach-url must be the gateway's address for "
                       "clients, like wss://HOST/v1/attach");
    snprintf(host, sizeof host, "%.*s", (int)len, rest);
    if (host[len - 1] != ']' && !strchr(host, ':'))
        snprintf(host + len, sizeof host - len, ":80");
    if (url[2] == ':' && !is_loopback_name(host))
        return err_set(e, ERR_INPUT,
                       "--attach-url may be ws:// on loopback only: use "
                       "wss://");
    return 0;
}

static int check_identity(struct err *e)
{
    bool is_oidc = set.oidc_issuer || set.oidc_audience || set.oidc_jwks_url;

    if (set.dev_issuer && is_oidc)
        return err_set(e, ERR_INPUT,
                       "--dev-issuer and --oidc-* exclude each other");
    if (set.dev_issuer && !is_loopback_name(set.listen))
        return err_set(e, ERR_INPUT,
                       "--dev-issuer gives an identity to whoever asks, so "
                       "--listen must be a loopback address, not %s",
                       set.listen);
    if (!set.dev_issuer &&
        !(set.oidc_issuer && set.oidc_audience && set.oidc_jwks_url))
        return err_set(e, ERR_INPUT,
                       "nobody could log in: set --oidc-issuer, "
                       "--oidc-audience and --oidc-jwks-url (or "
                       "--dev-issuer on one machine)");
    if (strcmp(set.issuer, SETTINGS_DEV_ISSUER) == 0 ||
        (set.oidc_issuer && strcmp(set.issuer, set.oidc_issuer) == 0))
        return err_set(e, ERR_INPUT,
                       "--issuer must differ from the issuer of identity "
                       "tokens");
    return 0;
}

int settings_check_choice(const char *flag, const char *value, const char *a,
                          const char *b, struct err *e)
{
    if (strcmp(value, a) != 0 && strcmp(value, b) != 0)
        return err_set(e, ERR_INPUT, "--%s must be %s or %s, not \"%s\"", flag,
                       a, b, value);
    return 0;
}

static int check_listen(const char *flag, const char *value, struct err *e)
{
    struct sockaddr_storage sa;

    return !value || addr_parse(value, &sa, e) == 0 ? 0
                                                    : err_wrap(e, "%s", flag);
}

int settings_check_list(const char *flag, const char *text,
                        int (*check_item)(const char *item, struct err *e),
                        struct err *e)
{
    own_json struct json *list = settings_list(text);

    for (size_t i = 0; i < json_count(list); i++)
        if (check_item(json_str(json_at(list, i)), e) < 0)
            return err_wrap(e, "%s", flag);
    return 0;
}

static int check_files(struct err *e)
{
    if (!set.tls_cert != !set.tls_key)
        return err_set(e, ERR_INPUT,
                       "--tls-cert and --tls-key go together: set both, or "
                       "neither");
    if (conf_file("tls-cert", set.tls_cert, false, e) < 0 ||
        conf_file("tls-key", set.tls_key, false, e) < 0 ||
        conf_file("oidc-ca", set.oidc_ca, false, e) < 0 ||
        conf_file("redis-password-file", set.redis_password_file, false, e) <
            0 ||
        conf_file("redis-ca", set.redis_ca, false, e) < 0 ||
        conf_file("keys-dir", set.keys_dir, true, e) < 0)
        return -1;
    if (set.bundle_file_root && set.bundle_file_root[0] != '/')
        return err_set(e, ERR_INPUT,
                       "--bundle-file-root must be an absolute path, not "
                       "\"%.100s\"",
                       set.bundle_file_root);
    return conf_file("bundle-file-root", set.bundle_file_root, true, e);
}

/* What the page offers must be what a request may ask for. */
static int check_web(struct err *e)
{
    const char *hex = set.web_bundle_sha256;
    struct url ignored;

    if (!set.web_bundle != !hex)
        return err_set(e, ERR_INPUT,
                       "--web-bundle and --web-bundle-sha256 go together: set "
                       "both, or neither");
    if (!hex)
        return 0;
    if (strlen(hex) != 64 || strspn(hex, "0123456789abcdef") != 64)
        return err_set(e, ERR_INPUT,
                       "--web-bundle-sha256 must be 64 lower-case hex digits "
                       "(sha256sum says them)");
    if (url_judge(&set.bundles, set.web_bundle, &ignored, e) < 0)
        return err_wrap(e, "--web-bundle");
    return 0;
}

static int check_isolation(struct err *e)
{
    if (cage_mode_of(set.isolation) < 0)
        return err_set(e, ERR_INPUT,
                       "--isolation must be strict, best or open, not \"%s\"",
                       set.isolation);
    return 0;
}

static int check(struct err *e)
{
    if (check_listen("--listen", set.listen, e) < 0 ||
        check_listen("--metrics-listen", set.metrics_listen, e) < 0 ||
        settings_check_list("--hosts", set.hosts, url_check_host, e) < 0 ||
        settings_check_list("--cors-origins", set.cors_origins,
                            url_check_origin, e) < 0 ||
        check_attach_url(set.attach_url, e) < 0 || check_identity(e) < 0 ||
        check_files(e) < 0 || settings_check_kube(&set, e) < 0)
        return -1;
    if (check_isolation(e) < 0 || settings_check_network(&set, e) < 0 ||
        settings_check_broker(&set, e) < 0)
        return -1;
    if (set.lifetime_s > set.lifetime_max_s)
        return err_set(e, ERR_INPUT,
                       "--lifetime-s %lld is above --lifetime-max-s %lld: "
                       "lower the one or raise the other",
                       (long long)set.lifetime_s,
                       (long long)set.lifetime_max_s);
    if (set.ring_bytes & (set.ring_bytes - 1))
        return err_set(e, ERR_INPUT,
                       "--ring-bytes must be a power of two, not %lld",
                       (long long)set.ring_bytes);
    if (set.window_bytes > set.ring_bytes / 2)
        return err_set(e, ERR_INPUT,
                       "--window-bytes may be at most half of --ring-bytes");
    return 0;
}

/* Paths go to processes with another working directory. */
static int make_absolute(struct err *e)
{
    char here[PATH_MAX];

    if (set.state_dir[0] == '/')
        return 0;
    if (!getcwd(here, sizeof here))
        return err_sys(e, "working directory");
    set.state_dir = mem_printf("%s/%s", here, set.state_dir);
    return 0;
}

static int check_signing_keys(struct err *e)
{
    own_json struct json *list = settings_list(set.signing_keys);
    struct minisign_key ignored;

    if (json_count(list) > SETTINGS_SIGNING_KEYS_MAX)
        return err_set(e, ERR_INPUT, "--signing-keys: at most %d keys",
                       SETTINGS_SIGNING_KEYS_MAX);
    for (size_t i = 0; i < json_count(list); i++)
        if (minisign_key_parse(json_str(json_at(list, i)), &ignored, e) < 0)
            return err_wrap(e, "--signing-keys: key %zu", i + 1);
    return 0;
}

static int derive(struct err *e)
{
    if (make_absolute(e) < 0 || check_signing_keys(e) < 0)
        return -1;
    if (!set.store)
        set.store = settings_path(&set, "podterm.db");
    set.keeper = beside(set.keeper, "podterm-keeper");
    set.agent = beside(set.agent, "podterm-agent");
    set.shim = beside(set.shim, "podterm-shim");
    set.is_strict = strcmp(set.isolation, "strict") == 0;
    set.is_kube = strcmp(set.launcher, "kubernetes") == 0;
    set.bundles.allow_http = set.bundle_http;
    set.bundles.file_root = set.bundle_file_root;
    if (domain_list_parse(set.bundle_domains, &set.bundles.domains, e) < 0)
        return err_wrap(e, "--bundle-domains");
    if (check_web(e) < 0)
        return -1;
    if (domain_list_parse(set.public_cache_hosts, &set.public_hosts, e) < 0)
        return err_wrap(e, "--public-cache-hosts");
    if (cidr_list_parse(set.trusted_proxies, &set.proxies, e) < 0)
        return err_wrap(e, "--trusted-proxies");
    struct cidr_list denied = {0}; /* the agent's; judged here for form */
    if (cidr_list_parse(set.deny_cidrs, &denied, e) < 0)
        return err_wrap(e, "--deny-cidrs");
    cidr_list_fini(&denied);
    return 0;
}

const struct settings *settings_load(int argc, char **argv, struct err *e)
{
    int got = conf_load(rows, sizeof rows / sizeof *rows, "podterm-controller",
                        "REST API: makes, lists and ends terminal sessions",
                        argc, argv, NULL, e);

    if (got == 1)
        e->kind = ERR_NONE;
    if (got != 0 || check(e) < 0 || derive(e) < 0)
        return NULL;
    return &set;
}

struct json *settings_list(const char *text)
{
    struct json *list = json_array();

    for (const char *at = text; at && *at;) {
        size_t len = strcspn(at, ",");

        if (len)
            json_set_strn(list, NULL, at, len);
        at += len + (at[len] == ',');
    }
    return list;
}

static void fetch_to_spec(const struct settings *s, struct json *spec)
{
    struct json *f = json_set(spec, "fetch", json_object());

    json_set_str(f, "domains", s->bundle_domains);
    json_set_bool(f, "allow_http", s->bundle_http);
    json_set_bool(f, "allow_loopback", s->bundle_http);
    json_set_str(f, "file_root",
                 s->bundle_file_root ? s->bundle_file_root : "");
    json_set_str(f, "deny_cidrs", s->deny_cidrs);
    json_set_int(f, "max_bytes", s->bundle_max_bytes);
    json_set_int(f, "max_s", s->bundle_max_s);
    json_set_int(f, "min_bytes_s", s->bundle_min_bytes_s);
    json_set_int(f, "max_redirects", s->bundle_max_redirects);
    json_set_str(f, "public_cache_hosts", s->public_cache_hosts);
    json_set(f, "signing_keys", settings_list(s->signing_keys));
}

int64_t settings_longest_s(const struct settings *s, int64_t lifetime_s)
{
    return s->start_timeout_s + lifetime_s + s->linger_s +
           s->linger_detached_s + SETTINGS_SLACK_S;
}

/* A name, or check_image's; "host:*" means no image at "host:5000/". */
static bool is_like(const char *pattern, const char *text)
{
    const size_t len = strcspn(pattern, "*");

    if (!pattern[len])
        return strcmp(pattern, text) == 0;
    return strncmp(pattern, text, len) == 0 &&
           (pattern[len - 1] == '/' || !strchr(text + len, '/'));
}

bool settings_allows_image(const struct settings *s, const char *image)
{
    own_json struct json *list = settings_list(s->runner_images);

    if (strcmp(image, s->runner_image) == 0)
        return true;
    for (size_t i = 0; i < json_count(list); i++)
        if (is_like(json_str(json_at(list, i)), image))
            return true;
    return false;
}

void settings_to_spec(const struct settings *s, const char *isolation,
                      struct json *spec)
{
    struct json *u, *l;

    json_set_int(spec, "linger_s", s->linger_s);
    json_set_int(spec, "linger_detached_s", s->linger_detached_s);
    json_set_int(spec, "hold_s", s->hold_s);
    json_set_int(spec, "attach_max_s", s->attach_max_s);
    json_set_int(spec, "ring_bytes", s->ring_bytes);
    json_set_int(spec, "window_bytes", s->window_bytes);
    json_set_int(spec, "input_window_bytes", s->input_window_bytes);
    fetch_to_spec(s, spec);
    u = json_set(spec, "unpack", json_object());
    json_set_int(u, "max_entries", s->unpack_max_entries);
    json_set_int(u, "max_bytes", s->unpack_max_bytes);
    json_set_int(u, "max_ratio", s->unpack_max_ratio);
    json_set_int(u, "max_depth", s->unpack_max_depth);
    json_set_int(u, "max_name", s->unpack_max_name);
    u = json_set(spec, "sandbox", json_object());
    json_set_int(u, "v", 2);
    json_set_str(u, "isolation", isolation);
    json_set_str(u, "cage", s->isolation);
    l = json_set(u, "limits", json_object());
    /* a pod's is counted over all of the node's sessions, one of which could
     * take it from the others: there the kubelet bounds each (podPidsLimit) */
    json_set_int(l, "nproc", s->is_kube ? 0 : s->nproc);
    json_set_int(l, "nofile", s->nofile);
    json_set_int(l, "data_bytes", s->data_bytes);
    json_set_int(l, "fsize_bytes", s->fsize_bytes);
    json_set_int(l, "cpu_s", s->cpu_s);
    settings_network_to_spec(s, isolation, spec);
}
