/* The real shim against an agent of the test's own: blocking sockets, one
 * shim at a time, as PID 1 of a PID namespace or bare. */
#include "runner-image/shim.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/vocab.h"
#include "tests/lib/programs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define SHIM_BYTES_LIMIT (100 * 1024)
#define PATIENCE_MS 5000

struct rig {
    char *dir;
    int listen_fd, sock_fd, master_fd;
    pid_t pid;     /* what we wait for: its exit code is the shim's */
    pid_t init;    /* the shim itself, seen from here; 0 when bare */
    uint8_t state; /* of the last HELLO */
    uint8_t body[1024];
    size_t body_len;
};

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void rig_listen(struct rig *r)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    snprintf(at.sun_path, sizeof(at.sun_path), "%.90s/%s", r->dir, SHIM_SOCKET);
    unlink(at.sun_path);
    r->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(bind(r->listen_fd, (void *)&at, sizeof(at)), errno);
    assert_return_code(chmod(at.sun_path, 0666), errno);
    assert_return_code(listen(r->listen_fd, 4), errno);
}

static void rig_cookie(struct rig *r)
{
    own_mem char *path = mem_printf("%s/%s", r->dir, SHIM_COOKIE);
    own_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    assert_int_equal(write(fd, "0123456789abcdef0123456789abcdef", 32), 32);
}

static int setup(void **state)
{
    struct rig *r = mem_zero(1, sizeof(*r));

    r->dir = scratch_new();
    r->listen_fd = r->sock_fd = r->master_fd = -1;
    rig_cookie(r);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;

    if (r->pid > 0) {
        if (r->init > 0)
            kill(r->init, SIGKILL);
        kill(r->pid, SIGKILL);
        waitpid(r->pid, NULL, 0);
    }
    close(r->listen_fd);
    close(r->sock_fd);
    close(r->master_fd);
    scratch_remove(r->dir);
    free(r);
    return 0;
}

/* Start the shim. is_init: as PID 1 of a namespace; the helper between us
 * and it writes the shim's pid, as we see it, into a pipe. */
static void rig_run(struct rig *r, bool is_init, const char *wait_ms)
{
    own_mem char *path = program_path("podterm-shim");
    const char *uid = is_init && getuid() ? "65534" : NULL;
    char own[16];
    int pair[2];
    pid_t child;
    int status = 0;

    snprintf(own, sizeof(own), "%u", (unsigned)getuid());
    assert_return_code(pipe(pair), errno);
    r->pid = fork();
    if (r->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (is_init &&
            unshare(CLONE_NEWPID | (getuid() ? CLONE_NEWUSER : 0)) < 0)
            _exit(77);
        child = is_init ? fork() : 0;
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            execl(path, path, r->dir, uid ? uid : own, wait_ms, NULL);
            _exit(78);
        }
        if (write(pair[1], &child, sizeof(child)) < 0)
            _exit(79);
        waitpid(child, &status, 0);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
    close(pair[1]);
    r->init = 0;
    if (is_init)
        assert_int_equal(read(pair[0], &r->init, sizeof(r->init)),
                         sizeof(r->init));
    close(pair[0]);
}

