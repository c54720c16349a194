/*
 * Hostile programs (tests/hostile) as the bundle of a real session, as root
 * and as an ordinary user, held against the tables of their README; the same
 * programs outside of any cage, which shows that their attempts can succeed;
 * and what reached the world outside (tests/hostile/world.py) meanwhile.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"
#include "tests/lib/cagejudge.h"
#include "tests/lib/certs.h"
#include "tests/lib/direct.h"
#include "tests/lib/ports.h"
#include "tests/lib/programs.h"
#include "tests/lib/skipped.h"
#include "tests/lib/stackproc.h"
#include "tests/lib/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOBODY 65534
#define README "tests/hostile/README.md"
#define SILENCE_MS 45000 /* of a program that waits for a time to pass */
#define OUTSIDE_MS 60000
#define WORLD_MS 10000
#define PARTS 3       /* sessions of Python's: each has a log of its own */
#define TRIES_MIN 100 /* refused, of both programs each */

/* What is outside. Made as root, in a mount namespace of our own whose names
 * are the world's; handed on to the run as an ordinary user. */
static struct {
    bool is_there;
    pid_t pid;
    char *dir, *log;
    char dns[32];
    int tls, http;
    size_t from; /* of its log: what a run begins with */
} world = {.tls = 443, .http = 80};

static struct {
    struct stack *stack;
    char *domains;
    const char *flags[8];
    int tcp_fd, tcp6_fd, tcp;
    int path_fd, abstract_fd, dgram_fd;
    char path[100], name[40], dgram[40];
    /* they run at the same time; the first only has an agent */
    struct stack_session first, in_c, in_python[PARTS];
} host;

/* --- the world --- */

static bool mount_over(const char *target, const char *text)
{
    char path[] = "/tmp/podterm-world-XXXXXX";
    own_fd int fd = mkstemp(path);
    bool is_done = fd >= 0 && write(fd, text, strlen(text)) > 0 &&
                   fchmod(fd, 0644) == 0 &&
                   mount(path, target, NULL, MS_BIND, NULL) == 0;

    unlink(path);
    return is_done;
}

static bool own_names(void)
{
    own_mem char *resolv =
        mem_printf("nameserver %s\noptions timeout:2 attempts:1\n", world.dns);

    return unshare(CLONE_NEWNS) == 0 &&
           mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount_over("/etc/resolv.conf", resolv) &&
           mount_over("/etc/nsswitch.conf",
                      "passwd: files\ngroup: files\nhosts: files dns\n");
}

static void world_run(void)
{
    own_mem char *cert = mem_printf("%s/ok.pem", world.dir);
    own_mem char *key = mem_printf("%s/ok.key", world.dir);
    own_mem char *tls = mem_printf("%d", world.tls);
    own_mem char *http = mem_printf("%d", world.http);
    own_mem char *script = realpath("tests/hostile/world.py", NULL);
    char *argv[] = {"python3", script, world.log, world.dns, tls,
                    http,      cert,   key,       NULL};
    int fds[3] = {-1, 2, 2};
    struct proc_spawn how = {.path = "/usr/bin/python3",
                             .argv = argv,
                             .fds = fds,
                             .fd_count = 3,
                             .death_signal = SIGKILL};
    struct err e = {0};
    int fd = proc_spawn(&how, &world.pid, &e);

    if (fd < 0)
        fail_msg("world.py: %s", e.text);
    close(fd);
}

static bool world_said(const char *word)
{
    own_mem char *text = NULL;
    size_t len;

    if (access(world.log, F_OK) < 0)
        return false;
    text = tree_get(world.log, &len);
    return len > world.from && strstr(text + world.from, word) != NULL;
}

/* How often, since the run began. */
static int world_count(const char *line)
{
    own_mem char *text = NULL;
    size_t len;
    int n = 0;

    text = tree_get(world.log, &len);
    for (const char *at = text + world.from; (at = strstr(at, line)); at++)
        n++;
    return n;
}

