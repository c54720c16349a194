/* The terminal between a real PTY and a state file. */
#include "agent/terminal.h"

#include "base/loop.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#define INPUT_BYTES 65536

struct fixture {
    char dir[64], path[96];
    struct loop *loop;
    struct state state;
    struct terminal *t;
    int slave_fd;
    int outputs, inputs, ends;
    bool is_endless; /* endless_fd is filled again whenever it was read */
    int endless_fd;
};

static void on_output(void *arg)
{
    static const char bytes[1024];
    struct fixture *f = arg;

    f->outputs++;
    while (f->is_endless && write(f->endless_fd, bytes, sizeof(bytes)) > 0)
        ;
}

static void on_input(void *arg)
{
    ((struct fixture *)arg)->inputs++;
}

static void on_ended(void *arg)
{
    ((struct fixture *)arg)->ends++;
}

static const struct terminal_verbs verbs = {on_output, on_input, on_ended};

static int setup(void **arg)
{
    struct fixture *f = mem_zero(1, sizeof(*f));
    struct termios tio;
    struct err e = {0};
    int master;

    snprintf(f->dir, sizeof(f->dir), "/tmp/podterm-term-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/agent.state", f->dir);
    assert_int_equal(state_open(&f->state, f->path, STATE_RING_MIN, &e), 0);
    f->state.head->cols = 80;
    f->state.head->rows = 24;
    f->loop = loop_new();
    f->t = terminal_new(f->loop, &f->state, INPUT_BYTES, &verbs, f);
    master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    assert_int_equal(unlockpt(master), 0);
    f->slave_fd =
        open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    assert_true(f->slave_fd >= 0);
    tcgetattr(f->slave_fd, &tio);
    cfmakeraw(&tio);
    tcsetattr(f->slave_fd, TCSANOW, &tio);
    terminal_adopt(f->t, master);
    *arg = f;
    return 0;
}

static int teardown(void **arg)
{
    struct fixture *f = *arg;

    terminal_free(f->t);
    loop_free(f->loop);
    state_close(&f->state);
    if (f->slave_fd >= 0)
        close(f->slave_fd);
    unlink(f->path);
    rmdir(f->dir);
    free(f);
    return 0;
}

static void stop(void *arg)
{
    loop_stop(((struct fixture *)arg)->loop);
}

static void run_ms(struct fixture *f, int64_t ms)
{
    struct loop_timer *t = loop_timer_start(f->loop, ms, 0, stop, f);

    loop_run(f->loop);
    loop_timer_stop(t);
}

