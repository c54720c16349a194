/*
 * What keeps `podterm dev` from starting, and a session from being made: each
 * is told in a sentence that says what, where and what to do; the exit code
 * is 125, and nothing is left running.
 */
#include "base/frame.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/programs.h"
#include "tests/lib/stack.h"
#include "tests/lib/stackproc.h"
#include "tests/lib/tree.h"
#include "tests/lib/wspeer.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOBODY 65534
#define REFUSED_MS 15000 /* to give up */
#define READY_MS 15000
#define EXIT_PODTERM 125

static char *dir; /* a fresh one for each test */
static int port;

static int setup(void **arg)
{
    (void)arg;
    setenv("PODTERM_UID_FIRST", "700000000", 0);
    dir = scratch_new();
    port = stack_free_port();
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    scratch_remove(dir);
    return 0;
}

static bool is_root(void)
{
    return geteuid() == 0;
}

static void root_only(void)
{
    if (!is_root())
        skip();
}

/* --- podterm dev, started in a way --- */

struct start {
    const char *listen; /* NULL: a free port */
    const char *state;  /* NULL: DIR/state */
    const char *more;   /* a further flag */
    bool as_nobody, has_no_bwrap, has_no_namespaces;
    const char *tmpfs; /* mounted on the state directory, with this size */
};

struct dev {
    pid_t pid;
    int out_fd, attach_port;
    char out[16384];
    size_t len;
    int status;
};

static void must(bool is_good, const char *what)
{
    if (is_good)
        return;
    perror(what);
    _exit(1);
}

/* The kernel says no to new user namespaces, as a hardened one does. */
static void deny_namespaces(void)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);

    must(f != NULL, "seccomp");
    seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(unshare), 1,
                     SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER));
    seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                     SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER));
    must(seccomp_load(f) == 0, "seccomp_load");
    seccomp_release(f);
}

/* In the child: make the world as the test wants it. */
static void prepare(const struct start *how, const char *state)
{
    if (how->has_no_bwrap || how->tmpfs) {
        must(unshare(CLONE_NEWNS) == 0, "unshare");
        must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0,
             "private");
    }
    if (how->has_no_bwrap)
        must(mount("/dev/null", "/usr/bin/bwrap", NULL, MS_BIND, NULL) == 0,
             "bind");
    if (how->tmpfs) {
        must(mkdir(state, 0755) == 0, "mkdir");
        must(mount("tmpfs", state, "tmpfs", 0, how->tmpfs) == 0, "tmpfs");
    }
    if (how->has_no_namespaces)
        deny_namespaces();
    if (how->as_nobody)
        must(setgid(NOBODY) == 0 && setuid(NOBODY) == 0, "setuid");
    prctl(PR_SET_PDEATHSIG, SIGTERM);
}

static void dev_start(struct dev *d, const struct start *how)
{
    own_mem char *exe = program_path("podterm");
    own_mem char *listen = mem_printf("127.0.0.1:%d", port);
    const int attach_port = stack_free_port();
    own_mem char *attach = mem_printf("127.0.0.1:%d", attach_port);
    own_mem char *state = mem_printf("%s/state", dir);
    const char *argv[] = {"podterm",         "dev",
                          "--listen",        how->listen ? how->listen : listen,
                          "--attach-listen", attach,
                          "--state",         how->state ? how->state : state,
                          "--bundle-root",   dir,
                          how->more,         NULL};
    int ends[2];

    *d = (struct dev){.attach_port = attach_port};
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    d->pid = fork();
    if (d->pid == 0) {
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        prepare(how, state);
        execv(exe, (char *const *)argv);
        _exit(127);
    }
    close(ends[1]);
    d->out_fd = ends[0];
}

/* Read until it says `text` (NULL: until the end). false: the end came. */
static bool dev_says(struct dev *d, const char *text, int ms)
{
    int64_t until = loop_now_ms() + ms, left;

    while (!text || !strstr(d->out, text)) {
        struct pollfd p = {d->out_fd, POLLIN, 0};
        ssize_t n;

        left = until - loop_now_ms();
        if (left <= 0 || poll(&p, 1, (int)left) != 1)
            fail_msg("nothing after %d ms but: %s", ms, d->out);
        n = read(d->out_fd, d->out + d->len, sizeof(d->out) - 1 - d->len);
        if (n <= 0)
            return false;
        d->len += (size_t)n;
    }
    return true;
}

