/*
 * The real keeper, shim and bubblewrap with a stand-in for the agent; as root
 * with uids of its own, else as the user who runs the tests. The test's own
 * binary is the stand-in (tests/lib/fake_agent.h).
 */
#ifndef PODTERM_TESTS_LIB_KEEPERRIG_H
#define PODTERM_TESTS_LIB_KEEPERRIG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PATIENCE_MS 8000
#define AGENT_UID 71001
#define RUNNER_UID 71002

struct keeper_rig {
    char *state, *dir; /* STATE, STATE/sid */
    bool is_root;
    pid_t pid;
    int life_fd; /* our end of the life pipe */
    int64_t start_us;
};

extern char *keeper_path, *keeper_shim_path, *keeper_self_path;

/* First in main: the binary is something else this time, with this status. */
bool keeper_role(int argc, char **argv, int *status);
/* A cmocka group's setup and teardown, and a test's: *state is a
 * struct keeper_rig with directories, nothing started. */
int keeper_group_setup(void **state);
int keeper_group_teardown(void **state);
int keeper_setup(void **state);
int keeper_teardown(void **state);

/* Start the keeper on a script; more: further flags, NULL-terminated. */
void keeper_run(struct keeper_rig *r, const char *script,
                const char *const *more);
/* It ends by itself: its exit code, 128 and more for a signal. */
int keeper_end(struct keeper_rig *r);
/* Wait until the terminal has shown it. */
void keeper_shows(struct keeper_rig *r, const char *what);
/* runner.json is this. */
void keeper_expect_runner(struct keeper_rig *r, const char *want);

/* A file of the session, the caller's; "" when there is none. */
char *keeper_read_file(struct keeper_rig *r, const char *name);
void keeper_put_file(const char *path, const char *text, uid_t uid);
/* The only child of a process. */
pid_t keeper_child_of(pid_t pid, const char *name);

/* A test: all of the binary's once more as an ordinary user, in a process of
 * its own. */
void keeper_as_ordinary_user(void);

#endif
