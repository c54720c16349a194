/*
 * A loop that is made to stand still. The shim here is hostile: it shares the
 * PTY master's description with the real agent and clears its O_NONBLOCK, so
 * that what was not to wait waits.
 */
#include "agent/stall.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "runner-image/shim.h"
#include "tests/lib/agentbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#define MS 20000
#define OUTPUT_BYTES 300 /* more than an echo: the agent reads on */

/* --- the timers themselves --- */

/* What becomes of a process that stands still like that. */
static int still(void (*stand)(void), int64_t nudge_ms, int64_t kill_ms)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        struct stall s;
        struct err e = {0};

        alarm(30);
        if (stall_start(&s, nudge_ms, kill_ms, &e) < 0)
            _exit(9);
        stand();
        stall_stop(&s);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void in_a_read(void)
{
    int ends[2];
    char c;

    if (pipe(ends) < 0)
        _exit(8);
    for (int i = 0; i < 3; i++) /* once is not all */
        if (read(ends[0], &c, 1) >= 0 || errno != EINTR)
            _exit(7);
}

static void for_ever(void)
{
    for (;;)
        pause(); /* what interrupts it does not end it */
}

static void stopped(void)
{
    raise(SIGSTOP);
}

static void a_call_that_waits_is_interrupted(void **state)
{
    (void)state;
    assert_int_equal(still(in_a_read, 50, 20000), 0);
}

static void what_stays_still_is_killed(void **state)
{
    int status;

    (void)state;
    status = still(for_ever, 50, 300);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    status = still(stopped, 50, 300);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void a_beat_keeps_both_away(void **state)
{
    struct stall s;
    struct err e = {0};

    (void)state;
    assert_int_equal(stall_start(&s, 2000, 4000, &e), 0);
    for (int64_t until = loop_now_ms() + 5000; loop_now_ms() < until;) {
        assert_int_equal(poll(NULL, 0, 50), 0); /* not interrupted */
        stall_beat(&s);
    }
    stall_stop(&s);
    stall_stop(&s); /* and again is fine */
}

/* --- a hostile shim --- */

static struct agentbox *box;
static int sock = -1, master = -1, slave = -1;

static int teardown(void **state)
{
    (void)state;
    close(sock);
    close(master);
    close(slave);
    agentbox_free(box);
    box = NULL;
    sock = master = slave = -1;
    return 0;
}

static void shim_dial(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    uint8_t msg[SHIM_LENGTH_BYTES + 1 + SHIM_HELLO_BYTES] = {
        0, 0, 0, 1 + SHIM_HELLO_BYTES, SHIM_HELLO, SHIM_VERSION, SHIM_WAITING};
    own_mem char *path = mem_printf("%s/ipc/" SHIM_COOKIE, box->dir);
    own_fd int cookie = open(path, O_RDONLY | O_CLOEXEC);

    assert_int_equal(
        read(cookie, msg + sizeof(msg) - SHIM_COOKIE_BYTES, SHIM_COOKIE_BYTES),
        SHIM_COOKIE_BYTES);
    snprintf(to.sun_path, sizeof(to.sun_path), "%.80s/ipc/" SHIM_SOCKET,
             box->dir);
    sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(connect(sock, (struct sockaddr *)&to, sizeof(to)),
                       errno);
    assert_int_equal(send(sock, msg, sizeof(msg), MSG_NOSIGNAL), sizeof(msg));
}

/* Wait for this message; its body is of no interest. */
static void shim_until(uint8_t type)
{
    uint8_t head[SHIM_LENGTH_BYTES + 1], rest[SHIM_MESSAGE_MAX];

    do {
        size_t len;

        assert_int_equal(recv(sock, head, sizeof(head), MSG_WAITALL),
                         sizeof(head));
        len = ((size_t)head[2] << 8 | head[3]) - 1;
        if (len)
            assert_int_equal(recv(sock, rest, len, MSG_WAITALL), len);
    } while (head[SHIM_LENGTH_BYTES] != type);
}

static void shim_started(void)
{
    uint8_t msg[] = {0, 0, 0, 7, SHIM_STARTED, 0, 0, 0, 2, 0, 0};
    struct iovec iov = {msg, sizeof(msg)};
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.room,
                       .msg_controllen = sizeof(control.room)};
    struct termios raw;

    master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    assert_return_code(unlockpt(master), errno);
    slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_return_code(tcgetattr(slave, &raw), errno);
    cfmakeraw(&raw);
    assert_return_code(tcsetattr(slave, TCSANOW, &raw), errno);
    control.align.cmsg_level = SOL_SOCKET;
    control.align.cmsg_type = SCM_RIGHTS;
    control.align.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.align), &master, sizeof(master));
    assert_int_equal(sendmsg(sock, &m, MSG_NOSIGNAL), sizeof(msg));
    assert_true(agentbox_status(box, "running", MS));
}

static void blocks(bool does)
{
    assert_return_code(fcntl(master, F_SETFL, O_RDWR | (does ? 0 : O_NONBLOCK)),
                       errno);
}