/* Write to the slave until it takes no more or len is reached. */
static size_t program_writes(struct fixture *f, size_t len)
{
    uint8_t chunk[1024];
    size_t done = 0;

    while (done < len) {
        ssize_t n;

        for (size_t i = 0; i < sizeof(chunk); i++)
            chunk[i] = (uint8_t)((done + i) % 251);
        n = write(f->slave_fd, chunk,
                  len - done < sizeof(chunk) ? len - done : sizeof(chunk));
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return done;
}

static void output_lands_in_the_ring_at_its_offsets(void **arg)
{
    struct fixture *f = *arg;
    size_t len = 3000;
    const uint8_t *p;

    assert_int_equal(program_writes(f, 3000), 3000);
    run_ms(f, 50);
    assert_int_equal(f->state.head->output_end, 3000);
    p = state_ring_at(&f->state, 0, &len);
    for (size_t i = 0; i < 3000; i++)
        assert_int_equal(p[i], i % 251);
    assert_true(f->outputs >= 1);
}

static void a_full_held_ring_stops_the_program_and_an_ack_frees_it(void **arg)
{
    struct fixture *f = *arg;
    size_t total = 0;

    for (int i = 0; i < 200; i++) {
        total += program_writes(f, 4096);
        run_ms(f, 1);
    }
    assert_int_equal(f->state.head->output_end, STATE_RING_MIN);
    assert_true(total < STATE_RING_MIN + 65536); /* blocked: the PTY's own */
    assert_int_equal(f->state.head->output_oldest, 0);
    f->state.head->output_acked = 10000;
    terminal_acked(f->t);
    run_ms(f, 30);
    assert_int_equal(f->state.head->output_end, STATE_RING_MIN + 10000);
}

static void without_hold_the_ring_runs_on(void **arg)
{
    struct fixture *f = *arg;
    size_t total = 0;

    terminal_hold(f->t, false);
    for (int i = 0; i < 100; i++) {
        total += program_writes(f, 4096);
        run_ms(f, 2);
    }
    assert_int_equal(f->state.head->output_end, total);
    assert_true(total > 3 * STATE_RING_MIN);
    assert_true(f->state.head->output_oldest > 0);
}

static void input_is_applied_once_whatever_is_sent_again(void **arg)
{
    struct fixture *f = *arg;
    struct err e = {0};
    char got[64] = "";

    assert_int_equal(terminal_input(f->t, 0, (const uint8_t *)"hello", 5, &e),
                     0);
    assert_int_equal(terminal_input(f->t, 0, (const uint8_t *)"hello", 5, &e),
                     0);
    assert_int_equal(
        terminal_input(f->t, 3, (const uint8_t *)"lo world", 8, &e), 0);
    run_ms(f, 20);
    assert_int_equal(read(f->slave_fd, got, sizeof(got)), 11);
    assert_string_equal(got, "hello world");
    assert_int_equal(f->state.head->input_received, 11);
    assert_int_equal(terminal_input(f->t, 12, (const uint8_t *)"x", 1, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
}

static void
input_that_is_not_read_waits_bounded_and_arrives_in_order(void **arg)
{
    struct fixture *f = *arg;
    uint8_t *paste = mem_zero(INPUT_BYTES * 2, 1);
    struct err e = {0};
    uint64_t sent = 0, taken = 0;
    uint8_t got[4096];

    for (size_t i = 0; i < INPUT_BYTES * 2; i++)
        paste[i] = (uint8_t)(i % 249);
    assert_int_equal(terminal_input(f->t, 0, paste, INPUT_BYTES, &e), 0);
    run_ms(f, 20);
    sent = INPUT_BYTES;
    assert_true(f->state.head->input_received < INPUT_BYTES);
    /* more than the window is refused, and nothing of it is taken */
    assert_int_equal(terminal_input(f->t, sent, paste, INPUT_BYTES, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    while (taken < sent) {
        ssize_t n = read(f->slave_fd, got, sizeof(got));

        for (ssize_t i = 0; i < n; i++)
            assert_int_equal(got[i], (taken + (uint64_t)i) % 249);
        if (n > 0)
            taken += (uint64_t)n;
        run_ms(f, 1);
    }
    assert_int_equal(f->state.head->input_received, sent);
    free(paste);
}

static void ctrl_c_behind_a_paste_nobody_reads_is_heard_once(void **arg)
{
    struct fixture *f = *arg;
    uint8_t *paste = mem_zero(INPUT_BYTES, 1);
    struct err e = {0};
    struct termios tio;
    int status;
    pid_t pid;

    tcgetattr(f->slave_fd, &tio);
    tio.c_lflag |= ISIG;
    tio.c_cc[VINTR] = 3;
    tcsetattr(f->slave_fd, TCSANOW, &tio);
    pid = fork();
    if (pid == 0) {
        setsid();
        ioctl(f->slave_fd, TIOCSCTTY, 0);
        signal(SIGINT, SIG_DFL);
        for (;;)
            pause();
    }
    run_ms(f, 100);
    memset(paste, 'p', INPUT_BYTES);
    assert_int_equal(terminal_input(f->t, 0, paste, INPUT_BYTES - 10, &e), 0);
    run_ms(f, 20);
    assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
    assert_int_equal(terminal_input(f->t, INPUT_BYTES - 10,
                                    (const uint8_t *)"\x03tail", 5, &e),
                     0);
    run_ms(f, 100);
    assert_int_equal(waitpid(pid, &status, WNOHANG), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    free(paste);
}

static void the_end_comes_after_every_byte(void **arg)
{
    struct fixture *f = *arg;

    assert_int_equal(program_writes(f, 2000), 2000);
    close(f->slave_fd);
    f->slave_fd = -1;
    run_ms(f, 50);
    assert_int_equal(f->state.head->output_end, 2000);
    assert_int_equal(f->ends, 1);
    assert_true(terminal_drain(f->t));
}

/* A pipe in the PTY's place: it holds more than is read in a turn, so that
 * the reader never gets ahead of the writer. */
static void a_program_that_never_stops_is_drained_in_pieces(void **arg)
{
    struct fixture *f = *arg;
    int ends[2];

    assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    assert_true(fcntl(ends[1], F_GETPIPE_SZ) > 2 * TERMINAL_TURN_BYTES);
    terminal_adopt(f->t, ends[0]);
    f->endless_fd = ends[1];
    terminal_hold(f->t, false);
    f->is_endless = true;
    on_output(f);
    alarm(20); /* ends this test where it is not so */
    assert_false(terminal_drain(f->t));
    alarm(0);
    assert_in_range(f->state.head->output_end, TERMINAL_DRAIN_BYTES,
                    TERMINAL_DRAIN_BYTES + 2 * TERMINAL_TURN_BYTES);
    f->is_endless = false;
    assert_true(terminal_drain(f->t));
    close(ends[1]);
}

static void forgotten_input_is_taken_again_from_where_it_was(void **arg)
{
    struct fixture *f = *arg;
    uint8_t *paste = mem_zero(INPUT_BYTES, 1);
    struct err e = {0};
    uint64_t received;

    assert_int_equal(terminal_input(f->t, 0, paste, INPUT_BYTES, &e), 0);
    run_ms(f, 20);
    received = f->state.head->input_received;
    assert_true(received < INPUT_BYTES);
    terminal_input_forget(f->t);
    /* another client begins at what was received */
    assert_int_equal(
        terminal_input(f->t, received, (const uint8_t *)"new", 3, &e), 0);
    free(paste);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(output_lands_in_the_ring_at_its_offsets),
        T(a_full_held_ring_stops_the_program_and_an_ack_frees_it),
        T(without_hold_the_ring_runs_on),
        T(input_is_applied_once_whatever_is_sent_again),
        T(input_that_is_not_read_waits_bounded_and_arrives_in_order),
        T(ctrl_c_behind_a_paste_nobody_reads_is_heard_once),
        T(the_end_comes_after_every_byte),
        T(a_program_that_never_stops_is_drained_in_pieces),
        T(forgotten_input_is_taken_again_from_where_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
