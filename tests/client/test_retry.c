/*
 * When a connection is tried again: the waits alone, and the real `podterm`
 * at a gateway that takes no one, that held for a while, that is gone, that
 * asks it to move.
 */
#include "client/retry.h"

#include "base/frame.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"
#include "base/ws.h"
#include "client/command.h"
#include "tests/lib/programs.h"
#include "tests/lib/scripted.h"
#include "tests/lib/seat.h"
#include "tests/lib/tree.h"
#include "tests/lib/wspeer.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SID "abcdefghijklmnopqrstuvwxyz"
#define SOON_MS 15000  /* generous: machines are busy */
#define HELD_MS 5200   /* a connection that counts as a good one */
#define STEPS_TO_MAX 6 /* 100, 200, 400, 800, 1600, 3200, then 5000 */

extern char **environ;

/* --- the waits --- */

static void waits_double_up_to_five_seconds(void **arg)
{
    static const int64_t steps[] = {100,  200,  400,  800, 1600,
                                    3200, 5000, 5000, 5000};
    struct retry low = {0}, high = {0};

    (void)arg;
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        assert_int_equal(retry_next(&low, 0, 0), steps[i] / 2);
        assert_int_equal(retry_next(&high, 0, (uint32_t)(steps[i] / 2)),
                         steps[i]);
    }
}

static void no_random_number_leaves_the_step(void **arg)
{
    uint32_t random = 0;
    int64_t least = INT64_MAX, most = 0;

    (void)arg;
    for (int step = 0; step <= STEPS_TO_MAX; step++)
        for (int i = 0; i < 20000; i++) {
            struct retry r = {.step = step};
            int64_t whole = step < STEPS_TO_MAX
                                ? (int64_t)RETRY_FIRST_MS << step
                                : RETRY_MAX_MS;

            random = random * 1664525 + 1013904223;
            assert_in_range(retry_next(&r, 0, random), whole / 2, whole);
        }
    /* both ends of the range and all between are used */
    for (uint32_t i = 0; i < 2 * RETRY_FIRST_MS; i++) {
        struct retry r = {0};
        int64_t wait = retry_next(&r, 0, i);

        least = wait < least ? wait : least;
        most = wait > most ? wait : most;
    }
    assert_int_equal(least, RETRY_FIRST_MS / 2);
    assert_int_equal(most, RETRY_FIRST_MS);
    assert_in_range(retry_next(&(struct retry){0}, 0, UINT32_MAX),
                    RETRY_FIRST_MS / 2, RETRY_FIRST_MS);
}

static void it_may_go_on_for_ever(void **arg)
{
    struct retry r = {0};

    (void)arg;
    for (int i = 0; i < 100000; i++)
        assert_in_range(retry_next(&r, 0, (uint32_t)i), RETRY_FIRST_MS / 2,
                        RETRY_MAX_MS);
    assert_in_range(retry_next(&r, 0, 3), RETRY_MAX_MS / 2, RETRY_MAX_MS);
}

static void a_good_connection_begins_anew(void **arg)
{
    struct retry r = {0};

    (void)arg;
    for (int i = 0; i < 20; i++)
        retry_next(&r, 0, 0);
    retry_reset(&r);
    assert_int_equal(retry_next(&r, 0, 0), RETRY_FIRST_MS / 2);
    assert_int_equal(retry_next(&r, 0, 0), RETRY_FIRST_MS);
}

static void a_server_may_ask_for_more_but_not_for_ever(void **arg)
{
    static const int64_t huge[] = {RETRY_ASKED_MAX_MS + 1, INT64_MAX};
    struct retry r = {0};
    bool differ = false;
    int64_t first;

    (void)arg;
    for (uint32_t i = 0; i < 1000; i++) {
        r = (struct retry){0};
        assert_in_range(retry_next(&r, 2000, i), 2000,
                        2000 + RETRY_FIRST_MS - 1);
    }
    for (size_t i = 0; i < sizeof(huge) / sizeof(*huge); i++)
        assert_in_range(retry_next(&r, huge[i], 7), RETRY_ASKED_MAX_MS,
                        RETRY_ASKED_MAX_MS + RETRY_FIRST_MS - 1);
    /* less than the step, or nonsense, changes nothing */
    r = (struct retry){.step = 4};
    assert_int_equal(retry_next(&r, 100, 0), 800);
    r = (struct retry){.step = 4};
    assert_int_equal(retry_next(&r, -5, 0), 800);
    /* all who were told the same time do not come back at once */
    first = retry_next(&(struct retry){0}, 2000, 0);
    for (uint32_t i = 1; i < 50; i++)
        differ = differ || retry_next(&(struct retry){0}, 2000, i) != first;
    assert_true(differ);
}