static struct agentlink *hostile_session(void)
{
    box = agentbox_new_alone("exit 0", NULL); /* the shim runs nothing */
    shim_dial();
    shim_until(SHIM_START);
    shim_started();
    return agentlink_new(box, ROLE_OWNER, -1);
}

/* Is the agent's main thread in this system call? */
static bool is_in(pid_t pid, long call)
{
    own_mem char *path = mem_printf("/proc/%d/syscall", (int)pid);
    own_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[64] = "";

    return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 &&
           strtol(text, NULL, 10) == call && text[0] != 'r';
}

/* The program's output, with which the agent finds itself blocked. */
static void output_then_block(pid_t agent)
{
    int64_t until = loop_now_ms() + MS;
    char bytes[OUTPUT_BYTES];

    memset(bytes, 'o', sizeof(bytes));
    blocks(true);
    assert_int_equal(write(slave, bytes, sizeof(bytes)), sizeof(bytes));
    while (!is_in(agent, SYS_read))
        if (loop_now_ms() > until)
            fail_msg("the agent does not block");
}

static void ends_as_lost(struct agentlink *l, pid_t agent)
{
    own_json struct json *report = NULL;

    agentlink_until(l, FRAME_EXIT, STALL_NUDGE_MS + MS);
    assert_string_equal(l->reason, "runner_lost");
    assert_non_null(strstr(l->detail, "block"));
    assert_int_equal(agentbox_main(box, 0), agent); /* not killed for it */
    agentlink_free(l);
    report = agentbox_ends(box, "runner_lost", MS);
}

static void a_read_that_blocks_ends_the_session(void **state)
{
    struct agentlink *l = hostile_session();
    pid_t agent = agentbox_main(box, 0);

    (void)state;
    if (geteuid() != 0)
        skip(); /* nobody else may look into it */
    output_then_block(agent);
    agentlink_until(l, FRAME_OUTPUT, MS);
    assert_int_equal(l->output, OUTPUT_BYTES); /* what was read is told */
    ends_as_lost(l, agent);
}

static void a_write_that_blocks_ends_the_session(void **state)
{
    struct agentlink *l = hostile_session();
    pid_t agent = agentbox_main(box, 0);
    own_mem char *typed = mem_zero(16384, 1);

    (void)state;
    memset(typed, 'i', 16384);
    blocks(true);
    agentlink_type(l, typed, 16384); /* nobody reads it */
    ends_as_lost(l, agent);
}

/* O_NONBLOCK is back before anybody looks: the loop must come out of the call
 * all the same, and the session goes on. */
static void a_loop_comes_out_of_a_call_that_waits(void **state)
{
    struct agentlink *l = hostile_session();
    pid_t agent = agentbox_main(box, 0);
    char bytes[16] = "";

    (void)state;
    if (geteuid() != 0)
        skip();
    output_then_block(agent);
    blocks(false);
    agentlink_ping(l, 7);
    agentlink_until(l, FRAME_PONG, STALL_NUDGE_MS + MS);
    agentlink_type(l, "typed", 5);
    assert_int_equal(read(slave, bytes, sizeof(bytes)), 5);
    assert_string_equal(bytes, "typed");
    assert_int_equal(write(slave, "on", 2), 2);
    agentlink_expect(l, "on", MS);
    assert_int_equal(l->output, OUTPUT_BYTES + 2);
    assert_int_equal(agentbox_main(box, 0), agent);
    agentlink_free(l);
}

/* --- the last resort --- */

static void an_agent_that_stands_still_is_replaced_and_loses_nothing(void **st)
{
    struct agentlink *l;
    pid_t before, now;

    (void)st;
    box = agentbox_new("stty raw -echo; echo up; read -r a; seq -s, 1 9999;"
                       "read -r b; echo \"=$b=\"; exit 3",
                       NULL);
    l = agentlink_new(box, ROLE_OWNER, -1);
    agentlink_expect(l, "up", MS);
    before = agentbox_main(box, 0);
    agentlink_type(l, "go\n", 3);
    agentlink_expect(l, ",5000,", MS);
    assert_int_equal(kill(before, SIGSTOP), 0);
    now = agentbox_main(box, before);
    assert_int_not_equal(now, before);
    agentlink_free(l);
    l = agentlink_new(box, ROLE_OWNER, 0);
    agentlink_expect(l, ",9999", MS);
    assert_non_null(strstr(l->text, "1,2,3,"));
    l->typed = l->input_acked;
    agentlink_says(l, "b\n");
    agentlink_until(l, FRAME_EXIT, MS);
    assert_int_equal(l->exit_code, 3);
    agentlink_free(l);
}

#define T(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_that_waits_is_interrupted),
        cmocka_unit_test(what_stays_still_is_killed),
        cmocka_unit_test(a_beat_keeps_both_away),
        T(a_read_that_blocks_ends_the_session),
        T(a_write_that_blocks_ends_the_session),
        T(a_loop_comes_out_of_a_call_that_waits),
        T(an_agent_that_stands_still_is_replaced_and_loses_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