static void world_make(void)
{
    const int64_t until = loop_now_ms() + WORLD_MS;

    snprintf(world.dns, sizeof(world.dns), "127.%d.%d.53",
             1 + getpid() / 250 % 250, 1 + getpid() % 250);
    if (geteuid() != 0 || !own_names())
        return;
    world.dir = scratch_new();
    world.log = mem_printf("%s/world.log", world.dir);
    world.tls = port_free();
    world.http = port_free();
    certs_make(world.dir, "ok", "DNS:ok.example");
    world_run();
    while (!world_said("ready\n")) {
        if (loop_now_ms() > until)
            fail_msg("world.py does not begin within %d ms", WORLD_MS);
        poll(NULL, 0, 20);
    }
    chmod(world.log, 0644);
    world.is_there = true;
}

static void world_end(void)
{
    if (world.pid > 0) {
        kill(world.pid, SIGKILL);
        waitpid(world.pid, NULL, 0);
    }
    free(world.log);
    scratch_remove(world.dir);
}

/* For the run as another user, which is this program anew. */
static void world_hand_on(void)
{
    own_mem char *all = mem_printf("%d %d %s", world.tls, world.http,
                                   world.is_there ? world.log : "-");

    setenv("PODTERM_TEST_WORLD", all, 1);
}

static bool world_handed(void)
{
    const char *all = getenv("PODTERM_TEST_WORLD");
    char log[256];

    if (!all)
        return false;
    if (sscanf(all, "%d %d %255s", &world.tls, &world.http, log) == 3 &&
        strcmp(log, "-") != 0) {
        world.is_there = true;
        world.log = mem_str(log);
    }
    return true;
}

/* --- the host --- */

static int listen_on(int family, int port, int *got)
{
    struct sockaddr_in four = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6,
                               .sin6_port = htons((uint16_t)port),
                               .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr *at =
        family == AF_INET ? (struct sockaddr *)&four : (struct sockaddr *)&six;
    socklen_t len = family == AF_INET ? sizeof(four) : sizeof(six);

    if (fd < 0 || bind(fd, at, len) < 0 || listen(fd, 64) < 0) {
        own_fd_release(&fd);
        return -1; /* a machine without IPv6 */
    }
    if (got && getsockname(fd, (struct sockaddr *)&four, &len) == 0)
        *got = ntohs(four.sin_port);
    return fd;
}

static int listen_un(int type, const char *path, const char *name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    socklen_t len = sizeof(at);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    if (path) {
        snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
    } else {
        memcpy(at.sun_path + 1, name, strlen(name));
        len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                          strlen(name));
    }
    assert_return_code(bind(fd, (struct sockaddr *)&at, len), errno);
    if (type == SOCK_STREAM)
        assert_return_code(listen(fd, 64), errno);
    return fd;
}

static void host_listen(void)
{
    snprintf(host.path, sizeof(host.path), "%s/host.sock", host.stack->dir);
    snprintf(host.name, sizeof(host.name), "podterm-cage-%d", (int)getpid());
    snprintf(host.dgram, sizeof(host.dgram), "podterm-cage-d-%d",
             (int)getpid());
    host.path_fd = listen_un(SOCK_STREAM, host.path, NULL);
    chmod(host.path, 0777);
    host.abstract_fd = listen_un(SOCK_STREAM, NULL, host.name);
    host.dgram_fd = listen_un(SOCK_DGRAM, NULL, host.dgram);
    host.tcp_fd = listen_on(AF_INET, 0, &host.tcp);
    assert_true(host.tcp_fd >= 0);
    host.tcp6_fd = listen_on(AF_INET6, host.tcp, NULL);
}

/* --- programs that run --- */

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

/* Both programs, below bin/. */
static void pack(struct stack_bundle *b)
{
    own_mem char *exe = program_path("../tests/hostile/hostile");
    own_mem char *archive = mem_printf("%s/hostile.tar.gz", host.stack->dir);
    own_mem char *command = mem_printf(
        "mkdir -p %s/src/bin && cp %s tests/hostile/hostile.py %s/src/bin && "
        "chmod -R a+rX,go-w %s/src && tar -C %s/src -czf %s .",
        host.stack->dir, exe, host.stack->dir, host.stack->dir, host.stack->dir,
        archive);

    assert_int_equal(system(command), 0);
    stack_take(host.stack, "hostile", archive, b);
}