static int dev_wait(struct dev *d)
{
    dev_says(d, NULL, REFUSED_MS);
    close(d->out_fd);
    assert_int_equal(waitpid(d->pid, &d->status, 0), d->pid);
    assert_true(WIFEXITED(d->status));
    return WEXITSTATUS(d->status);
}

static void nothing_is_left(void)
{
    struct stack s = {.dir = dir};

    stackproc_wait_none(&s, NULL, 0);
}

/* It does not start: 125, and every one of the words is said, in plain
 * sentences. words: ended by NULL. */
static void refused(const struct start *how, const char *const *words)
{
    struct dev d;

    dev_start(&d, how);
    assert_int_equal(dev_wait(&d), EXIT_PODTERM);
    for (; *words; words++)
        if (!strstr(d.out, *words))
            fail_msg("it says nothing of \"%s\": %s", *words, d.out);
    assert_null(strstr(d.out, "ready"));
    for (const char *p = d.out; *p; p++) /* no JSON, no controls */
        assert_true(*p != '{' && (*p == '\n' || !iscntrl((uint8_t)*p)));
    for (char *line = strtok(d.out, "\n"); line; line = strtok(NULL, "\n"))
        assert_int_equal(strncmp(line, "podterm: ", 9), 0);
    nothing_is_left();
}
#define REFUSED(how, ...)                                                      \
    refused(&(struct start)how, (const char *const[]){__VA_ARGS__, NULL})
#define HOW(...)                                                               \
    {                                                                          \
        __VA_ARGS__                                                            \
    }

static void dev_stop(struct dev *d)
{
    kill(d->pid, SIGTERM);
    assert_int_equal(dev_wait(d), 0);
    nothing_is_left();
}

/* A state directory as a dev that once ran has left it. */
static void run_once(void)
{
    struct dev d;

    dev_start(&d, &(struct start){0});
    assert_true(
        dev_says(&d, "podterm is ready at http://127.0.0.1:", READY_MS));
    dev_stop(&d);
}

/* --- addresses --- */

static void a_port_in_use_is_named(void **arg)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port)};
    own_mem char *addr = mem_printf("127.0.0.1:%d", port);
    own_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)arg;
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(fd, 1), 0);
    REFUSED(HOW(0), addr, "in use", "--listen");
}

static void a_listener_that_is_not_loopback_is_refused(void **arg)
{
    (void)arg;
    REFUSED(HOW(.listen = "0.0.0.0:8099"), "0.0.0.0:8099", "loopback",
            "127.0.0.1");
    REFUSED(HOW(.listen = "203.0.113.1:8099"), "203.0.113.1:8099", "loopback");
}

/* --- the state directory --- */

static void a_state_that_is_a_file_is_refused(void **arg)
{
    own_mem char *path = mem_printf("%s/file", dir);

    (void)arg;
    tree_put(dir, "file", "x");
    REFUSED(HOW(.state = path), path, "directory", "--state");
}

static void a_state_that_cannot_be_written_is_refused(void **arg)
{
    own_mem char *path = mem_printf("%s/mine", dir);
    own_mem char *below = mem_printf("%s/mine/state", dir);

    (void)arg;
    assert_int_equal(mkdir(path, 0555), 0);
    REFUSED(HOW(.state = path, .as_nobody = is_root()), path,
            "Permission denied", "--state");
    REFUSED(HOW(.state = below, .as_nobody = is_root()), below,
            "Permission denied", "--state");
}

static void as_root_a_state_that_other_uids_cannot_reach_is_refused(void **arg)
{
    own_mem char *shut = mem_printf("%s/shut", dir);
    own_mem char *path = mem_printf("%s/shut/state", dir);

    (void)arg;
    root_only();
    assert_int_equal(mkdir(shut, 0700), 0);
    REFUSED(HOW(.state = path), shut, "0700", "another directory");
}

/* Somebody else prepared the place: what is planted there is named, and
 * neither followed nor taken over. */
