/* The view of a task list where no terminal is. */
#include "sample-cli/screen.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

// link: -Wl,--wrap=write
/* 0 = the real one; EAGAIN and EINTR: once, then a byte at a time */
static int write_errno;
ssize_t __real_write(int fd, const void *bytes, size_t len);
ssize_t __wrap_write(int fd, const void *bytes, size_t len);
ssize_t __wrap_write(int fd, const void *bytes, size_t len)
{
    if (write_errno) {
        errno = write_errno;
        if (write_errno == EAGAIN || write_errno == EINTR)
            write_errno = 0;
        return -1;
    }
    return __real_write(fd, bytes, len);
}

#define TASKS 5
static struct task items[TASKS];
static struct tasks list;
static struct screen screen;

static int setup(void **state)
{
    static const char *const titles[TASKS] = {"One", "Number two", "Three",
                                              "Four", "Five"};

    (void)state;
    memset(items, 0, sizeof(items));
    for (int i = 0; i < TASKS; i++)
        items[i].title = titles[i];
    list = (struct tasks){.items = items, .count = TASKS};
    screen = (struct screen){0};
    write_errno = 0;
    return 0;
}

static void set_task(struct task *task, enum task_state state,
                     const char *detail)
{
    if (task->state != state)
        task->change = ++list.changes;
    if (task->state != state && state == TASK_RETRYING)
        task->retried = task->change;
    task->state = state;
    snprintf(task->detail, sizeof(task->detail), "%s", detail);
}

static void set(int i, enum task_state state, const char *detail)
{
    set_task(&items[i], state, detail);
}

/* What is told at that time. */
static void tells(struct tasks_view view, int fd, int64_t now_ms,
                  const char *want)
{
    char out[4096];
    ssize_t n;

    view.show(view.arg, &list, TASKS_TICK, now_ms);
    n = read(fd, out, sizeof(out) - 1);
    out[n > 0 ? n : 0] = 0;
    assert_string_equal(out, want);
}

/* Read what is there from fd. */
static size_t came(int fd, char *out, size_t size)
{
    ssize_t n = read(fd, out, size - 1);

    out[n > 0 ? n : 0] = 0;
    return n > 0 ? (size_t)n : 0;
}

/* A view into a pipe, which is read at fds[0]. */
static struct tasks_view plain_view(int fds[2])
{
    assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
    screen_init(&screen, fds[1], true, false);
    return screen_view(&screen);
}

static void a_plain_view_tells_what_happens_when_it_does(void **state)
{
    static struct task inner, parts[3];
    struct tasks_view view;
    int fds[2];

    (void)state;
    view = plain_view(fds);
    inner = (struct task){.title = "inner", .tasks = parts, .count = 3};
    items[1].tasks = &inner;
    items[1].count = 1;
    for (int i = 0; i < 3; i++)
        parts[i] = (struct task){.title = i == 0 ? "a" : i == 1 ? "bb" : "ccc"};
    set(0, TASK_DONE, "2 files");
    set(1, TASK_RUNNING, "");
    set_task(&inner, TASK_RUNNING, "");
    set_task(&parts[1], TASK_RUNNING, "");
    set_task(&parts[0], TASK_DONE, "fine");
    tells(view, fds[0], 0,
          "ok    One: 2 files\nok    Number two: inner: a: fine\n");
    parts[2].tries = 2;
    parts[2].started_ms = 100;
    parts[2].ended_ms = 1600;
    set_task(&parts[2], TASK_DONE, "busy"); /* before the one above it */
    tells(view, fds[0], 1600,
          "ok    Number two: inner: ccc: busy (try 2, 1.5s)\n");
    set_task(&parts[1], TASK_STOPPED, "");
    set_task(&inner, TASK_FAILED, "all in all");
    set(1, TASK_FAILED, "");
    set(2, TASK_SKIPPED, "");
    tells(view, fds[0], 1700,
          "STOP  Number two: inner: bb\n"
          "FAIL  Number two: inner: all in all\nskip  Three\n");
    close(fds[0]);
    close(fds[1]);
}

static void a_plain_view_says_that_a_long_task_is_at_work(void **state)
{
    static struct task part;
    struct tasks_view view;
    int fds[2];

    (void)state;
    view = plain_view(fds);
    part = (struct task){.title = "part"};
    items[0].tasks = &part;
    items[0].count = 1;
    items[0].started_ms = part.started_ms = 1000;
    set(0, TASK_RUNNING, "");
    set_task(&part, TASK_RUNNING, "1 of 2");
    tells(view, fds[0], 1000, "");
    tells(view, fds[0], 1000 + SCREEN_SILENCE_MS - 1, "");
    tells(view, fds[0], 1000 + SCREEN_SILENCE_MS,
          "run   One: part: 1 of 2 (2.0s)\n");
    tells(view, fds[0], 1000 + SCREEN_SILENCE_MS + 1, "");
    tells(view, fds[0], 1000 + SCREEN_STILL_MS - 1, "");
    set_task(&part, TASK_RUNNING, "");
    tells(view, fds[0], 1000 + SCREEN_STILL_MS + 10, "run   One: part (30s)\n");
    tells(view, fds[0], 1000 + SCREEN_STILL_MS + 20, "");
    tells(view, fds[0], 1000 + 2 * SCREEN_STILL_MS,
          "run   One: part (1m 00s)\n");
    /* what its own run does */
    set_task(&part, TASK_DONE, "");
    part.ended_ms = 1000 + 2 * SCREEN_STILL_MS;
    tells(view, fds[0], part.ended_ms, "ok    One: part (1m 00s)\n");
    tells(view, fds[0], 1000 + 3 * SCREEN_STILL_MS, "");
    items[0].has_run = true;
    tells(view, fds[0], 1000 + 4 * SCREEN_STILL_MS, "run   One (2m 00s)\n");
    close(fds[0]);
    close(fds[1]);
}

