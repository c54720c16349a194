/*
 * Sessions of one machine are apart, as root: what runs as one session's
 * agent cannot end, read or change another's, nor the archives all share.
 * Each try is also made as who may, to show that it can succeed.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/stack.h"
#include "tests/lib/stackproc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MS 10000

static struct stack *stack;

struct seen { /* a session, as this machine sees it */
    struct stack_session ss;
    char *dir;
    pid_t main, supervisor;
    uid_t uid;
    gid_t gid;
};

static void ids_of(pid_t pid, uid_t *uid, gid_t *gid)
{
    own_mem char *path = mem_printf("/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    char line[256];

    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        sscanf(line, "Uid: %u", uid);
        sscanf(line, "Gid: %u", gid);
    }
    fclose(f);
}

static void session_start(struct seen *s, const char *who,
                          const struct stack_bundle *b)
{
    stack_create(stack, who, b, ",\"env\":{\"SECRET\":\"x\"}", &s->ss);
    json_free(stack_wait(stack, who, s->ss.sid, "running", MS));
    s->dir = mem_printf("%s/state/sessions/%s", stack->dir, s->ss.sid);
    s->main = stackproc_find(stack, s->ss.sid, PART_MAIN);
    s->supervisor = stackproc_find(stack, s->ss.sid, PART_SUPERVISOR);
    assert_true(s->main > 0 && s->supervisor > 0);
    ids_of(s->main, &s->uid, &s->gid);
}

static void session_end(struct seen *s)
{
    stack_delete(stack, s->ss.who, s->ss.sid);
    stackproc_wait_none(stack, s->ss.sid, MS);
    stack_session_fini(&s->ss);
    free(s->dir);
}

/* --- tries --- */

static bool opens(const char *dir, const char *name, int flags)
{
    char path[512];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, flags | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool connects(const char *dir)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (chdir(dir) < 0)
        return false;
    snprintf(to.sun_path, sizeof(to.sun_path), "ipc/shim.sock");
    return connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0;
}

static bool signals(const struct seen *s)
{
    return kill(s->main, 0) == 0 || kill(s->supervisor, 0) == 0;
}

/* One bit for each thing that can be done to a session. */
static int tries(const struct seen *on)
{
    int got = 0;

    got |= signals(on) << 0;
    got |= opens(on->dir, "agent/agent.state", O_RDWR) << 1;
    got |= opens(on->dir, "agent/end.json", O_WRONLY) << 2;
    got |= opens(on->dir, "agent", O_RDONLY) << 3;
    got |= opens(on->dir, "bundle", O_RDONLY) << 4;
    got |= opens(on->dir, "bundle/root/bin/prog", O_WRONLY) << 5;
    got |= connects(on->dir) << 6;
    return got;
}
#define ALL_TRIES 0x7f

/* What `as` can do to `on`. */
static int tried(const struct seen *as, const struct seen *on)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        if (setgroups(0, NULL) < 0 ||
            setresgid(as->gid, as->gid, as->gid) < 0 ||
            setresuid(as->uid, as->uid, as->uid) < 0)
            _exit(0xff);
        _exit(tries(on));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void an_agent_reaches_no_other_session(void **state)
{
    struct stack_bundle b;
    struct seen a, z;

    (void)state;
    stack_pack(stack, "apart", "sleep 1000", &b);
    session_start(&a, "ann", &b);
    session_start(&z, "zoe", &b);
    assert_int_not_equal(a.uid, z.uid);
    assert_int_not_equal(a.gid, z.gid);
    assert_int_equal(tried(&z, &z), ALL_TRIES);
    assert_int_equal(tried(&a, &z), 0);
    assert_int_equal(tried(&z, &a), 0);
    session_end(&a);
    session_end(&z);
}

/* --- archives --- */

/* The one entry of the cache, once it is there; the caller's. */
static char *cached_entry(const struct stack_bundle *b)
{
    own_mem char *pattern =
        mem_printf("%s/state/cache/*/%s", stack->dir, b->sha256);
    int64_t until = loop_now_ms() + MS;
    glob_t found;
    char *path;

    while (glob(pattern, 0, NULL, &found) != 0) {
        if (loop_now_ms() > until)
            fail_msg("nothing at %s", pattern);
        poll(NULL, 0, 2);
    }
    assert_int_equal(found.gl_pathc, 1);
    path = mem_str(found.gl_pathv[0]);
    globfree(&found);
    return path;
}

static bool is_given(const struct seen *s)
{
    own_mem char *given = mem_printf("%s/agent/cached", s->dir);

    return access(given, F_OK) == 0;
}

/* What an agent may do with what it was given: read it, and drop its name. */
static int tries_on_archive(const struct seen *s, const char *entry)
{
    own_mem char *given = mem_printf("%s/agent/cached", s->dir);
    own_mem char *other = mem_printf("%s/agent/other", s->dir);
    own_mem char *cache = mem_printf("%s/state/cache", stack->dir);
    int got = 0;

    got |= (open(given, O_RDONLY | O_CLOEXEC) >= 0) << 0;
    got |= (open(given, O_WRONLY | O_CLOEXEC) >= 0) << 1;
    got |= (chmod(given, 0666) == 0) << 2;
    got |= (truncate(given, 0) == 0) << 3;
    got |= (open(entry, O_RDONLY | O_CLOEXEC) >= 0) << 4;
    got |= (unlink(entry) == 0) << 5;
    got |= (opendir(cache) != NULL) << 6;
    got |= (rename(given, other) == 0) << 7;
    return got;
}

static int tried_on_archive(const struct seen *as, const char *entry)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        if (setgroups(0, NULL) < 0 ||
            setresgid(as->gid, as->gid, as->gid) < 0 ||
            setresuid(as->uid, as->uid, as->uid) < 0)
            _exit(0);
        _exit(tries_on_archive(as, entry));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void archives_are_shared_by_reading_alone(void **state)
{
    struct stack_bundle b;
    struct seen first, again, other;
    own_mem char *entry = NULL;
    struct stat st;

    (void)state;
    stack_pack(stack, "shared", "sleep 1000", &b);
    session_start(&first, "ann", &b);
    entry = cached_entry(&b);
    assert_int_equal(stat(entry, &st), 0);
    assert_int_equal(st.st_uid, 0);
    assert_int_equal(st.st_mode & 07777, 0444);
    session_start(&other, "zoe", &b);
    assert_false(is_given(&first));
    assert_false(is_given(&other)); /* another owner's */
    assert_int_equal(unlink(b.url + strlen("file://")), 0);
    session_start(&again, "ann", &b); /* from what it was given */
    assert_true(is_given(&again));
    assert_int_equal(tried_on_archive(&again, entry), 0x81);
    assert_int_equal(stat(entry, &st), 0);
    session_end(&first);
    session_end(&again);
    session_end(&other);
}

static int setup(void **state)
{
    (void)state;
    stack = stack_new(NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stack_free(stack);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_agent_reaches_no_other_session),
        cmocka_unit_test(archives_are_shared_by_reading_alone),
    };

    if (geteuid() != 0)
        return 0; /* agents run as the user there, as SECURITY.md says */
    return cmocka_run_group_tests(tests, setup, teardown);
}