static void a_planted_state_is_refused(void **arg)
{
    static const char *const places[] = {"", "/dev.lock", "/log",
                                         "/log/controller.log"};
    own_mem char *state = mem_printf("%s/state", dir);
    own_mem char *victim = mem_printf("%s/victim", dir);
    own_mem char *clean = mem_printf("rm -rf %s", state);
    struct stat st;

    (void)arg;
    assert_int_equal(mkdir(victim, 0750), 0);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        own_mem char *path = mem_printf("%s%s", state, places[i]);

        if (i > 0)
            assert_int_equal(mkdir(state, 0711), 0);
        if (i > 2)
            tree_put(dir, "state/log/gateway.log", "");
        assert_int_equal(symlink(victim, path), 0);
        REFUSED(HOW(0), path, "symbolic link");
        assert_int_equal(system(clean), 0);
    }
    assert_int_equal(lstat(victim, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
    assert_int_equal(rmdir(victim), 0); /* nothing was put there */
}

static void a_state_that_others_own_or_write_is_refused(void **arg)
{
    static const char *const places[] = {"", "/dev.lock", "/log",
                                         "/log/controller.log"};
    own_mem char *state = mem_printf("%s/state", dir);

    (void)arg;
    run_once();
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        own_mem char *path = mem_printf("%s%s", state, places[i]);
        struct stat st;

        assert_int_equal(lstat(path, &st), 0);
        assert_int_equal(chmod(path, 0720), 0);
        REFUSED(HOW(0), path, "0720", "chmod go-w");
        assert_int_equal(chmod(path, st.st_mode & 07777), 0);
        if (!is_root())
            continue;
        assert_int_equal(lchown(path, 12345, 12345), 0);
        REFUSED(HOW(0), path, "uid 12345");
        assert_int_equal(lchown(path, 0, 0), 0);
    }
    run_once();
}

static void a_second_dev_on_the_same_state_is_refused(void **arg)
{
    own_mem char *state = mem_printf("%s/state", dir);
    struct dev first;
    struct dev second;

    (void)arg;
    dev_start(&first, &(struct start){0});
    assert_true(dev_says(&first, "podterm is ready", READY_MS));
    port = stack_free_port();
    dev_start(&second, &(struct start){0});
    assert_int_equal(dev_wait(&second), EXIT_PODTERM);
    assert_non_null(strstr(second.out, "another `podterm dev` uses"));
    assert_non_null(strstr(second.out, state));
    assert_non_null(strstr(second.out, "--state"));
    dev_stop(&first);
}

static void put(const char *name, const char *text, mode_t mode)
{
    own_mem char *path = mem_printf("%s/%s", dir, name);

    tree_put(dir, name, text);
    assert_int_equal(chmod(path, mode), 0);
}

static void a_damaged_store_is_named(void **arg)
{
    (void)arg;
    run_once();
    put("state/podterm.db", "this is no database, but long enough for one",
        0600);
    REFUSED(HOW(0), "controller did not start", "state/podterm.db",
            "not a database", "move it away");
}

static void a_damaged_key_is_named(void **arg)
{
    (void)arg;
    run_once();
    put("state/keys/seal", "short", 0600);
    REFUSED(HOW(0), "controller did not start", "state/keys/seal", "32 bytes");
}

static void a_damaged_signing_key_is_named(void **arg)
{
    (void)arg;
    run_once();
    put("state/keys/signer.pem", "-----BEGIN\x1b[2J", 0600);
    REFUSED(HOW(0), "controller did not start", "state/keys/signer.pem",
            "not an unencrypted PEM private key");
}

static void a_key_that_others_may_read_is_refused(void **arg)
{
    own_mem char *path = mem_printf("%s/state/keys/session_secret", dir);

    (void)arg;
    run_once();
    assert_int_equal(chmod(path, 0644), 0);
    REFUSED(HOW(0), "controller did not start", path, "644", "chmod 600");
}

/* --- what the cage needs --- */

static void without_bubblewrap_root_is_refused_and_told_the_package(void **arg)
{
    (void)arg;
    root_only();
    REFUSED(HOW(.has_no_bwrap = true), "cannot be isolated",
            "install bubblewrap", "as root they must be");
}

static void a_kernel_without_user_namespaces_refuses_root(void **arg)
{
    (void)arg;
    root_only();
    REFUSED(HOW(.has_no_namespaces = true), "cannot be isolated", "namespace",
            "as root they must be");
}

static void strict_isolation_refuses_where_there_is_none(void **arg)
{
    (void)arg;
    chmod(dir, 0777);
    REFUSED(HOW(.has_no_namespaces = true, .as_nobody = is_root(),
                .more = "--isolation=strict"),
            "cannot be isolated", "namespace", "--isolation");
}