static void a_plain_view_tells_a_retry_when_it_happens(void **state)
{
    struct tasks_view view;
    int fds[2];

    (void)state;
    view = plain_view(fds);
    items[0].started_ms = 1000;
    items[0].tries = 1;
    set(0, TASK_RETRYING, "busy");
    tells(view, fds[0], 1000, "retry One: busy\n");
    tells(view, fds[0], 1900, "");
    set(0, TASK_RUNNING, "busy");
    items[0].tries = 2;
    tells(view, fds[0], 2000, "");
    set(0, TASK_RETRYING, "busy still");
    tells(view, fds[0], 2100, "retry One: busy still (try 2, 1.1s)\n");
    /* it waits, and that has been said */
    tells(view, fds[0], 1000 + SCREEN_SILENCE_MS, "");
    tells(view, fds[0], 1000 + SCREEN_STILL_MS,
          "retry One: busy still (try 2, 30s)\n");
    /* a wait too short to be seen; and what is over is told as that */
    set(0, TASK_RUNNING, "");
    set(0, TASK_RETRYING, "");
    set(0, TASK_RUNNING, "no luck");
    tells(view, fds[0], 1010 + SCREEN_STILL_MS,
          "retry One: no luck (try 2, 30s)\n");
    set(0, TASK_RETRYING, "");
    items[0].ended_ms = 1020 + SCREEN_STILL_MS;
    set(0, TASK_FAILED, "no");
    tells(view, fds[0], 1020 + SCREEN_STILL_MS, "FAIL  One: no (try 2, 30s)\n");
    close(fds[0]);
    close(fds[1]);
}

static void a_plain_view_says_each_task_once_when_it_is_over(void **state)
{
    struct tasks_view view;
    char out[4096];
    int fds[2];

    (void)state;
    view = plain_view(fds);
    set(0, TASK_RUNNING, "1 of 2");
    view.show(view.arg, &list, TASKS_STATE, 0);
    view.show(view.arg, &list, TASKS_TICK, 1000);
    assert_int_equal(came(fds[0], out, sizeof(out)), 0);
    set(0, TASK_DONE, "2 files");
    write_errno = EAGAIN;
    view.show(view.arg, &list, TASKS_STATE, 2000);
    came(fds[0], out, sizeof(out));
    assert_string_equal(out, "ok    One: 2 files\n");
    set(1, TASK_FAILED, "why");
    set(2, TASK_SKIPPED, "");
    write_errno = EINTR;
    view.show(view.arg, &list, TASKS_END, 3000);
    came(fds[0], out, sizeof(out));
    assert_string_equal(out, "FAIL  Number two: why\nskip  Three\n");
    assert_int_equal(screen.error, 0);
    close(fds[0]);
    close(fds[1]);
}

static void a_strangers_words_stay_on_their_line(void **state)
{
    struct tasks_view view;
    char out[4096];
    int fds[2];

    (void)state;
    view = plain_view(fds);
    items[0].title = "a\033[2Jb\nok    fake";
    set(0, TASK_FAILED, "disk \033[31mfull\nsecond\\x20 line");
    view.show(view.arg, &list, TASKS_STATE, 0);
    came(fds[0], out, sizeof(out));
    assert_string_equal(out, "FAIL  a\\x1b[2Jb\\x0aok    fake: "
                             "disk \\x1b[31mfull\\x0asecond\\x20 line\n");
    close(fds[0]);
    close(fds[1]);
}

static void a_write_that_fails_is_remembered_and_not_repeated(void **state)
{
    struct tasks_view view;

    (void)state;
    screen.is_live = false;
    screen.fd = 1;
    view = screen_view(&screen);
    set(0, TASK_DONE, "");
    write_errno = ENOSPC;
    view.show(view.arg, &list, TASKS_STATE, 0);
    assert_int_equal(screen.error, ENOSPC);
    write_errno = EIO;
    set(1, TASK_DONE, "");
    view.show(view.arg, &list, TASKS_STATE, 0);
    write_errno = 0;
    assert_int_equal(screen.error, ENOSPC);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        CASE(a_plain_view_tells_what_happens_when_it_does),
        CASE(a_plain_view_says_that_a_long_task_is_at_work),
        CASE(a_plain_view_tells_a_retry_when_it_happens),
        CASE(a_plain_view_says_each_task_once_when_it_is_over),
        CASE(a_strangers_words_stay_on_their_line),
        CASE(a_write_that_fails_is_remembered_and_not_repeated),
    };

    setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
