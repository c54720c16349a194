/*
 * The agent's settings: a table of flags and environment names. What a
 * session is about stands in its spec, not here.
 */
#ifndef PODTERM_AGENT_SETTINGS_H
#define PODTERM_AGENT_SETTINGS_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct agent_settings {
    const char *spec, *state_file, *ipc_dir, *bundle_dir, *tmp_dir;
    const char *cache_dir, *cached, *keep, *report, *status;
    const char *listen, *health_listen, *ready_listen, *log_level;
    const char *key_file, *shim, *pod_uid; /* in a pod */
    bool derive_key;                       /* instead of all else: */
    const char *pool_secret_file, *out;
    int64_t key_fd, runner_uid;
    int64_t broker_fd;       /* keys of APIs: here, -1 = none, or */
    const char *broker_keys; /* in a pod */
    /* from the supervisor to its main process */
    bool is_main;
    int64_t listen_fd, health_fd;
};

extern struct agent_settings settings;

/* As conf_load: 0; 1 help was printed; -1. */
int settings_load(int argc, char **argv, struct err *e);

#endif