static int rig_end(struct rig *r)
{
    int status;

    assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
    r->pid = r->init = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void rig_read(struct rig *r, void *out, size_t len)
{
    for (size_t at = 0; at < len;) {
        struct iovec iov = {(char *)out + at, len - at};
        union {
            struct cmsghdr align;
            char room[CMSG_SPACE(sizeof(int))];
        } control = {0};
        struct msghdr msg = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = sizeof(control.room)};
        struct pollfd p = {r->sock_fd, POLLIN, 0};
        ssize_t n;

        if (poll(&p, 1, PATIENCE_MS) != 1)
            fail_msg("the shim says nothing");
        n = recvmsg(r->sock_fd, &msg, MSG_CMSG_CLOEXEC);
        if (n <= 0)
            fail_msg("the shim hung up");
        if (CMSG_FIRSTHDR(&msg)) {
            close(r->master_fd);
            memcpy(&r->master_fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
        }
        at += (size_t)n;
    }
}

/* The next message must be of that type. */
static void expect(struct rig *r, uint8_t type)
{
    uint8_t head[5];

    rig_read(r, head, sizeof(head));
    r->body_len = ((size_t)head[2] << 8 | head[3]) - 1;
    assert_true(r->body_len < sizeof(r->body));
    rig_read(r, r->body, r->body_len);
    assert_int_equal(head[4], type);
}

static void say(struct rig *r, uint8_t type, const void *body, size_t len)
{
    uint8_t head[5] = {0, (uint8_t)((len + 1) >> 16), (uint8_t)((len + 1) >> 8),
                       (uint8_t)(len + 1), type};

    assert_int_equal(send(r->sock_fd, head, 5, MSG_NOSIGNAL), 5);
    if (len)
        assert_int_equal(send(r->sock_fd, body, len, MSG_NOSIGNAL), len);
}

static void say_byte(struct rig *r, uint8_t type, uint8_t value)
{
    say(r, type, &value, 1);
}

static void rig_accept(struct rig *r)
{
    struct pollfd p = {r->listen_fd, POLLIN, 0};

    if (poll(&p, 1, PATIENCE_MS) != 1)
        fail_msg("the shim does not dial");
    close(r->sock_fd);
    r->sock_fd = accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_return_code(r->sock_fd, errno);
    expect(r, SHIM_HELLO);
    assert_int_equal(r->body_len, SHIM_HELLO_BYTES);
    assert_int_equal(r->body[0], SHIM_VERSION);
    assert_memory_equal(r->body + 7, "0123456789abcdef0123456789abcdef", 32);
    r->state = r->body[1];
    say(r, SHIM_HELLO_OK, NULL, 0);
}

static struct rig *ready(void **state, bool is_init)
{
    struct rig *r = *state;

    rig_listen(r);
    rig_run(r, is_init, NULL);
    rig_accept(r);
    return r;
}

static void put_str(struct buf *b, const char *text)
{
    buf_append_u32(b, (uint32_t)strlen(text));
    buf_append_str(b, text);
}

static void put_start(struct buf *b, uint8_t sandbox_version,
                      const struct shim_limits *l, const char *script)
{
    buf_init(b, SHIM_MESSAGE_MAX);
    buf_append_u16(b, 80);
    buf_append_u16(b, 24);
    buf_append_u8(b, sandbox_version);
    buf_append_u8(b, SHIM_ISOLATION_FULL);
    buf_append_u64(b, l->nproc);
    buf_append_u64(b, l->nofile);
    buf_append_u64(b, l->data_bytes);
    buf_append_u64(b, l->fsize_bytes);
    buf_append_u64(b, l->cpu_s);
    buf_append_u8(b, SHIM_NETWORK_VERSION);
    buf_append_u8(b, SHIM_EGRESS_NONE);
    put_str(b, "/tmp");
    buf_append_u16(b, 3);
    put_str(b, "sh"); /* looked up along PATH */
    put_str(b, "-c");
    put_str(b, script);
    buf_append_u16(b, 2);
    put_str(b, "PATH=/usr/bin:/bin");
    put_str(b, "COLOUR=blue");
}

static void start(struct rig *r, const char *script)
{
    static const struct shim_limits none = {0};
    struct buf b;

    put_start(&b, SHIM_SANDBOX_VERSION, &none, script);
    say(r, SHIM_START, b.data, b.len);
    buf_fini(&b);
    expect(r, SHIM_STARTED);
    assert_true(r->master_fd >= 0);
}

static void expect_exit(struct rig *r, uint8_t kind, uint8_t value)
{
    const uint8_t want[] = {kind, 0, 0, 0, value};

    expect(r, SHIM_EXITED);
    assert_memory_equal(r->body, want, sizeof(want));
}

/* Read the terminal to its end, or until it shows `upto`. */
static char *terminal(struct rig *r, const char *upto)
{
    char *out = mem_zero(8192, 1);
    int64_t until = now_ms() + PATIENCE_MS;
    size_t len = 0;

    while (now_ms() < until) {
        ssize_t n = read(r->master_fd, out + len, 8191 - len);

        if (n < 0 && errno == EIO && !upto)
            return out;
        if (n > 0)
            len += (size_t)n;
        else
            usleep(1000);
        if (upto && strstr(out, upto))
            return out;
    }
    fail_msg("the terminal shows only: %s", out);
    return out;
}

static char *run_to_end(struct rig *r, const char *script, uint8_t code)
{
    char *out;

    start(r, script);
    expect_exit(r, SHIM_END_CODE, code);
    out = terminal(r, NULL);
    say_byte(r, SHIM_LEAVE, 0);
    assert_int_equal(rig_end(r), 0);
    return out;
}

static bool is_gone(pid_t pid)
{
    int64_t until = now_ms() + PATIENCE_MS;

    while (kill(pid, 0) == 0 && now_ms() < until)
        usleep(1000);
    return kill(pid, 0) < 0 && errno == ESRCH;
}

/* A process by a mark in its command line; 0 when there is none. */
static pid_t find(const char *mark)
{
    own_mem char *cmd = mem_printf("pgrep -f '^%s$'", mark);
    FILE *f = popen(cmd, "r");
    int pid = 0;

    assert_non_null(f);
    if (fscanf(f, "%d", &pid) != 1)
        pid = 0;
    pclose(f);
    return pid;
}

/* --- what it is --- */

static void it_is_small_and_static(void **state)
{
    own_mem char *path = program_path("podterm-shim");
    own_mem char *cmd = mem_printf("readelf -l %s | grep -c INTERP", path);
    struct stat st;
    FILE *f;
    int n = -1;

    (void)state;
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size < SHIM_BYTES_LIMIT);
    f = popen(cmd, "r");
    assert_int_equal(fscanf(f, "%d", &n), 1);
    pclose(f);
    assert_int_equal(n, 0);
}