/* --- the program --- */

static struct scripted http;
static char *answer, *dir, *err_path;
static int gateway_fd = -1;
static pid_t pid;
static int64_t begun_ms;

/* A controller that gives tokens for a gateway that is ours to play. */
static int begin(void **arg)
{
    struct err e = {0};
    char name[64];
    const char *answers[1];

    (void)arg;
    dir = scratch_new();
    err_path = mem_printf("%s/err", dir);
    gateway_fd = listen_tcp("127.0.0.1:0", false, &e);
    assert_true(gateway_fd >= 0);
    assert_int_equal(listen_name(gateway_fd, name, sizeof(name)), 0);
    answer = mem_printf("200 OK\r\n\r\n{\"token\":\"t\",\"attach_url\":"
                        "\"ws://%s/v1/attach\"}",
                        name);
    answers[0] = answer;
    scripted_start(&http, answers, 1);
    return 0;
}

static int finish(void **arg)
{
    (void)arg;
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        pid = 0;
    }
    if (gateway_fd >= 0)
        close(gateway_fd);
    scripted_stop(&http);
    free(answer);
    free(err_path);
    scratch_remove(dir);
    return 0;
}

static void attach(const char *retry_s)
{
    own_mem char *exe = program_path("podterm");
    own_fd int err = open(err_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    const char *argv[] = {"podterm",  "attach",    SID,
                          "--server", http.base,   "--identity-command",
                          "echo me",  "--retry-s", retry_s,
                          NULL};
    struct proc_spawn how = {.path = exe,
                             .argv = (char *const *)(uintptr_t)argv,
                             .envp = environ,
                             .fds = (int[]){-1, -1, err},
                             .fd_count = 3,
                             .death_signal = SIGKILL};
    struct err e = {0};
    own_fd int pid_fd = proc_spawn(&how, &pid, &e);

    begun_ms = loop_now_ms();
    if (pid_fd < 0)
        fail_msg("%s", e.text);
}

/* It leaves with that, and tells how to come back: when, in ms since `from`. */
static int64_t left_with(const char *why, int64_t from)
{
    own_mem char *text = NULL;
    int status;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (loop_now_ms() - from > SOON_MS)
            fail_msg("podterm does not give up");
        poll(NULL, 0, 5);
    }
    pid = 0;
    from = loop_now_ms() - from;
    text = tree_get(err_path, &(size_t){0});
    if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_PODTERM ||
        !strstr(text, why) || !strstr(text, "podterm attach " SID))
        fail_msg("status %x; it said: %s", (unsigned)status, text);
    return from;
}

static int64_t gave_up(int64_t from)
{
    return left_with("no connection for ", from);
}

/* The next dial, at the time it comes. */
static struct wspeer *dialled(void)
{
    struct pollfd p = {.fd = gateway_fd, .events = POLLIN};
    struct wspeer *g;

    if (poll(&p, 1, SOON_MS) <= 0)
        fail_msg("nobody dials");
    g = wspeer_of(accept4(gateway_fd, NULL, NULL, SOCK_CLOEXEC));
    g->is_agent = true;
    return g;
}

static void without_a_gateway_it_gives_up_in_time(void **arg)
{
    (void)arg;
    close(gateway_fd);
    gateway_fd = -1;
    attach("1");
    /* the last wait before is 800 ms at most */
    assert_in_range(gave_up(begun_ms), 1000, 4000);
    /* at 0, 50..100, 150..300, 350..700, 750..1500, 1550: no busy loop */
    assert_in_range(scripted_count(&http), 2, 6);
}

static struct wspeer *greeted(struct wspeer *g)
{
    struct wsmsg m;

    wspeer_answer(g);
    assert_true(wspeer_recv(g, &m));
    assert_int_equal(m.bytes[0], FRAME_HELLO);
    return g;
}

static struct wspeer *ready(struct wspeer *g)
{
    wspeer_binary(g, FRAME_READY,
                  "{\"output_from\":0,\"input_received\":0,\"window\":4096,"
                  "\"input_window\":4096}");
    return g;
}

