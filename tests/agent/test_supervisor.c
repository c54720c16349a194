/*
 * The supervisor over real processes. This binary is its own main process
 * when called with --main: what it then does stands in its first argument,
 * what it saw goes into files of the directory in its second.
 */
#include "agent/supervisor.h"

#include "base/json.h"
#include "base/loop.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/ws.h"
#include "tests/lib/programs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 20000
#define KEY "0123456789abcdef0123456789ABCDEF"

/* --- the main process --- */

static void note(const char *dir, const char *name, const char *text)
{
    own_mem char *path = mem_printf("%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        _exit(90);
    close(fd);
}

/* One letter for each open descriptor below 64. */
static void note_fds(const char *dir)
{
    char text[128] = "";

    for (int fd = 0; fd < 64; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%d ",
                     fd);
    note(dir, "fds", text);
}

static const char *term_dir;
static int term_status;

static void on_term(int signum)
{
    (void)signum;
    if (term_status < 0)
        kill(getpid(), SIGKILL);
    note(term_dir, "term", "x");
    _exit(term_status);
}

/* Answer each connection with the key and our pid. */
static void main_serve(const char *dir)
{
    struct pollfd p = {.fd = 4, .events = POLLIN};
    char key[33] = "", text[80];

    if (pread(3, key, 32, 0) != 32)
        _exit(91);
    note_fds(dir);
    note(dir, "ready", "x");
    for (;;) {
        int fd;

        if (poll(&p, 1, -1) <= 0)
            continue;
        fd = accept4(4, NULL, NULL, SOCK_CLOEXEC);
        snprintf(text, sizeof(text), "%s %d\n", key, (int)getpid());
        if (fd >= 0 && write(fd, text, strlen(text)) < 0)
            _exit(92);
        close(fd);
    }
}

/* A process whose parent goes away before it does. */
static void main_orphan(const char *dir)
{
    char text[32];
    pid_t pid = fork();

    if (pid == 0) {
        pid = fork();
        if (pid == 0) {
            usleep(100000);
            _exit(0);
        }
        snprintf(text, sizeof(text), "%d", (int)pid);
        note(dir, "orphan", text);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
}

static int main_process(int argc, char **argv)
{
    const char *what = argv[1];

    term_dir = argv[2];
    note(term_dir, "starts", "x");
    for (int i = 3; i < argc; i++) {
        note(term_dir, "argv", argv[i]);
        note(term_dir, "argv", " ");
    }
    if (strcmp(what, "exit7") == 0)
        _exit(7);
    if (strcmp(what, "die") == 0)
        kill(getpid(), SIGKILL);
    if (strcmp(what, "orphan") == 0)
        main_orphan(term_dir);
    term_status = strcmp(what, "term-dies") == 0 ? -1 : 0;
    signal(SIGTERM, on_term);
    main_serve(term_dir);
    return 0;
}

/* --- the supervisor, in a child of the test --- */

struct bench {
    char *dir, *report;
    int key_fd, listen_fd, health_fd, broker_fd, port;
    pid_t pid;
};

static int setup(void **arg)
{
    struct bench *b = mem_zero(1, sizeof(*b));
    struct sockaddr_in at;
    socklen_t len = sizeof(at);
    struct err e = {0};

    b->dir = scratch_new();
    b->report = mem_printf("%s/end.json", b->dir);
    b->key_fd = memfd_create("key", MFD_CLOEXEC);
    assert_int_equal(write(b->key_fd, KEY, 32), 32);
    b->listen_fd = listen_tcp("127.0.0.1:0", false, &e);
    assert_true(b->listen_fd >= 0);
    assert_int_equal(getsockname(b->listen_fd, (struct sockaddr *)&at, &len),
                     0);
    b->port = ntohs(at.sin_port);
    b->health_fd = b->broker_fd = -1;
    *arg = b;
    return 0;
}

static int teardown(void **arg)
{
    struct bench *b = *arg;

    if (b->pid > 0) {
        kill(b->pid, SIGKILL);
        waitpid(b->pid, NULL, 0);
    }
    close(b->key_fd);
    close(b->listen_fd);
    if (b->health_fd >= 0)
        close(b->health_fd);
    if (b->broker_fd >= 0)
        close(b->broker_fd);
    scratch_remove(b->dir);
    free(b->report);
    free(b);
    return 0;
}

static void supervise(struct bench *b, const char *what)
{
    char *argv[] = {(char *)"podterm-agent", (char *)what, b->dir, NULL};
    struct supervisor_conf conf = {.argv = argv,
                                   .argc = 3,
                                   .key_fd = b->key_fd,
                                   .listen_fd = b->listen_fd,
                                   .health_fd = b->health_fd,
                                   .broker_fd = b->broker_fd,
                                   .report_path = b->report};

    b->pid = fork();
    if (b->pid == 0) {
        struct err e = {0};
        int r;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        log_init("agent", "error");
        log_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
        r = supervisor_run(&conf, &e);
        _exit(r < 0 ? 99 : r);
    }
}

/* Its wait status; fails when it does not end. */
static int ended(struct bench *b)
{
    int status;

    for (int i = 0; i < PATIENCE_MS; i++) {
        if (waitpid(b->pid, &status, WNOHANG) == b->pid) {
            b->pid = 0;
            return status;
        }
        usleep(1000);
    }
    fail_msg("the supervisor goes on");
    return -1;
}

static const char *noted(const struct bench *b, const char *name)
{
    own_mem char *path = mem_printf("%s/%s", b->dir, name);
    own_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    static char text[4096];
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

    text[n < 0 ? 0 : n] = 0;
    return text;
}

/* Until a file holds len bytes. */
static void until_noted(const struct bench *b, const char *name, size_t len)
{
    for (int i = 0; i < PATIENCE_MS && strlen(noted(b, name)) < len; i++)
        usleep(1000);
    assert_true(strlen(noted(b, name)) >= len);
}

/* Dial; the pid of the main process that answers, which has the key. */
static pid_t served(const struct bench *b)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)b->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    own_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval wait = {.tv_sec = PATIENCE_MS / 1000};
    char text[80] = "";
    int pid = 0;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    assert_return_code(connect(fd, (struct sockaddr *)&at, sizeof(at)), errno);
    assert_true(recv(fd, text, sizeof(text) - 1, MSG_WAITALL) > 33);
    assert_memory_equal(text, KEY " ", 33);
    assert_int_equal(sscanf(text + 33, "%d", &pid), 1);
    return pid;
}