/* READY's text, the caller's. */
static char *ready_of(const struct stack *s, const char *token)
{
    own_mem char *addr = mem_printf("127.0.0.1:%d", s->attach_port);
    own_mem char *hello =
        mem_printf("{\"token\":\"%s\",\"cols\":80,\"rows\":24}", token);
    struct wspeer *p = wspeer_dial(addr, NULL);
    struct wsmsg m;
    char *text;

    wspeer_upgrade(p, addr, "");
    wspeer_binary(p, FRAME_HELLO, hello);
    do
        assert_true(wspeer_recv(p, &m));
    while (m.len < 1 || m.bytes[0] != FRAME_READY);
    text = mem_printf("%.*s", (int)m.len - 1, (const char *)m.bytes + 1);
    wspeer_free(p);
    return text;
}

/* What holds is said, not what was wished: the host's network is open. */
static void says_what_holds(const struct dev *d, struct stack *s,
                            const struct stack_bundle *b)
{
    struct stack_session ss;
    own_json struct json *record = NULL, *ready = NULL;
    own_mem char *text = NULL;
    struct err e = {0};

    s->pid = d->pid;
    stack_create(s, "ann", b, "", &ss);
    text = ready_of(s, ss.token);
    ready = json_parse(text, strlen(text), &e);
    record = stack_wait(s, "ann", ss.sid, "running", READY_MS);
    assert_string_equal(json_get_str(record, "isolation"), "none");
    assert_string_equal(json_get_str(record, "egress"), "open");
    assert_string_equal(json_get_str(ready, "isolation"), "none");
    assert_string_equal(json_get_str(ready, "egress"), "open");
    stack_session_fini(&ss);
}

static void a_user_is_told_that_programs_are_not_isolated(void **arg)
{
    own_mem char *log = mem_printf("%s/dev.log", dir);
    own_mem char *bundles = mem_printf("%s/bundles", dir);
    struct stack s = {.dir = dir, .port = port, .log_path = log};
    struct stack_bundle b;
    struct dev d;

    (void)arg;
    chmod(dir, 0777);
    assert_int_equal(mkdir(bundles, 0755), 0);
    stack_pack(&s, "stays", "sleep 1000", &b);
    dev_start(
        &d, &(struct start){.has_no_namespaces = true, .as_nobody = is_root()});
    s.attach_port = d.attach_port;
    assert_true(dev_says(&d, "podterm is ready", READY_MS));
    assert_non_null(strstr(d.out, "podterm: programs are NOT isolated"));
    says_what_holds(&d, &s, &b);
    dev_stop(&d);
}

static void a_user_without_bubblewrap_is_told_the_package(void **arg)
{
    struct dev d;

    (void)arg;
    root_only(); /* only root can take it out of view */
    chmod(dir, 0777);
    dev_start(&d, &(struct start){.has_no_bwrap = true, .as_nobody = true});
    assert_true(dev_says(&d, "podterm is ready", READY_MS));
    assert_non_null(strstr(d.out, "podterm: programs are NOT isolated"));
    assert_non_null(strstr(d.out, "apt-get install bubblewrap"));
    dev_stop(&d);
}

/* --- the disk --- */

/* A file below the state directory of a dev in a mount namespace of its own,
 * as others see it. */
static char *inside(const struct dev *d, const char *name)
{
    return mem_printf("/proc/%d/root%s/state/%s", (int)d->pid, dir, name);
}

static void fill_disk(const struct dev *d, size_t leave_bytes)
{
    own_mem char *path = inside(d, "filler");
    own_mem char *state = inside(d, "");
    own_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    struct statvfs st;
    size_t free_bytes;

    assert_true(fd >= 0);
    assert_int_equal(statvfs(state, &st), 0);
    free_bytes = (size_t)st.f_bavail * st.f_bsize;
    assert_true(free_bytes > leave_bytes);
    assert_int_equal(posix_fallocate(fd, 0, (off_t)(free_bytes - leave_bytes)),
                     0);
}

static int session_directories(const struct dev *d)
{
    own_mem char *path = inside(d, "sessions");
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return (int)st.st_nlink - 2;
}

static void no_session_directory(const struct dev *d)
{
    int64_t until = loop_now_ms() + 15000;

    while (session_directories(d) > 0 && loop_now_ms() < until)
        poll(NULL, 0, 5);
    assert_int_equal(session_directories(d), 0);
}