/* What the programs are told, as words between these separators. */
static char *orders(const char *between, bool is_caged)
{
    const char *b = between;

    return mem_printf(
        "TCP=%d%sCONTROLLER=%d%sGATEWAY=%d%sTLS=%d%sHTTP=%d%sSOCKET=%s%s"
        "ABSTRACT=%s%sABSTRACT_DGRAM=%s%sSTATE=%s/state%sPID=%d%s%s",
        host.tcp, b, host.stack->port, b, host.stack->attach_port, b, world.tls,
        b, world.http, b, host.path, b, host.name, b, host.dgram, b,
        host.stack->dir, b, (int)getpid(), is_caged ? b : "",
        is_caged ? "CAGED=1" : "");
}

static void begin(const struct stack_bundle *b, const char *program,
                  const char *part, int agent, struct stack_session *out)
{
    own_mem char *words = orders("\",\"", true);
    own_mem char *more =
        mem_printf(",\"command\":[\"bin/%s\",\"%s\",\"%s\",\"AGENT=%d\"]",
                   program, words, part, agent);

    stack_create(host.stack, "ann", b, more, out);
}

static void begin_all(void)
{
    struct stack_bundle b, sleeper;
    struct direct agent;
    int port;

    stack_pack(host.stack, "sleeper", "sleep 1000", &sleeper);
    stack_create(host.stack, "ann", &sleeper, "", &host.first);
    direct_find(host.stack, host.first.sid, &agent);
    port = atoi(strrchr(agent.addr, ':') + 1);
    pack(&b);
    begin(&b, "hostile", "PART=0/1", port, &host.in_c);
    for (int i = 0; world.is_there && i < PARTS; i++) {
        own_mem char *part = mem_printf("PART=%d/%d", i, PARTS);

        begin(&b, "hostile.py", part, port, &host.in_python[i]);
    }
}

static int setup(void **arg)
{
    (void)arg;
    host.domains = mem_printf("--program-domains=ok.example:%d,ok.example:%d,"
                              "*.inside.example:%d",
                              world.tls, world.http, world.tls);
    host.flags[0] = "--egress=proxy";
    host.flags[1] = host.domains;
    host.flags[2] = "--";
    host.flags[3] = "--program-http";
    host.flags[4] = "--program-allow-cidrs=127.0.0.1/32";
    if (world.is_there)
        free(tree_get(world.log, &world.from));
    host.stack = stack_new(host.flags);
    host_listen();
    begin_all();
    wspeer_patience_ms = SILENCE_MS;
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    stack_session_fini(&host.first);
    stack_session_fini(&host.in_c);
    for (int i = 0; i < PARTS; i++)
        stack_session_fini(&host.in_python[i]);
    close(host.path_fd);
    close(host.abstract_fd);
    close(host.dgram_fd);
    close(host.tcp_fd);
    own_fd_release(&host.tcp6_fd);
    stack_free(host.stack);
    free(host.domains);
    return 0;
}

static void hear(struct stack_session *ss, struct said *s)
{
    struct stack_link l = {0};
    own_mem char *token =
        stack_token(host.stack, "ann", ss->sid, "owner", NULL);

    assert_non_null(token);
    if (!stack_attach(host.stack, &l, token, 0, 80, 24))
        fail_msg("%s: %s", l.error, l.said);
    while (!l.is_ended)
        assert_true(stack_pump(&l, said_take, s, true));
    if (l.exit_code != 0)
        fail_msg("it ended (%s, code %d): %s", l.reason, l.exit_code, s->text);
    while (stack_pump(&l, NULL, NULL, true))
        ;
    stack_cut(&l);
}