static bool is_alive(pid_t pid)
{
    own_mem char *path = mem_printf("/proc/%d/stat", (int)pid);
    own_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[256] = "";

    if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
        return false;
    return !strstr(text, ") Z ");
}

static void until_gone(pid_t pid)
{
    for (int i = 0; i < PATIENCE_MS && is_alive(pid); i++)
        usleep(1000);
    assert_false(is_alive(pid));
}

static struct json *report_of(const struct bench *b)
{
    const char *text = noted(b, "end.json");
    struct err e = {0};
    struct json *j = json_parse(text, strlen(text), &e);

    if (!j)
        fail_msg("\"%s\": %s", text, e.text);
    return j;
}

static void assert_lost(const struct bench *b, const char *why)
{
    own_json struct json *j = report_of(b);

    assert_string_equal(json_get_str(j, "reason"), "runner_lost");
    assert_non_null(strstr(json_get_str(j, "detail"), why));
}

/* --- the tests --- */

static void an_exit_is_final_and_its_status_passed_on(void **arg)
{
    struct bench *b = *arg;

    supervise(b, "exit7");
    assert_int_equal(ended(b), 7 << 8);
    assert_string_equal(noted(b, "starts"), "x");
    assert_string_equal(noted(b, "argv"), "--main --key-fd 3 --listen-fd 4 ");
    /* who exits has written its own report */
    assert_int_equal(access(b->report, F_OK), -1);
}

static void main_has_key_and_listener_and_nothing_else(void **arg)
{
    struct bench *b = *arg;
    own_fd int stray = open("/dev/null", O_RDONLY); /* inheritable */

    supervise(b, "serve");
    assert_true(served(b) > 0);
    assert_string_equal(noted(b, "fds"), "0 1 2 3 4 ");
}

static void the_health_socket_goes_along(void **arg)
{
    struct bench *b = *arg;
    struct err e = {0};

    b->health_fd = listen_tcp("127.0.0.1:0", false, &e);
    supervise(b, "serve");
    assert_true(served(b) > 0);
    assert_string_equal(noted(b, "fds"), "0 1 2 3 4 5 ");
    assert_string_equal(noted(b, "argv"), "--main --key-fd 3 --listen-fd 4 "
                                          "--health-fd 5 ");
}