static void bad_arguments_are_told(void **state)
{
    own_mem char *path = program_path("podterm-shim");
    own_mem char *cmd = mem_printf("%s /tmp root 2>&1; %s /nowhere 1 2>&1; "
                                   "%s /tmp 1 -5 2>&1",
                                   path, path, path);
    FILE *f = popen(cmd, "r");
    char out[2048] = "";

    (void)state;
    assert_true(fread(out, 1, sizeof(out) - 1, f) > 0);
    pclose(f);
    assert_non_null(strstr(out, "the second a user id"));
    assert_non_null(strstr(out, "IPC_DIR cannot be entered"));
    assert_non_null(strstr(out, "AGENT_WAIT_MS"));
    assert_non_null(strstr(out, "usage: podterm-shim"));
}

/* --- the program's surroundings --- */

static void the_program_gets_exactly_its_surroundings(void **state)
{
    struct rig *r = ready(state, true);
    own_fd int stray = open("/etc/passwd", O_RDONLY); /* inheritable */
    own_mem char *out =
        run_to_end(r,
                   "echo fds: $(echo /proc/$$/fd/*); env | sort; pwd; "
                   "grep -E 'NoNewPrivs|SigBlk|SigIgn|SigCgt' "
                   "/proc/self/status | tr -d '\\t';"
                   "ulimit -c; tty < /dev/tty; stty -a | grep -o ' iutf8'",
                   0);

    (void)stray;
    assert_non_null(strstr(out, "COLOUR=blue\r\nPATH=/usr/bin:/bin\r\nPWD="));
    assert_non_null(strstr(out, "/tmp\r\n"));
    assert_non_null(strstr(out, "NoNewPrivs:1"));
    assert_non_null(strstr(out, "SigBlk:0000000000000000"));
    assert_non_null(strstr(out, "SigIgn:0000000000000000"));
    assert_non_null(strstr(out, "\r\n0\r\n"));
    assert_non_null(strstr(out, "iutf8"));
}