static void waits_grow_until_a_connection_held(void **arg)
{
    int64_t at[5], lost;
    struct wspeer *g;

    (void)arg;
    attach("2");
    for (int i = 0; i < 5; i++) { /* hung up on, five times */
        g = dialled();
        at[i] = loop_now_ms();
        wspeer_reset(g);
    }
    for (int i = 1; i < 5; i++) /* at least half of each step */
        assert_true(at[i] - at[i - 1] >= (RETRY_FIRST_MS << (i - 1)) / 2);
    g = dialled(); /* the one that is good */
    greeted(g);
    ready(g);
    poll(NULL, 0, HELD_MS);
    lost = loop_now_ms();
    wspeer_reset(g);
    g = dialled();
    /* anew: 100 ms at most; else it would be 1600 at least */
    assert_in_range(loop_now_ms() - lost, 40, 1200);
    wspeer_reset(g);
    close(gateway_fd);
    gateway_fd = -1;
    /* counted from the loss, not from the start */
    assert_in_range(gave_up(lost), 1990, 8000);
}

/* --- moving --- */

static void replace(struct wspeer *g)
{
    wspeer_binary(g, FRAME_ERROR,
                  "{\"code\":\"replaced\",\"message\":\"replaced\"}");
    g->may_die = true;
    assert_true(wspeer_ends(g, SOON_MS));
    wspeer_free(g);
}

/* A client anew, whose connection is healthy and told to move. */
static struct wspeer *moving(void **arg)
{
    struct wspeer *g;

    finish(arg);
    begin(arg);
    attach("30");
    g = ready(greeted(dialled()));
    wspeer_binary(g, FRAME_MOVE, "");
    return g;
}

/* What took the session over was our own, though we never hear of it. */
static void a_move_that_breaks_off_is_no_takeover(void **arg)
{
    for (int i = 0; i < 3; i++) {
        struct wspeer *old = moving(arg), *next = greeted(dialled());

        if (i == 0) {
            wspeer_reset(next);
            replace(old);
        } else { /* or the older is told first, or both are at once */
            replace(old);
            if (i == 2)
                poll(NULL, 0, 300);
            wspeer_reset(next);
        }
        wspeer_free(ready(greeted(dialled())));
        wspeer_free(greeted(dialled())); /* it goes on like any other */
    }
}

static void another_who_takes_it_over_while_it_moves_has_it(void **arg)
{
    for (int i = 0; i < 2; i++) {
        struct wspeer *old = moving(arg), *next = dialled();

        if (i == 0) { /* we had asked for nothing yet */
            replace(old);
        } else { /* it was ours, for a moment */
            greeted(next);
            replace(old);
            replace(next);
        }
        left_with("was attached elsewhere, which took over", loop_now_ms());
        if (i == 0)
            wspeer_free(next);
    }
}

/* The next RESIZE. */
static void is_told_size(struct wspeer *g, int cols, int rows)
{
    struct wsmsg m;

    do
        assert_true(wspeer_recv(g, &m));
    while (m.bytes[0] != FRAME_RESIZE);
    assert_int_equal(m.len, 5);
    assert_int_equal(m.bytes[1] << 8 | m.bytes[2], cols);
    assert_int_equal(m.bytes[3] << 8 | m.bytes[4], rows);
}

static void a_size_that_changes_while_it_moves_is_told_both(void **arg)
{
    own_mem char *exe = program_path("podterm");
    const char *argv[] = {exe,        "attach",  SID,
                          "--server", http.base, "--identity-command",
                          "echo me",  NULL};
    struct wspeer *old, *next;
    struct seat seat;

    (void)arg;
    seat_start(&seat, argv, NULL, 90, 30, -1);
    old = ready(greeted(dialled()));
    wspeer_binary(old, FRAME_MOVE, "");
    next = greeted(dialled());
    seat_resize(&seat, 101, 33);
    is_told_size(old, 101, 33);
    ready(next);
    is_told_size(next, 101, 33);
    wspeer_free(old);
    wspeer_free(next);
    seat_free(&seat);
}

#define PROGRAM(t) cmocka_unit_test_setup_teardown(t, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_double_up_to_five_seconds),
        cmocka_unit_test(no_random_number_leaves_the_step),
        cmocka_unit_test(it_may_go_on_for_ever),
        cmocka_unit_test(a_good_connection_begins_anew),
        cmocka_unit_test(a_server_may_ask_for_more_but_not_for_ever),
        PROGRAM(without_a_gateway_it_gives_up_in_time),
        PROGRAM(waits_grow_until_a_connection_held),
        PROGRAM(a_move_that_breaks_off_is_no_takeover),
        PROGRAM(another_who_takes_it_over_while_it_moves_has_it),
        PROGRAM(a_size_that_changes_while_it_moves_is_told_both),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