static struct rest_answer create(struct stack *s, const struct stack_bundle *b)
{
    own_mem char *id = stack_identity(s, "ann");
    own_mem char *head = mem_printf("%sContent-Type: application/json\r\n", id);
    own_mem char *body =
        mem_printf("{\"bundle\":{\"url\":\"%s\",\"sha256\":\"%s\"},"
                   "\"cols\":80,\"rows\":24}",
                   b->url, b->sha256);

    return rest_call(s->port, "POST", "/api/sessions", head, body);
}

/* Too little for a session and its end: refused at once, and why is said. */
static void is_not_created(struct stack *s, const struct dev *d,
                           const struct stack_bundle *b)
{
    struct rest_answer a = create(s, b);

    assert_int_equal(a.status, 503);
    assert_non_null(strstr(a.body, "\"code\":\"unavailable\""));
    assert_non_null(strstr(a.body, "disk is full"));
    assert_null(strstr(a.body, dir)); /* a path is nobody's business */
    rest_fini(&a);
    no_session_directory(d);
}

/* It fills while the session runs: even then its end is recorded soon. */
static void ends_on_a_full_disk(struct stack *s, const struct dev *d,
                                const struct stack_bundle *b)
{
    own_mem char *filler = inside(d, "filler");
    int64_t until = loop_now_ms() + 5000;
    struct stack_session ss;

    stack_create(s, "ann", b, "", &ss);
    json_free(stack_wait(s, "ann", ss.sid, "running", 5000));
    assert_int_equal(unlink(filler), 0);
    fill_disk(d, 0);
    while (stack_delete(s, "ann", ss.sid) == 503 && loop_now_ms() < until)
        poll(NULL, 0, 10);
    json_free(stack_wait(s, "ann", ss.sid, "ended", 5000));
    no_session_directory(d);
    stack_session_fini(&ss);
}

static void a_full_disk_starts_no_session_and_leaves_nothing(void **arg)
{
    struct dev d;
    struct stack s = {.dir = dir, .port = port};
    struct stack_bundle b;
    struct stack_session ss;
    own_mem char *log = mem_printf("%s/dev.log", dir), *filler = NULL;
    own_mem char *bundles = mem_printf("%s/bundles", dir);

    (void)arg;
    root_only();
    s.log_path = log;
    assert_int_equal(mkdir(bundles, 0755), 0);
    stack_pack(&s, "stays", "sleep 1000", &b);
    dev_start(&d, &(struct start){.tmpfs = "size=8m,mode=755"});
    assert_true(dev_says(&d, "podterm is ready", READY_MS));
    s.pid = d.pid;

    filler = inside(&d, "filler");
    for (size_t kib = 0; kib <= 1024; kib = kib ? 2 * kib : 4) {
        fill_disk(&d, kib << 10);
        is_not_created(&s, &d, &b);
        assert_int_equal(unlink(filler), 0);
    }
    fill_disk(&d, 1600 << 10); /* just enough */
    ends_on_a_full_disk(&s, &d, &b);
    assert_int_equal(unlink(filler), 0);

    stack_create(&s, "ann", &b, "", &ss); /* and then all is well again */
    json_free(stack_wait(&s, "ann", ss.sid, "running", 5000));
    stack_session_fini(&ss);
    dev_stop(&d);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_port_in_use_is_named),
        T(a_listener_that_is_not_loopback_is_refused),
        T(a_state_that_is_a_file_is_refused),
        T(a_state_that_cannot_be_written_is_refused),
        T(as_root_a_state_that_other_uids_cannot_reach_is_refused),
        T(a_planted_state_is_refused),
        T(a_state_that_others_own_or_write_is_refused),
        T(a_second_dev_on_the_same_state_is_refused),
        T(a_damaged_store_is_named),
        T(a_damaged_key_is_named),
        T(a_damaged_signing_key_is_named),
        T(a_key_that_others_may_read_is_refused),
        T(without_bubblewrap_root_is_refused_and_told_the_package),
        T(a_kernel_without_user_namespaces_refuses_root),
        T(strict_isolation_refuses_where_there_is_none),
        T(a_user_is_told_that_programs_are_not_isolated),
        T(a_user_without_bubblewrap_is_told_the_package),
        T(a_full_disk_starts_no_session_and_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