static void no_descriptor_is_inherited(void **state)
{
    struct rig *r = *state;
    own_fd int stray = -1;
    own_mem char *out = NULL;

    /* dup clears close-on-exec: the shim inherits number 40 */
    stray = dup2(STDERR_FILENO, 40);
    assert_int_equal(stray, 40);
    rig_listen(r);
    rig_run(r, false, NULL);
    rig_accept(r);
    out = run_to_end(r, "exec ls /proc/self/fd", 0);
    /* ls itself opens 3 to read the directory */
    assert_string_equal(out, "0  1  2  3\r\n");
}

static void limits_hold(void **state)
{
    struct rig *r = ready(state, true);
    const struct shim_limits l = {.nproc = 77,
                                  .nofile = 66,
                                  .data_bytes = 512 << 20,
                                  .fsize_bytes = 1 << 20,
                                  .cpu_s = 55};
    own_mem char *out = NULL;
    struct buf b;

    put_start(&b, SHIM_SANDBOX_VERSION, &l,
              "grep -E 'processes|open files|data|file size|cpu' "
              "/proc/self/limits | tr -s ' '");
    say(r, SHIM_START, b.data, b.len);
    buf_fini(&b);
    expect(r, SHIM_STARTED);
    expect_exit(r, SHIM_END_CODE, 0);
    out = terminal(r, NULL);
    assert_non_null(strstr(out, "Max processes 77 77"));
    assert_non_null(strstr(out, "Max open files 66 66"));
    assert_non_null(strstr(out, "Max data size 536870912 536870912"));
    assert_non_null(strstr(out, "Max file size 1048576 1048576"));
    assert_non_null(strstr(out, "Max cpu time 55 55"));
}

static void the_shim_is_not_dumpable(void **state)
{
    struct rig *r = *state;
    char path[64];
    struct stat st;

    if (getuid() == 0) {
        /* as another user, so that the owner of /proc/PID tells */
        assert_return_code(chown(r->dir, 65534, 65534), errno);
        rig_listen(r);
        r->pid = fork();
        if (r->pid == 0) {
            own_mem char *shim = program_path("podterm-shim");

            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (setresgid(65534, 65534, 65534) < 0 ||
                setresuid(65534, 65534, 65534) < 0)
                _exit(77);
            execl(shim, shim, r->dir, "0", NULL);
            _exit(78);
        }
    } else {
        rig_listen(r);
        rig_run(r, false, NULL);
    }
    rig_accept(r);
    snprintf(path, sizeof(path), "/proc/%d/environ", (int)r->pid);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_uid, 0);
    assert_int_not_equal(st.st_uid, getuid() ? getuid() : 65534);
    say_byte(r, SHIM_LEAVE, 3);
    assert_int_equal(rig_end(r), 3);
}

/* --- its life --- */

static void a_background_child_does_not_hold_the_terminal(void **state)
{
    struct rig *r = ready(state, true);
    own_mem char *out =
        run_to_end(r,
                   "trap '' HUP; (setsid sleep 4241 &) ; sleep 4242 & "
                   "echo last line; exit 9",
                   9);

    assert_string_equal(out, "last line\r\n");
    assert_int_equal(find("sleep 4241"), 0);
    assert_int_equal(find("sleep 4242"), 0);
}

static void bare_it_ends_double_forked_children_too(void **state)
{
    struct rig *r = ready(state, false);
    own_mem char *out = NULL;
    pid_t pid;

    start(r, "(setsid sh -c 'trap \"\" HUP TERM; sleep 4243' &); echo up; "
             "sleep 4244");
    out = terminal(r, "up");
    while ((pid = find("sleep 4243")) == 0)
        usleep(1000);
    say_byte(r, SHIM_LEAVE, 70);
    assert_int_equal(rig_end(r), 70);
    assert_true(is_gone(pid));
    assert_int_equal(find("sleep 4244"), 0);
}

static void output_stays_readable_after_the_shim_has_gone(void **state)
{
    struct rig *r = ready(state, true);
    own_mem char *out = NULL;

    start(r, "echo the very last words; exit 1");
    expect_exit(r, SHIM_END_CODE, 1);
    kill(r->init, SIGKILL);
    assert_int_equal(rig_end(r), 128 + SIGKILL);
    out = terminal(r, NULL);
    assert_string_equal(out, "the very last words\r\n");
}

