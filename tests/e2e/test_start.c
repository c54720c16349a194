/*
 * What keeps `podterm dev` from starting: each is told in a sentence that says
 * what, where and what to do; the exit code is 125, and nothing is left
 * running. test_full_disk.c: what keeps a session from being made.
 */
#include "base/frame.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/devrun.h"
#include "tests/lib/ports.h"
#include "tests/lib/stack.h"
#include "tests/lib/tree.h"
#include "tests/lib/wspeer.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define EXIT_PODTERM 125

/* --- podterm dev, started in a way --- */

/* It does not start: 125, and every one of the words is said, in plain
 * sentences. words: ended by NULL. */
static void refused(const struct dev_how *how, const char *const *words)
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
    dev_left_nothing();
}
#define REFUSED(how, ...)                                                      \
    refused(&(struct dev_how)how, (const char *const[]){__VA_ARGS__, NULL})
#define HOW(...)                                                               \
    {                                                                          \
        __VA_ARGS__                                                            \
    }

/* A state directory as a dev that once ran has left it. */
static void run_once(void)
{
    struct dev d;

    dev_start(&d, &(struct dev_how){0});
    assert_true(
        dev_says(&d, "podterm is ready at http://127.0.0.1:", READY_MS));
    dev_stop(&d);
}

/* --- addresses --- */

static void a_port_in_use_is_named(void **arg)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)dev_port)};
    own_mem char *addr = mem_printf("127.0.0.1:%d", dev_port);
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
    REFUSED(HOW(.listen = "[::]:8099"), "[::]:8099", "loopback", "[::1]");
    REFUSED(HOW(.listen = "[::ffff:0.0.0.0]:8099"), "8099", "loopback");
    REFUSED(HOW(.listen = "203.0.113.1:8099"), "203.0.113.1:8099", "loopback");
}

/* --- the state directory --- */

static void a_state_that_is_a_file_is_refused(void **arg)
{
    own_mem char *path = mem_printf("%s/file", dev_dir);

    (void)arg;
    tree_put(dev_dir, "file", "x");
    REFUSED(HOW(.state = path), path, "directory", "--state");
}

static void a_state_that_cannot_be_written_is_refused(void **arg)
{
    own_mem char *path = mem_printf("%s/mine", dev_dir);
    own_mem char *below = mem_printf("%s/mine/state", dev_dir);

    (void)arg;
    assert_int_equal(mkdir(path, 0555), 0);
    REFUSED(HOW(.state = path, .as_nobody = dev_is_root()), path,
            "Permission denied", "--state");
    REFUSED(HOW(.state = below, .as_nobody = dev_is_root()), below,
            "Permission denied", "--state");
}

static void as_root_a_state_that_other_uids_cannot_reach_is_refused(void **arg)
{
    own_mem char *shut = mem_printf("%s/shut", dev_dir);
    own_mem char *path = mem_printf("%s/shut/state", dev_dir);

    (void)arg;
    dev_root_only();
    assert_int_equal(mkdir(shut, 0700), 0);
    REFUSED(HOW(.state = path), shut, "0700", "another directory");
}

/* Somebody else prepared the place: what is planted there is named, and
 * neither followed nor taken over. */
static void a_planted_state_is_refused(void **arg)
{
    static const char *const places[] = {"", "/dev.lock", "/log",
                                         "/log/controller.log"};
    own_mem char *state = mem_printf("%s/state", dev_dir);
    own_mem char *victim = mem_printf("%s/victim", dev_dir);
    own_mem char *clean = mem_printf("rm -rf %s", state);
    struct stat st;

    (void)arg;
    assert_int_equal(mkdir(victim, 0750), 0);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        own_mem char *path = mem_printf("%s%s", state, places[i]);

        if (i > 0)
            assert_int_equal(mkdir(state, 0711), 0);
        if (i > 2)
            tree_put(dev_dir, "state/log/gateway.log", "");
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
    own_mem char *state = mem_printf("%s/state", dev_dir);

    (void)arg;
    run_once();
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        own_mem char *path = mem_printf("%s%s", state, places[i]);
        struct stat st;

        assert_int_equal(lstat(path, &st), 0);
        assert_int_equal(chmod(path, 0720), 0);
        REFUSED(HOW(0), path, "0720", "chmod go-w");
        assert_int_equal(chmod(path, st.st_mode & 07777), 0);
        if (!dev_is_root())
            continue;
        assert_int_equal(lchown(path, 12345, 12345), 0);
        REFUSED(HOW(0), path, "uid 12345");
        assert_int_equal(lchown(path, 0, 0), 0);
    }
    run_once();
}

static void a_second_dev_on_the_same_state_is_refused(void **arg)
{
    own_mem char *state = mem_printf("%s/state", dev_dir);
    struct dev first;
    struct dev second;

    (void)arg;
    dev_start(&first, &(struct dev_how){0});
    assert_true(dev_says(&first, "podterm is ready", READY_MS));
    dev_port = port_free();
    dev_start(&second, &(struct dev_how){0});
    assert_int_equal(dev_wait(&second), EXIT_PODTERM);
    assert_non_null(strstr(second.out, "another `podterm dev` uses"));
    assert_non_null(strstr(second.out, state));
    assert_non_null(strstr(second.out, "--state"));
    dev_stop(&first);
}

static void put(const char *name, const char *text, mode_t mode)
{
    own_mem char *path = mem_printf("%s/%s", dev_dir, name);

    tree_put(dev_dir, name, text);
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
    own_mem char *path = mem_printf("%s/state/keys/session_secret", dev_dir);

    (void)arg;
    run_once();
    assert_int_equal(chmod(path, 0644), 0);
    REFUSED(HOW(0), "controller did not start", path, "644", "chmod 600");
}

/* --- what the cage needs --- */

static void without_bubblewrap_root_is_refused_and_told_the_package(void **arg)
{
    (void)arg;
    dev_root_only();
    REFUSED(HOW(.has_no_bwrap = true), "cannot be isolated",
            "install bubblewrap", "as root they must be");
}

static void a_kernel_without_user_namespaces_refuses_root(void **arg)
{
    (void)arg;
    dev_root_only();
    REFUSED(HOW(.has_no_namespaces = true), "cannot be isolated", "namespace",
            "as root they must be");
}

static void strict_isolation_refuses_where_there_is_none(void **arg)
{
    (void)arg;
    chmod(dev_dir, 0777);
    REFUSED(HOW(.has_no_namespaces = true, .as_nobody = dev_is_root(),
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
    own_mem char *log = mem_printf("%s/dev.log", dev_dir);
    own_mem char *bundles = mem_printf("%s/bundles", dev_dir);
    struct stack s = {.dir = dev_dir, .port = dev_port, .log_path = log};
    struct stack_bundle b;
    struct dev d;

    (void)arg;
    chmod(dev_dir, 0777);
    assert_int_equal(mkdir(bundles, 0755), 0);
    stack_pack(&s, "stays", "sleep 1000", &b);
    dev_start(&d, &(struct dev_how){.has_no_namespaces = true,
                                    .as_nobody = dev_is_root()});
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
    dev_root_only(); /* only root can take it out of view */
    chmod(dev_dir, 0777);
    dev_start(&d, &(struct dev_how){.has_no_bwrap = true, .as_nobody = true});
    assert_true(dev_says(&d, "podterm is ready", READY_MS));
    assert_non_null(strstr(d.out, "podterm: programs are NOT isolated"));
    assert_non_null(strstr(d.out, "apt-get install bubblewrap"));
    dev_stop(&d);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, dev_setup, dev_teardown)
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