static void the_keys_of_apis_go_along(void **arg)
{
    struct bench *b = *arg;

    b->broker_fd = memfd_create("keys", MFD_CLOEXEC);
    supervise(b, "serve");
    assert_true(served(b) > 0);
    assert_string_equal(noted(b, "fds"), "0 1 2 3 4 6 ");
    assert_string_equal(noted(b, "argv"), "--main --key-fd 3 --listen-fd 4 "
                                          "--broker-fd 6 ");
}

static void a_killed_main_is_back_at_once_on_the_same_port(void **arg)
{
    struct bench *b = *arg;
    pid_t before, now;
    int64_t at_ms;

    supervise(b, "serve");
    before = served(b);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kill(before, SIGKILL), 0);
        at_ms = loop_now_ms();
        now = served(b); /* waits in the backlog, is not refused */
        assert_true(loop_now_ms() - at_ms < 5000);
        assert_int_not_equal(now, before);
        before = now;
    }
    assert_int_equal(strlen(noted(b, "starts")), 4);
    assert_int_equal(access(b->report, F_OK), -1);
}

static void what_dies_for_ever_is_given_up_and_reported(void **arg)
{
    struct bench *b = *arg;

    supervise(b, "die");
    assert_int_equal(ended(b), EXIT_FAILURE << 8);
    assert_int_equal(strlen(noted(b, "starts")), SUPERVISOR_RESTARTS_MAX);
    assert_lost(b, "killed 20 times in 10 s");
}

static void a_report_that_is_there_stands(void **arg)
{
    struct bench *b = *arg;
    own_json struct json *j = NULL;

    note(b->dir, "end.json", "{\"v\":1,\"reason\":\"exited\"}");
    supervise(b, "die");
    assert_int_equal(ended(b), EXIT_FAILURE << 8);
    j = report_of(b);
    assert_string_equal(json_get_str(j, "reason"), "exited");
}

static void a_signal_to_stop_goes_to_main(void **arg)
{
    static const int signums[] = {SIGTERM, SIGINT};
    struct bench *b = *arg;

    for (size_t i = 0; i < sizeof(signums) / sizeof(signums[0]); i++) {
        supervise(b, "serve");
        until_noted(b, "ready", i + 1);
        assert_int_equal(kill(b->pid, signums[i]), 0);
        assert_int_equal(ended(b), 0);
        assert_int_equal(strlen(noted(b, "term")), i + 1);
    }
    assert_int_equal(strlen(noted(b, "starts")), 2);
}

static void a_main_killed_while_it_stops_is_reported(void **arg)
{
    struct bench *b = *arg;

    supervise(b, "term-dies");
    until_noted(b, "ready", 1);
    assert_int_equal(kill(b->pid, SIGTERM), 0);
    assert_int_equal(ended(b), EXIT_FAILURE << 8);
    assert_string_equal(noted(b, "starts"), "x"); /* and not started again */
    assert_lost(b, "while it stopped");
}

static void main_does_not_outlive_its_supervisor(void **arg)
{
    struct bench *b = *arg;
    pid_t pid;

    supervise(b, "serve");
    pid = served(b);
    assert_true(is_alive(pid));
    assert_int_equal(kill(b->pid, SIGKILL), 0);
    assert_true(WIFSIGNALED(ended(b)));
    until_gone(pid);
}

static void orphans_are_reaped(void **arg)
{
    struct bench *b = *arg;
    int pid = 0;

    supervise(b, "orphan");
    until_noted(b, "ready", 1);
    assert_int_equal(sscanf(noted(b, "orphan"), "%d", &pid), 1);
    for (int i = 0; i < PATIENCE_MS && kill(pid, 0) == 0; i++)
        usleep(1000);
    assert_int_equal(kill(pid, 0), -1); /* not even as a zombie */
    assert_true(served(b) > 0);         /* and main goes on */
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(an_exit_is_final_and_its_status_passed_on),
        T(main_has_key_and_listener_and_nothing_else),
        T(the_health_socket_goes_along),
        T(the_keys_of_apis_go_along),
        T(a_killed_main_is_back_at_once_on_the_same_port),
        T(what_dies_for_ever_is_given_up_and_reported),
        T(a_report_that_is_there_stands),
        T(a_signal_to_stop_goes_to_main),
        T(a_main_killed_while_it_stops_is_reported),
        T(main_does_not_outlive_its_supervisor),
        T(orphans_are_reaped),
    };

    for (int i = 3; i < argc; i++)
        if (strcmp(argv[i], "--main") == 0)
            return main_process(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