static void orphans_are_reaped(void **state)
{
    struct rig *r = ready(state, true);
    own_mem char *out = NULL;
    own_mem char *cmd = NULL;
    FILE *f;
    int zombies = -1;

    start(r, "for i in 1 2 3 4 5; do (sh -c 'sleep 0.05' & ) ; done; "
             "sleep 0.3; echo all gone; sleep 4245");
    out = terminal(r, "all gone");
    cmd = mem_printf("ps -o stat= --ppid %d | grep -c Z", (int)r->init);
    f = popen(cmd, "r");
    assert_int_equal(fscanf(f, "%d", &zombies), 1);
    pclose(f);
    assert_int_equal(zombies, 0);
}

static void signals_reach_program_and_foreground(void **state)
{
    struct rig *r = ready(state, true);
    own_mem char *out = NULL;

    /* an interactive shell gives its foreground job a group of its own */
    start(r, "trap 'echo shell got it' USR1; set -m; "
             "sh -c 'trap \"echo job got it; exit\" USR1; echo set; "
             "while :; do sleep 0.01; done'; echo after; sleep 4246");
    free(terminal(r, "set"));
    say_byte(r, SHIM_SIGNAL, SIGUSR1);
    out = terminal(r, "after");
    assert_non_null(strstr(out, "job got it"));
    assert_non_null(strstr(out, "shell got it"));
    say_byte(r, SHIM_SIGNAL, SIGKILL);
    expect_exit(r, SHIM_END_SIGNAL, SIGKILL);
}

static void sigterm_from_the_program_is_ignored(void **state)
{
    struct rig *r = ready(state, true);
    own_mem char *out = run_to_end(
        r, "kill -TERM 1; kill -KILL 1; kill -STOP 1; sleep 0.1; echo lives",
        0);

    assert_string_equal(out, "lives\r\n");
}

/* rt_sigqueueinfo(2) lets its caller say who sent the signal: nobody inside. */
static void sigterm_that_the_program_forges_is_ignored(void **state)
{
    struct rig *r = ready(state, true);
    own_mem char *out = run_to_end(
        r,
        "python3 -c 'import ctypes, struct\n"
        "for code in -1, -2, -60:\n"
        "    info = struct.pack(\"6i\", 15, 0, code, 0, 0, 0) + bytes(104)\n"
        "    print(ctypes.CDLL(None).syscall(129, 1, 15, info))'; "
        "sleep 0.2; echo lives",
        0);

    assert_string_equal(out, "0\r\n0\r\n0\r\nlives\r\n");
}

static void sigterm_from_outside_leaves_with_72_in_a_second(void **state)
{
    struct rig *r = ready(state, true);
    int64_t from;

    start(r, "trap '' TERM HUP; sleep 4247");
    from = now_ms();
    kill(r->init, SIGTERM);
    expect(r, SHIM_STOPPING);
    assert_int_equal(rig_end(r), LEAVE_STOPPED);
    assert_true(now_ms() - from < 1000);
    assert_int_equal(find("sleep 4247"), 0);
}

static void bare_sigterm_leaves_with_72_and_nothing_left(void **state)
{
    struct rig *r = ready(state, false);

    start(r, "trap '' TERM HUP; sleep 4248");
    kill(r->pid, SIGTERM);
    expect(r, SHIM_STOPPING);
    assert_int_equal(rig_end(r), LEAVE_STOPPED);
    assert_int_equal(find("sleep 4248"), 0);
}

static void without_an_agent_it_leaves_with_71(void **state)
{
    struct rig *r = *state;
    int64_t from = now_ms();

    rig_run(r, true, "300");
    assert_int_equal(rig_end(r), LEAVE_NO_AGENT);
    assert_true(now_ms() - from >= 300);
    assert_true(now_ms() - from < 3000);
}

static void an_agent_lost_for_too_long_ends_the_program(void **state)
{
    struct rig *r = *state;

    rig_listen(r);
    rig_run(r, true, "400");
    rig_accept(r);
    start(r, "sleep 4249");
    close(r->listen_fd);
    close(r->sock_fd);
    r->listen_fd = r->sock_fd = -1;
    assert_int_equal(rig_end(r), LEAVE_NO_AGENT);
    assert_int_equal(find("sleep 4249"), 0);
}

