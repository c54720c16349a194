/*
 * A hostile bundle: this program itself (tests/lib/probe.h), which sees
 * nothing of its host and uses up no more than its limits; the same program
 * outside of the cage, which shows that its tries can succeed; and children
 * that mean to stay.
 */
#include "base/frame.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"
#include "tests/lib/direct.h"
#include "tests/lib/probe.h"
#include "tests/lib/stackproc.h"
#include "tests/lib/tree.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOBODY 65534
#define PROBE_MS 60000

static struct stack *stack;

/* What a program could find on this host if it were let. */
static struct {
    int v6_fd, v6_port;
    int path_fd, abstract_fd;
    char path[100], name[40];
    char *home_file;
} host;

static void listen_un(const char *path, const char *name, int *fd)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    socklen_t len = sizeof(at);

    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (path) {
        snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
    } else {
        memcpy(at.sun_path + 1, name, strlen(name));
        len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                          strlen(name));
    }
    assert_return_code(bind(*fd, (struct sockaddr *)&at, len), errno);
    assert_return_code(listen(*fd, 16), errno);
}

static void listen_v6(void)
{
    struct sockaddr_in6 at = {.sin6_family = AF_INET6,
                              .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t len = sizeof(at);

    host.v6_fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (host.v6_fd < 0 ||
        bind(host.v6_fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
        listen(host.v6_fd, 16) < 0)
        return; /* a machine without IPv6 */
    getsockname(host.v6_fd, (struct sockaddr *)&at, &len);
    host.v6_port = ntohs(at.sin6_port);
}

static int setup(void **arg)
{
    static const char *const more[] = {"--", "--limit-nproc=40",
                                       "--limit-nofile=100",
                                       "--limit-fsize-bytes=1048576", NULL};

    (void)arg;
    stack = stack_new(more);
    snprintf(host.path, sizeof(host.path), "%s/host.sock", stack->dir);
    snprintf(host.name, sizeof(host.name), "podterm-test-%d", (int)getpid());
    host.home_file = mem_printf("%s/home/id", stack->dir);
    tree_put(stack->dir, "home/id", "a key of the user's");
    listen_un(host.path, NULL, &host.path_fd);
    listen_un(NULL, host.name, &host.abstract_fd);
    chmod(host.path, 0777);
    listen_v6();
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    close(host.path_fd);
    close(host.abstract_fd);
    if (host.v6_fd >= 0)
        close(host.v6_fd);
    free(host.home_file);
    stack_free(stack);
    return 0;
}

/* --- what the probe says --- */

struct said {
    char *text;
    size_t len;
};

static void said_take(void *arg, const uint8_t *p, size_t len)
{
    struct said *s = arg;

    s->text = mem_resize(s->text, s->len + len + 1, 1);
    memcpy(s->text + s->len, p, len);
    s->len += len;
    s->text[s->len] = 0;
}

/* The value of the line "name=value", the caller's; NULL = there is none. */
static char *value_of(const struct said *s, const char *name)
{
    own_mem char *key = mem_printf("\n%s=", name);
    const char *at = s->text ? strstr(s->text, key) : NULL;

    if (!at)
        return NULL;
    at += strlen(key);
    return mem_strn(at, strcspn(at, "\r\n"));
}

/* The line that tells the probe what to look for. */
static char *orders(const struct direct *agent, bool is_caged)
{
    return mem_printf(
        "%sSTATE=%s/state HOME_FILE=%s API=%d GATEWAY=%d "
        "AGENT=%s V6=%d SOCKET=%s ABSTRACT=%s PID=%d PROCESS=%d\n",
        is_caged ? "CAGED=1 " : "", stack->dir, host.home_file, stack->port,
        stack->attach_port, strrchr(agent->addr, ':') + 1, host.v6_port,
        host.path, host.name, (int)getpid(), is_caged ? 1 : (int)getpid());
}

/* A bundle with this very program in it, beside a script that becomes it. */
static void pack_self(struct stack_bundle *b)
{
    own_mem char *cmd = mem_printf("mkdir -p %s/src-probe/lib && "
                                   "cp /proc/%d/exe %s/src-probe/lib/probe && "
                                   "chmod -R a+rX %s/src-probe && "
                                   "chmod 755 %s/src-probe/lib/probe",
                                   stack->dir, (int)getpid(), stack->dir,
                                   stack->dir, stack->dir);

    assert_int_equal(system(cmd), 0);
    stack_pack(stack, "probe",
               "stty -echo\n"
               "exec \"${0%/bin/prog}/lib/probe\" --probe",
               b);
}

/* Run it in a session to its end. *agent: of that session. */
static void run_caged(struct said *s, struct direct *agent)
{
    struct stack_bundle b;
    struct stack_session ss;
    struct stack_link l = {0};
    own_json struct json *j = NULL;
    own_mem char *line = NULL;

    pack_self(&b);
    stack_create(stack, "ann", &b, ",\"env\":{\"MINE\":\"a b\"}", &ss);
    assert_true(stack_attach(stack, &l, ss.token, 0, 80, 24));
    direct_find(stack, ss.sid, agent);
    /* its first words say that nothing echoes any more */
    while (!s->text || !strstr(s->text, "env=begin"))
        assert_true(stack_pump(&l, said_take, s, true));
    line = orders(agent, true);
    stack_type(&l, l.input_acked, line, strlen(line));
    while (!l.is_ended)
        assert_true(stack_pump(&l, said_take, s, true));
    if (l.exit_code != 0 || !strstr(s->text, "\ndone"))
        fail_msg("the probe ended (%s, code %d): %s", l.reason, l.exit_code,
                 s->text);
    while (stack_pump(&l, NULL, NULL, true))
        ;
    stack_cut(&l);
    j = stack_wait(stack, "ann", ss.sid, "ended", 10000);
    assert_string_equal(json_get_str(j, "reason"), "exited");
    stack_session_fini(&ss);
}

/* Run it on the host as we are, with one descriptor too many. */
static void run_outside(struct said *s, const struct direct *agent)
{
    own_mem char *exe = mem_printf("%s/src-probe/lib/probe", stack->dir);
    own_mem char *line = orders(agent, false);
    char *argv[] = {"probe", "--probe", NULL}, *env[] = {"HOME=/", NULL};
    int in[2], out[2];
    struct proc_spawn how = {.path = exe,
                             .argv = argv,
                             .envp = env,
                             .fd_count = 4,
                             .death_signal = SIGKILL};
    int64_t until = loop_now_ms() + PROBE_MS;
    struct err e = {0};
    pid_t pid;
    int fd;

    assert_return_code(pipe2(in, O_CLOEXEC), errno);
    assert_return_code(pipe2(out, O_CLOEXEC), errno);
    how.fds = (int[]){in[0], out[1], 2, 2};
    fd = proc_spawn(&how, &pid, &e);
    assert_true(fd >= 0);
    close(fd);
    close(in[0]);
    close(out[1]);
    assert_int_equal(write(in[1], line, strlen(line)), strlen(line));
    close(in[1]);
    for (;;) {
        struct pollfd p = {.fd = out[0], .events = POLLIN};
        uint8_t bytes[4096];
        ssize_t n;

        if (poll(&p, 1, (int)(until - loop_now_ms())) <= 0)
            kill(pid, SIGKILL);
        n = read(out[0], bytes, sizeof(bytes));
        if (n <= 0)
            break;
        said_take(s, bytes, (size_t)n);
    }
    close(out[0]);
    waitpid(pid, NULL, 0);
}

/* --- the cases --- */

/* Everything that can be open outside is shut inside. */
static void compare(const struct said *in, const struct said *out)
{
    int bad = 0, opened = 0;

    for (const struct probe *p = probes; p->name; p++) {
        own_mem char *inside = value_of(in, p->name);
        own_mem char *outside = value_of(out, p->name);
        bool must_open = p->outside == PROBE_ANYBODY ||
                         (p->outside == PROBE_ROOT && geteuid() == 0);
        const char *want = p->is_open_inside ? "open" : "shut";

        if (!inside || strcmp(inside, want) != 0) {
            print_error("%s is %s in the cage\n", p->name,
                        inside ? inside : "not told");
            bad++;
        }
        if (must_open && (!outside || strcmp(outside, "open") != 0)) {
            print_error("%s proves nothing: it is %s outside\n", p->name,
                        outside ? outside : "not told");
            bad++;
        }
        opened += outside && strcmp(outside, "open") == 0;
    }
    assert_int_equal(bad, 0);
    assert_true(opened >= 12);
}

static void expect_count(const struct said *s, const char *name,
                         long long least, long long most)
{
    own_mem char *value = value_of(s, name);
    long long n = value ? strtoll(value, NULL, 10) : -1;

    if (n < least || n > most)
        fail_msg("%s is %lld, not %lld to %lld", name, n, least, most);
}

static void expect_environment(const struct said *s)
{
    static const char *const want[] = {
        "HOME=/home/user",
        "TERM=xterm-256color",
        "COLORTERM=truecolor",
        "LANG=C.UTF-8",
        "MINE=a b",
    };
    int n = 0;

    for (const char *at = s->text; (at = strstr(at, "env=")); at++)
        n++;
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        own_mem char *line = mem_printf("\nenv=%s\r\n", want[i]);

        if (!strstr(s->text, line))
            fail_msg("%s is not in the environment: %s", want[i], s->text);
    }
    assert_non_null(strstr(s->text, "\nenv=PATH="));
    /* "begin", these and PATH, and the PWD that sh adds */
    if (n > 8 || (n == 8 && !strstr(s->text, "\nenv=PWD=")))
        fail_msg("%d variables: %s", n, s->text);
}

static void a_hostile_bundle_sees_and_takes_nothing(void **arg)
{
    struct said in = {0}, out = {0};
    struct direct agent, other;
    struct stack_bundle b;
    struct stack_session ss;

    (void)arg;
    run_caged(&in, &agent);
    /* an agent that is there, for the tries outside */
    stack_pack(stack, "other", "sleep 1000", &b);
    stack_create(stack, "ann", &b, "", &ss);
    direct_find(stack, ss.sid, &other);
    run_outside(&out, &other);
    compare(&in, &out);
    expect_environment(&in);
    expect_count(&in, "count.forks", 20, 39);
    expect_count(&in, "count.file", 1048576, 1048576);
    expect_count(&in, "count.descriptors", 90, 97);
    expect_count(&in, "count.tmp", 1 << 20, 256 << 20);
    expect_count(&in, "count.home", 1 << 20, 256 << 20);
    expect_count(&in, "count.shm", 1 << 20, 64 << 20);
    free(in.text);
    free(out.text);
    stack_session_fini(&ss);
}

/* Two generations away, deaf to all that can be ignored. */
#define STRAY                                                                  \
    "(setsid sh -c 'trap \"\" HUP INT TERM; : >/tmp/up; "                      \
    "while :; do sleep 5; done' </dev/null >/dev/null 2>&1 &)\n"               \
    "until [ -e /tmp/up ]; do sleep 0.02; done\n"                              \
    "echo up\n"

static void stray_start(const char *name, const char *then,
                        struct stack_session *ss, struct stack_link *l)
{
    own_mem char *script = mem_printf("%s%s\n", STRAY, then);
    struct said s = {0};
    struct stack_bundle b;
    pid_t pids[32];

    stack_pack(stack, name, script, &b);
    stack_create(stack, "ann", &b, "", ss);
    assert_true(stack_attach(stack, l, ss->token, 0, 80, 24));
    while (!s.text || !strstr(s.text, "up"))
        assert_true(stack_pump(l, said_take, &s, true));
    free(s.text);
    /* keeper, supervisor, agent, bubblewrap (twice), shim, sh, the stray */
    assert_true(stackproc_session(stack, ss->sid, pids, 32) >= 7);
}

static void a_double_forked_child_dies_when_the_program_exits(void **arg)
{
    struct stack_session ss;
    struct stack_link l = {0};

    (void)arg;
    stray_start("exits", "read -r go", &ss, &l);
    stack_type(&l, 0, "\n", 1);
    while (!l.is_ended)
        assert_true(stack_pump(&l, NULL, NULL, true));
    assert_string_equal(l.reason, "exited");
    while (stack_pump(&l, NULL, NULL, true))
        ;
    stack_cut(&l);
    stackproc_wait_none(stack, ss.sid, 5000);
    stack_session_fini(&ss);
}

static void a_double_forked_child_dies_with_end_and_with_delete(void **arg)
{
    struct stack_session ss;
    struct stack_link l = {0};

    (void)arg;
    stray_start("end", "sleep 1000", &ss, &l);
    wspeer_binary(l.peer, FRAME_END, "");
    while (!l.is_ended)
        assert_true(stack_pump(&l, NULL, NULL, true));
    while (stack_pump(&l, NULL, NULL, true))
        ;
    stack_cut(&l);
    stackproc_wait_none(stack, ss.sid, 8000);
    stack_session_fini(&ss);

    memset(&l, 0, sizeof(l));
    stray_start("delete", "sleep 1000", &ss, &l);
    stack_cut(&l);
    assert_int_equal(stack_delete(stack, "ann", ss.sid), 202);
    stackproc_wait_none(stack, ss.sid, 12000);
    stack_session_fini(&ss);
}

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hostile_bundle_sees_and_takes_nothing),
        cmocka_unit_test(a_double_forked_child_dies_when_the_program_exits),
        cmocka_unit_test(a_double_forked_child_dies_with_end_and_with_delete),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}

/* --- the same as an ordinary user --- */

static void all_of_it_holds_for_an_ordinary_user(void **arg)
{
    int status = -1;
    pid_t pid;

    (void)arg;
    if (geteuid() != 0)
        skip(); /* it was one already */
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
            setresuid(NOBODY, NOBODY, NOBODY) < 0)
            _exit(99);
        unsetenv("TMPDIR"); /* may be root's alone */
        unsetenv("HOME");
        execl("/proc/self/exe", "test_hostile", NULL);
        _exit(98);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest ordinary[] = {
        cmocka_unit_test(all_of_it_holds_for_an_ordinary_user),
    };
    int failed;

    if (argc > 1 && strcmp(argv[1], "--probe") == 0)
        return probe_main();
    failed = run_all();
    if (geteuid() == 0)
        failed += cmocka_run_group_tests(ordinary, NULL, NULL);
    return failed;
}
