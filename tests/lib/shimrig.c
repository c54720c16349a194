#include "tests/lib/shimrig.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/passed.h"
#include "tests/lib/programs.h"
#include "tests/lib/startbytes.h"

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
#include <unistd.h>
#include <cmocka.h>

void rig_listen(struct rig *r)
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

int rig_setup(void **state)
{
    struct rig *r = mem_zero(1, sizeof(*r));

    r->dir = scratch_new();
    r->listen_fd = r->sock_fd = r->master_fd = -1;
    rig_cookie(r);
    *state = r;
    return 0;
}

int rig_teardown(void **state)
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

void rig_run(struct rig *r, bool is_init, const char *wait_ms)
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

int rig_end(struct rig *r)
{
    int status;

    assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
    r->pid = r->init = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void rig_read(struct rig *r, void *out, size_t len)
{
    for (size_t at = 0; at < len;) {
        struct pollfd p = {r->sock_fd, POLLIN, 0};
        ssize_t n;

        if (poll(&p, 1, PATIENCE_MS) != 1)
            fail_msg("the shim says nothing");
        n = passed_recv(r->sock_fd, (char *)out + at, len - at, &r->master_fd);
        if (n <= 0)
            fail_msg("the shim hung up");
        at += (size_t)n;
    }
}

void rig_expect(struct rig *r, uint8_t type)
{
    uint8_t head[5];

    rig_read(r, head, sizeof(head));
    r->body_len = ((size_t)head[2] << 8 | head[3]) - 1;
    assert_true(r->body_len < sizeof(r->body));
    rig_read(r, r->body, r->body_len);
    assert_int_equal(head[4], type);
}

void rig_say(struct rig *r, uint8_t type, const void *body, size_t len)
{
    uint8_t head[5] = {0, (uint8_t)((len + 1) >> 16), (uint8_t)((len + 1) >> 8),
                       (uint8_t)(len + 1), type};

    assert_int_equal(send(r->sock_fd, head, 5, MSG_NOSIGNAL), 5);
    if (len)
        assert_int_equal(send(r->sock_fd, body, len, MSG_NOSIGNAL), len);
}

void rig_say_byte(struct rig *r, uint8_t type, uint8_t value)
{
    rig_say(r, type, &value, 1);
}

void rig_accept(struct rig *r)
{
    struct pollfd p = {r->listen_fd, POLLIN, 0};

    if (poll(&p, 1, PATIENCE_MS) != 1)
        fail_msg("the shim does not dial");
    close(r->sock_fd);
    r->sock_fd = accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_return_code(r->sock_fd, errno);
    rig_expect(r, SHIM_HELLO);
    assert_int_equal(r->body_len, SHIM_HELLO_BYTES);
    assert_int_equal(r->body[0], SHIM_VERSION);
    assert_memory_equal(r->body + 7, "0123456789abcdef0123456789abcdef", 32);
    r->state = r->body[1];
    rig_say(r, SHIM_HELLO_OK, NULL, 0);
}

struct rig *rig_ready(void **state, bool is_init)
{
    struct rig *r = *state;

    rig_listen(r);
    rig_run(r, is_init, NULL);
    rig_accept(r);
    return r;
}

void rig_put_str(struct buf *b, const char *text)
{
    buf_append_u32(b, (uint32_t)strlen(text));
    buf_append_str(b, text);
}

void rig_put_start(struct buf *b, uint8_t sandbox_version,
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
    start_put_no_cage(b);
    start_put_no_network(b);
    rig_put_str(b, "/tmp");
    buf_append_u16(b, 3);
    rig_put_str(b, "sh"); /* looked up along PATH */
    rig_put_str(b, "-c");
    rig_put_str(b, script);
    buf_append_u16(b, 2);
    rig_put_str(b, "PATH=/usr/bin:/bin");
    rig_put_str(b, "COLOUR=blue");
}

void rig_start(struct rig *r, const char *script)
{
    static const struct shim_limits none = {0};
    struct buf b;

    rig_put_start(&b, SHIM_SANDBOX_VERSION, &none, script);
    rig_say(r, SHIM_START, b.data, b.len);
    buf_fini(&b);
    rig_expect(r, SHIM_STARTED);
    assert_true(r->master_fd >= 0);
}

void rig_expect_exit(struct rig *r, uint8_t kind, uint8_t value)
{
    const uint8_t want[] = {kind, 0, 0, 0, value};

    rig_expect(r, SHIM_EXITED);
    assert_memory_equal(r->body, want, sizeof(want));
}

char *rig_terminal(struct rig *r, const char *upto)
{
    char *out = mem_zero(8192, 1);
    int64_t until = loop_now_ms() + PATIENCE_MS;
    size_t len = 0;

    while (loop_now_ms() < until) {
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

char *rig_run_to_end(struct rig *r, const char *script, uint8_t code)
{
    char *out;

    rig_start(r, script);
    rig_expect_exit(r, SHIM_END_CODE, code);
    out = rig_terminal(r, NULL);
    rig_say_byte(r, SHIM_LEAVE, 0);
    assert_int_equal(rig_end(r), 0);
    return out;
}