static void a_lost_agent_gets_the_terminal_again(void **state)
{
    struct rig *r = ready(state, true);
    own_mem char *out = NULL;

    start(r, "echo one; read x; echo two; exit 4");
    free(terminal(r, "one"));
    close(r->master_fd);
    r->master_fd = -1;
    for (int i = 0; i < 5; i++) {
        close(r->sock_fd);
        r->sock_fd = -1;
        rig_accept(r);
        assert_int_equal(r->state, SHIM_RUNNING);
        expect(r, SHIM_STARTED);
    }
    assert_int_equal(write(r->master_fd, "\n", 1), 1);
    expect_exit(r, SHIM_END_CODE, 4);
    close(r->sock_fd);
    r->sock_fd = -1;
    rig_accept(r);
    assert_int_equal(r->state, SHIM_ENDED);
    assert_int_equal(r->body[1], SHIM_ENDED);
    expect(r, SHIM_STARTED);
    expect_exit(r, SHIM_END_CODE, 4);
    out = terminal(r, NULL);
    assert_non_null(strstr(out, "two"));
}

/* --- whom it trusts --- */

static void it_says_nothing_to_a_listener_of_its_own_namespace(void **state)
{
    struct rig *r = ready(state, true);
    own_mem char *script = NULL, *out = NULL;

    /* The agent goes; the program, which may write to the directory here,
     * listens in its place and shows what it hears. */
    script = mem_printf(
        "cd %s; rm -f shim.sock; echo ready; "
        "timeout 1 python3 -c \"\n"
        "import socket\n"
        "s=socket.socket(socket.AF_UNIX); s.bind('shim.sock'); s.listen(9)\n"
        "c,_=s.accept(); print('dialled'); d=c.recv(99); "
        "print('heard',len(d))\"; echo done",
        r->dir);
    start(r, script);
    free(terminal(r, "ready"));
    close(r->listen_fd);
    close(r->sock_fd);
    r->listen_fd = r->sock_fd = -1;
    out = terminal(r, "done");
    assert_non_null(strstr(out, "dialled"));
    assert_non_null(strstr(out, "heard 0"));
}

static void it_says_nothing_to_another_user(void **state)
{
    struct rig *r = *state;
    struct pollfd p;
    own_fd int fd = -1;
    char c;

    if (getuid() != 0)
        skip();
    assert_return_code(chmod(r->dir, 0777), errno);
    assert_return_code(seteuid(65533), errno);
    rig_listen(r);
    assert_int_equal(seteuid(0), 0);
    rig_run(r, true, "500");
    p = (struct pollfd){r->listen_fd, POLLIN, 0};
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    fd = accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_int_equal(recv(fd, &c, 1, 0), 0);
    assert_int_equal(rig_end(r), LEAVE_NO_AGENT);
}

static void a_second_start_is_refused(void **state)
{
    struct rig *r = ready(state, true);
    static const struct shim_limits none = {0};
    struct buf b;

    start(r, "sleep 4250");
    put_start(&b, SHIM_SANDBOX_VERSION, &none, "echo second");
    say(r, SHIM_START, b.data, b.len);
    buf_fini(&b);
    expect(r, SHIM_FAILED);
    assert_int_equal(r->body[3], EALREADY);
    say_byte(r, SHIM_SIGNAL, SIGKILL);
    expect_exit(r, SHIM_END_SIGNAL, SIGKILL);
}

static void a_sandbox_it_does_not_know_is_refused(void **state)
{
    struct rig *r = ready(state, true);
    static const struct shim_limits none = {0};
    struct buf b;

    put_start(&b, SHIM_SANDBOX_VERSION + 1, &none, "echo loose");
    say(r, SHIM_START, b.data, b.len);
    buf_fini(&b);
    expect(r, SHIM_FAILED);
    assert_int_equal(r->body[3], ENOTSUP);
}