/* What the sessions' agents logged of their network: all of this stack. */
static char *egress_log(void)
{
    own_mem char *command = mem_printf(
        "grep -rh '\"ev\":\"egress\"' %s/state/log", host.stack->dir);
    struct said s = {0};
    char bytes[4096];
    size_t n;
    FILE *f = popen(command, "r");

    assert_non_null(f);
    said_take(&s, (const uint8_t *)"", 0);
    while ((n = fread(bytes, 1, sizeof(bytes), f)) > 0)
        said_take(&s, (const uint8_t *)bytes, n);
    pclose(f);
    return s.text;
}

static void keep_for_a_look(const char *name, const char *text)
{
    const char *dir = getenv("PODTERM_CAGE_KEEP");

    own_mem char *file = mem_printf("%s-%d", name, (int)geteuid());

    if (dir)
        tree_put(dir, file, text);
}

static void judge(const char *program, const struct said *s)
{
    own_mem char *log = egress_log();
    own_mem char *name = mem_printf("%s.log", program);
    struct cage_count n;

    keep_for_a_look(program, s->text);
    keep_for_a_look(name, log);
    n = cagejudge(README, program, CAGE_LOCAL, s->text, log);
    print_message("%s: %d refused, %d of them with a line in the log; %d have "
                  "nothing to try, %d are its right\n",
                  program, n.refused, n.logged, n.absent, n.through);
    assert_int_equal(n.wrong, 0);
    assert_true(n.refused >= TRIES_MIN);
}

static void what_is_written_in_c_is_refused(void **arg)
{
    struct said s = {0};

    (void)arg;
    hear(&host.in_c, &s);
    judge("hostile.c", &s);
    free(s.text);
}

static void what_is_written_in_python_is_refused(void **arg)
{
    struct said s = {0};

    (void)arg;
    if (!world.is_there)
        skipped("it needs root, for names of its own");
    for (int i = 0; i < PARTS; i++)
        hear(&host.in_python[i], &s);
    judge("hostile.py", &s);
    free(s.text);
}

/* Each name that was looked up was one of the list, and once a connection;
 * nothing that was smuggled arrived. */
static void nothing_of_it_reached_the_world(void **arg)
{
    static const char *const never[] = {
        "'GET /smuggled",  "'POST /smuggled", "-more",     "tunnel.example",
        "dns off.example", "by-tcp",          "malformed", "dns sub.",
        "dns not",         "c2VjcmV0"};

    (void)arg;
    if (!world.is_there)
        skipped("it needs root, for names of its own");
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
        if (world_said(never[i]))
            fail_msg("%s reached the world: see %s", never[i], world.log);
    /* two connections, and a look-up for each */
    assert_int_equal(world_count("dns rebind.inside.example A\n"), 2);
    assert_int_equal(world_count("dns 169-254-169-254.inside.example A\n"), 1);
    assert_true(world_said("allowed"));
}

/* --- outside of a cage --- */

