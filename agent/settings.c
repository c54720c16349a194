#include "agent/settings.h"

#include "base/conf.h"
#include "base/log.h"

struct agent_settings settings = {
    .listen_fd = -1, .health_fd = -1, .broker_fd = -1};

#define PATH_MAX_BYTES 4096

static const struct conf_row rows[] = {
    {"spec", CONF_STR, &settings.spec, 1, PATH_MAX_BYTES, NULL, "FILE",
     "session spec, deleted once it is in the state file; or a warm spec"},
    {"key-fd", CONF_INT, &settings.key_fd, 0, 1023, "3", "fd",
     "descriptor with the 32-byte session key"},
    {"key-file", CONF_STR, &settings.key_file, 1, PATH_MAX_BYTES, NULL, "FILE",
     "the key as a file instead"},
    {"broker-fd", CONF_INT, &settings.broker_fd, 0, 1023, NULL, "fd",
     "descriptor with the keys of APIs, for the key broker"},
    {"broker-keys", CONF_STR, &settings.broker_keys, 1, PATH_MAX_BYTES, NULL,
     "DIR", "a directory with a file for each API's key instead"},
    {"state-file", CONF_STR, &settings.state_file, 1, PATH_MAX_BYTES, NULL,
     "FILE", "all that outlives this process"},
    {"ipc-dir", CONF_STR, &settings.ipc_dir, 1, PATH_MAX_BYTES, NULL, "DIR",
     "socket and cookie for the shim"},
    {"bundle-dir", CONF_STR, &settings.bundle_dir, 1, PATH_MAX_BYTES, NULL,
     "DIR", "where the bundle is unpacked"},
    {"tmp-dir", CONF_STR, &settings.tmp_dir, 1, PATH_MAX_BYTES, NULL, "DIR",
     "the archive while it is fetched"},
    {"cache-dir", CONF_STR, &settings.cache_dir, 1, PATH_MAX_BYTES, NULL, "DIR",
     "verified archives are kept here; none by default"},
    {"cached", CONF_STR, &settings.cached, 1, PATH_MAX_BYTES, NULL, "FILE",
     "looked at before the archive is fetched, instead of a cache"},
    {"keep", CONF_STR, &settings.keep, 1, PATH_MAX_BYTES, NULL, "FILE",
     "name a fetched and verified archive is left under"},
    {"report", CONF_STR, &settings.report, 1, PATH_MAX_BYTES, NULL, "FILE",
     "how the session ended; written in place"},
    {"status", CONF_STR, &settings.status, 1, PATH_MAX_BYTES, NULL, "FILE",
     "readiness and address; none by default"},
    {"listen", CONF_STR, &settings.listen, 1, 128, "127.0.0.1:0", "HOST:PORT",
     "the agent's port (TLS with the session key)"},
    {"health-listen", CONF_STR, &settings.health_listen, 1, 128, NULL,
     "HOST:PORT", "the health port; none by default"},
    {"ready-listen", CONF_STR, &settings.ready_listen, 1, 128, NULL,
     "HOST:PORT", "a port that is open once the program has started"},
    {"shim", CONF_STR, &settings.shim, 1, PATH_MAX_BYTES, NULL, "FILE",
     "is copied into the ipc directory, where a runner's container finds it"},
    {"runner-uid", CONF_INT, &settings.runner_uid, 0, 4294967294, "0", "uid",
     "user the shim runs as"},
    {"pod-uid", CONF_STR, &settings.pod_uid, 1, 64, NULL, "UID",
     "this pod; whom an activation of a warm agent must be for"},
    {"derive-key", CONF_BOOL, &settings.derive_key, 0, 0, NULL, "",
     "only derive this pod's pool key: with the next two and --pod-uid"},
    {"pool-secret-file", CONF_STR, &settings.pool_secret_file, 1,
     PATH_MAX_BYTES, NULL, "FILE", "the pool's secret"},
    {"out", CONF_STR, &settings.out, 1, PATH_MAX_BYTES, NULL, "FILE",
     "where the derived key goes"},
    {"log-level", CONF_STR, &settings.log_level, 1, 64, "info", "LEVEL",
     "debug, info, warn or error"},
    {"main", CONF_BOOL, &settings.is_main, 0, 0, NULL, "",
     "be the main process (the supervisor says so)"},
    {"listen-fd", CONF_INT, &settings.listen_fd, 0, 1023, NULL, "fd",
     "the supervisor's listening socket"},
    {"health-fd", CONF_INT, &settings.health_fd, 0, 1023, NULL, "fd",
     "the supervisor's health socket"},
};

static int settings_need(const char *value, const char *flag, struct err *e)
{
    if (!value)
        return err_set(e, ERR_INPUT, "%s is needed (see --help)", flag);
    return 0;
}

int settings_load(int argc, char **argv, struct err *e)
{
    int r = conf_load(rows, sizeof(rows) / sizeof(rows[0]), "podterm-agent",
                      "fetches, verifies and runs one session's program", argc,
                      argv, NULL, e);

    if (r != 0)
        return r;
    if (settings.derive_key)
        return settings_need(settings.pool_secret_file, "--pool-secret-file",
                             e) < 0 ||
                       settings_need(settings.pod_uid, "--pod-uid", e) < 0 ||
                       settings_need(settings.out, "--out", e) < 0
                   ? -1
                   : 0;
    if (settings_need(settings.spec, "--spec", e) < 0 ||
        settings_need(settings.state_file, "--state-file", e) < 0 ||
        settings_need(settings.ipc_dir, "--ipc-dir", e) < 0 ||
        settings_need(settings.bundle_dir, "--bundle-dir", e) < 0 ||
        settings_need(settings.tmp_dir, "--tmp-dir", e) < 0 ||
        settings_need(settings.report, "--report", e) < 0)
        return -1;
    if (settings.is_main && settings.listen_fd < 0)
        return err_set(e, ERR_INPUT, "--main needs --listen-fd");
    if (log_init("agent", settings.log_level) < 0)
        return err_set(e, ERR_INPUT,
                       "--log-level: \"%.20s\" is none of debug, info, warn, "
                       "error",
                       settings.log_level);
    return 0;
}