static void every_cut_of_a_start_leaves_with_74(void **state)
{
    struct rig *r = *state;
    static const struct shim_limits none = {0};
    struct buf b;

    put_start(&b, SHIM_SANDBOX_VERSION, &none, "echo never");
    rig_listen(r);
    for (size_t len = 0; len < b.len; len += 3) {
        rig_run(r, false, NULL);
        rig_accept(r);
        say(r, SHIM_START, b.data, len);
        assert_int_equal(rig_end(r), LEAVE_PROTOCOL);
    }
    buf_fini(&b);
}

static void broken_messages_leave_with_74(void **state)
{
    static const struct {
        uint8_t bytes[8];
        size_t len;
    } bad[] = {
        {{0, 0, 0, 0}, 4},                     /* empty */
        {{0, 1, 0, 1}, 4},                     /* 65537 bytes */
        {{0xff, 0xff, 0xff, 0xff}, 4},         /* 4 GiB */
        {{0, 0, 0, 1, SHIM_STARTED}, 5},       /* our own type */
        {{0, 0, 0, 1, SHIM_HELLO_OK}, 5},      /* a second one */
        {{0, 0, 0, 1, SHIM_LEAVE}, 5},         /* no code */
        {{0, 0, 0, 2, SHIM_SIGNAL, 0}, 6},     /* no signal */
        {{0, 0, 0, 2, SHIM_SIGNAL, 64}, 6},    /* real-time */
        {{0, 0, 0, 2, SHIM_BYTES_DOWN, 1}, 6}, /* reserved */
        {{0, 0, 0, 3, SHIM_SIGNAL, 2, 2}, 7},  /* too long */
    };
    struct rig *r = *state;

    rig_listen(r);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        rig_run(r, false, NULL);
        rig_accept(r);
        assert_int_equal(
            send(r->sock_fd, bad[i].bytes, bad[i].len, MSG_NOSIGNAL),
            bad[i].len);
        assert_int_equal(rig_end(r), LEAVE_PROTOCOL);
    }
}

static void a_start_may_fill_a_whole_message(void **state)
{
    struct rig *r = ready(state, true);
    static const struct shim_limits none = {0};
    own_mem char *pad = mem_zero(SHIM_MESSAGE_MAX, 1);
    struct buf b;

    put_start(&b, SHIM_SANDBOX_VERSION, &none, "echo ${#PAD}");
    b.data[b.len - 4 - 11 - 4 - 18 - 1] = 3; /* three variables */
    memset(pad, 'x', SHIM_MESSAGE_MAX - 1 - b.len - 4);
    memcpy(pad, "PAD=", 4);
    put_str(&b, pad);
    assert_int_equal(b.len, SHIM_MESSAGE_MAX - 1);
    say(r, SHIM_START, b.data, b.len);
    buf_fini(&b);
    expect(r, SHIM_STARTED);
    expect_exit(r, SHIM_END_CODE, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(it_is_small_and_static),
        T(bad_arguments_are_told),
        T(the_program_gets_exactly_its_surroundings),
        T(no_descriptor_is_inherited),
        T(limits_hold),
        T(the_shim_is_not_dumpable),
        T(a_background_child_does_not_hold_the_terminal),
        T(bare_it_ends_double_forked_children_too),
        T(output_stays_readable_after_the_shim_has_gone),
        T(orphans_are_reaped),
        T(signals_reach_program_and_foreground),
        T(sigterm_from_the_program_is_ignored),
        T(sigterm_that_the_program_forges_is_ignored),
        T(sigterm_from_outside_leaves_with_72_in_a_second),
        T(bare_sigterm_leaves_with_72_and_nothing_left),
        T(without_an_agent_it_leaves_with_71),
        T(an_agent_lost_for_too_long_ends_the_program),
        T(a_lost_agent_gets_the_terminal_again),
        T(it_says_nothing_to_a_listener_of_its_own_namespace),
        T(it_says_nothing_to_another_user),
        T(a_second_start_is_refused),
        T(a_sandbox_it_does_not_know_is_refused),
        T(every_cut_of_a_start_leaves_with_74),
        T(broken_messages_leave_with_74),
        T(a_start_may_fill_a_whole_message),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