static void run_outside(const char *program, const char *key, struct said *s)
{
    own_mem char *words = orders(" ", false);
    own_mem char *command = mem_printf(
        "HOME=%s/src HOLDER=%s exec %s/src/bin/%s %s KEY=3-behind:in-front-1-2-"
        " 7</dev/null",
        host.stack->dir, key, host.stack->dir, program, words);
    char *sh[] = {"sh", "-c", command, NULL};
    int out[2], fds[3];
    struct proc_spawn how = {.path = "/bin/sh",
                             .argv = sh,
                             .fds = fds,
                             .fd_count = 3,
                             .death_signal = SIGKILL};
    const int64_t until = loop_now_ms() + OUTSIDE_MS;
    struct err e = {0};
    pid_t pid;
    int fd;

    assert_return_code(pipe2(out, O_CLOEXEC), errno);
    fds[0] = -1;
    fds[1] = fds[2] = out[1];
    fd = proc_spawn(&how, &pid, &e);
    assert_true(fd >= 0);
    close(fd);
    close(out[1]);
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

static void expect_through(const struct said *s, const char *const *names)
{
    int bad = 0;

    for (; *names; names++)
        if (!cagejudge_through(s->text, *names)) {
            print_error("%s proves nothing: it is refused outside, too\n",
                        *names);
            bad++;
        }
    assert_int_equal(bad, 0);
}

static const char *const anybody[] = {"inherited_descriptors",
                                      "inet_udp",
                                      "inet_udp_flags",
                                      "high_bits_udp",
                                      "high_bits_udp_domain",
                                      "host_server",
                                      "host_server_zero",
                                      "host_server_mapped",
                                      "controller_port",
                                      "gateway_port",
                                      "udp_send_loopback",
                                      "unix_host",
                                      "unix_host_behind_self",
                                      "abstract_host",
                                      "abstract_sendto",
                                      "ptrace_me",
                                      "vm_read_self",
                                      "vm_write_self",
                                      "pidfd_getfd_self",
                                      "proc_others",
                                      "kill_host",
                                      "new_privileges",
                                      "unfiltered",
                                      "state",
                                      "read_var_lib",
                                      "read_sys",
                                      "key_environment",
                                      "key_environ_of_all",
                                      "key_memory",
                                      NULL};
static const char *const root_alone[] = {"read_shadow",
                                         "symlink_shadow",
                                         "symlink_dots",
                                         "symlink_tmp_shadow",
                                         "dots_shadow",
                                         "steps_shadow",
                                         "moved_directory",
                                         "proc_self_root",
                                         "create_usr",
                                         "create_etc",
                                         "create_run",
                                         "write_passwd",
                                         "bundle_write",
                                         "bundle_reopen",
                                         "bundle_reopen_path",
                                         "bundle_create",
                                         "bundle_chmod",
                                         "chown_root",
                                         "chown_other",
                                         "setuid",
                                         "setgid",
                                         "setfsuid",

                                         "proc_others_environ",
                                         "inet_raw_icmp",
                                         "kill_everybody",
                                         NULL};
static const char *const by_names[] = {"dns_look_up_on_list", "dns_tcp",
                                       "dns_udp", NULL};
static const char *const in_python[] = {"py_udp",
                                        "py_tcp_host",
                                        "py_tcp_name",
                                        "py_look_up_on_list",
                                        "py_dns_tcp",
                                        "py_without_proxy",
                                        "py_ptrace",
                                        "tool_curl",
                                        "py_without_proxy_address",
                                        NULL};

static void outside_of_a_cage_they_come_through(void **arg)
{
    static const char key[] = "in-front-1-2-3-behind";
    struct said c = {0}, python = {0};

    (void)arg;
    run_outside("hostile", key, &c);
    keep_for_a_look("outside.c", c.text);
    expect_through(&c, anybody);
    if (geteuid() == 0)
        expect_through(&c, root_alone);
    if (world.is_there)
        expect_through(&c, by_names);
    if (world.is_there && geteuid() == 0) { /* once is enough */
        run_outside("hostile.py", key, &python);
        keep_for_a_look("outside.py", python.text);
        expect_through(&python, in_python);
    }
    free(c.text);
    free(python.text);
}

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_in_c_is_refused),
        cmocka_unit_test(what_is_written_in_python_is_refused),
        cmocka_unit_test(nothing_of_it_reached_the_world),
        cmocka_unit_test(outside_of_a_cage_they_come_through),
    };

    return cmocka_run_group_tests_name("cage", tests, setup, teardown);
}

/* --- the same as an ordinary user --- */

static void all_of_it_holds_for_an_ordinary_user(void **arg)
{
    int status = -1;
    pid_t pid;

    (void)arg;
    world_hand_on();
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
            setresuid(NOBODY, NOBODY, NOBODY) < 0)
            _exit(99);
        unsetenv("TMPDIR"); /* may be root's alone */
        unsetenv("HOME");
        execl("/proc/self/exe", "test_cage", NULL);
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

    (void)argc;
    (void)argv;
    signal(SIGPIPE, SIG_IGN);
    if (world_handed())
        return run_all();
    world_make();
    failed = run_all();
    if (geteuid() == 0)
        failed += cmocka_run_group_tests_name("cage, as an ordinary user",
                                              ordinary, NULL, NULL);
    world_end();
    return failed;
}
