#include "sample-cli/screen.h"

#include "base/own.h"
#include "tests/lib/term.h"

#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <cmocka.h>

#define TASKS 5
#define LONG_DETAIL                                                            \
    "a detail that is much too long for this terminal, however wide it is"
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
    screen = (struct screen){.is_live = true, .is_utf8 = true};
    setenv("TERM", "xterm-256color", 1);
    unsetenv("NO_COLOR");
    return 0;
}

static void set(int i, enum task_state state, const char *detail)
{
    items[i].state = state;
    snprintf(items[i].detail, sizeof(items[i].detail), "%s", detail);
}

/* Draw one frame of cols x rows into the terminal. */
static void frame(struct term *t)
{
    struct buf b;

    buf_init(&b, SCREEN_BYTES_MAX);
    screen.cols = t->cols;
    screen.rows = t->rows;
    assert_int_equal(screen_draw(&screen, &list, 0, &b), 0);
    term_feed(t, buf_cstr(&b));
    buf_fini(&b);
}

static void shows(const struct term *t, const char *want)
{
    own_mem char *text = term_text(t);

    assert_string_equal(text, want);
}

static void stages_are_redrawn_in_place(void **state)
{
    struct term t;

    (void)state;
    term_init(&t, 40, 12);
    set(0, TASK_RUNNING, "");
    frame(&t);
    shows(&t, "⠋ One\n· Number two\n· Three\n· Four\n· Five\n");
    set(0, TASK_RUNNING, "a long detail that goes");
    frame(&t);
    shows(&t, "⠙ One         a long detail that goes\n· Number two\n· Three\n"
              "· Four\n· Five\n");
    set(0, TASK_DONE, "2 files");
    set(1, TASK_FAILED, "no");
    set(2, TASK_SKIPPED, "");
    set(3, TASK_RUNNING, "1 of 2");
    frame(&t);
    shows(&t, "✔ One         2 files\n✖ Number two  no\n↓ Three\n"
              "⠹ Four        1 of 2\n· Five\n");
    set(3, TASK_DONE, "");
    set(4, TASK_DONE, "");
    frame(&t);
    shows(&t, "✔ One         2 files\n✖ Number two  no\n↓ Three\n✔ Four\n"
              "✔ Five\n");
    assert_int_equal(t.wraps, 0);
    assert_int_equal(t.y, 5);
    frame(&t); /* nothing is left to redraw */
    assert_int_equal(t.y, 5);
    assert_int_equal(t.colors, 0);
}

static void a_strangers_words_do_not_break_the_frame(void **state)
{
    struct term t;

    (void)state;
    term_init(&t, 60, 12);
    items[0].title = "a\033[2Jb\n";
    set(0, TASK_RUNNING, "half \033[31mof\nit");
    strcpy(items[0].tail, "said\033[H\nmore");
    frame(&t);
    shows(&t, "⠋ a\\x1b[2Jb\\x0a  half \\x1b[31mof\\x0ait\n"
              "  said\\x1b[H\n  more\n"
              "· Number two\n· Three\n· Four\n· Five\n");
    /* settled, and too long for its line: in rows of its own */
    set(0, TASK_FAILED, "disk \033[31mfull\nsecond line, and then a third one");
    frame(&t);
    shows(&t, "✖ a\\x1b[2Jb\\x0a\n"
              "  disk \\x1b[31mfull\\x0asecond line, and then a third one\n"
              "· Number two\n· Three\n· Four\n· Five\n");
    assert_int_equal(t.y, 2);
}

static void no_line_is_longer_than_the_terminal(void **state)
{
    (void)state;
    for (size_t cols = 1; cols <= 60; cols++) {
        struct term t;

        setup(NULL);
        term_init(&t, cols, 12);
        set(0, TASK_RUNNING, LONG_DETAIL);
        frame(&t);
        set(0, TASK_DONE, LONG_DETAIL);
        frame(&t);
        assert_int_equal(t.wraps, 0);
        assert_int_equal(t.scrolled, 0);
        assert_int_equal(t.y, 1); /* where the next frame begins */
    }
}

static void a_low_terminal_redraws_only_what_it_can_reach(void **state)
{
    (void)state;
    for (size_t rows = 1; rows <= 7; rows++) {
        own_mem char *last = NULL;
        struct term t;

        setup(NULL);
        term_init(&t, 40, rows);
        for (int i = 0; i < TASKS; i++) {
            set(i, TASK_RUNNING, "");
            frame(&t);
            frame(&t);
            set(i, TASK_DONE, "");
            frame(&t);
        }
        assert_int_equal(t.wraps, 0);
        /* five lines in all, none twice, and the cursor below them */
        assert_int_equal((size_t)t.scrolled + t.y, 5);
        if (rows > 1) {
            last = term_row(&t, t.y - 1);
            assert_string_equal(last, "✔ Five");
        }
    }
}

/* The frame was drawn for a size that is no longer true: it stands there once
 * all the same, and what stood above it still does. */
static void a_frame_that_meets_another_size_spoils_nothing(void **state)
{
    static const size_t cols[] = {60, 20, 60, 33, 20, 8};
    static const size_t rows[] = {24, 24, 4, 24, 3, 2};
    struct term t;

    (void)state;
    term_init(&t, 60, 24);
    term_feed(&t, "above\r\n");
    set(0, TASK_RUNNING, LONG_DETAIL);
    for (size_t i = 0; i < sizeof(cols) / sizeof(*cols); i++) {
        struct buf b;
        own_mem char *first = NULL, *last = NULL;

        t.cols = cols[i];
        t.rows = rows[i];
        buf_init(&b, SCREEN_BYTES_MAX);
        screen.cols = 60;
        screen.rows = 24;
        assert_int_equal(screen_draw(&screen, &list, 0, &b), 0);
        term_feed(&t, buf_cstr(&b));
        buf_fini(&b);
        assert_int_equal(t.y, 1);
        assert_int_equal(t.x, 0);
        assert_false(t.no_wrap); /* what others write wraps as ever */
        first = term_row(&t, 0);
        last = term_row(&t, TASKS < t.rows ? TASKS : t.rows - 1);
        assert_int_equal(t.scrolled, 0);
        assert_string_equal(first, "above");
        assert_string_equal(last, "· Five");
    }
}

/* What runs may be cut short; why something failed may not. */
static void why_it_was_no_success_is_read_to_its_end(void **state)
{
    struct term t;

    (void)state;
    term_init(&t, 40, 20);
    set(0, TASK_DONE, LONG_DETAIL);
    set(1, TASK_FAILED, LONG_DETAIL);
    set(2, TASK_SKIPPED, "fits");
    set(3, TASK_SKIPPED, LONG_DETAIL);
    items[3].tries = 2;
    set(4, TASK_RUNNING, LONG_DETAIL);
    frame(&t);
    frame(&t);
    shows(&t, "✔ One         a detail that is much to…\n"
              "✖ Number two\n"
              "  a detail that is much too long for\n"
              "  this terminal, however wide it is\n"
              "↓ Three       fits\n"
              "↓ Four        try 2\n"
              "  a detail that is much too long for\n"
              "  this terminal, however wide it is\n"
              "⠙ Five        a detail that is much to…\n");
    assert_int_equal(t.wraps, 0);
}

static void a_group_of_any_size_settles_whole(void **state)
{
    static const size_t counts[] = {400, 12000};
    static struct task many[12000];
    char title[100] = "";

    (void)state;
    memset(title, 'x', sizeof(title) - 1);
    for (size_t i = 0; i < 12000; i++)
        many[i] = (struct task){.title = title, .state = TASK_DONE};
    for (int i = 0; i < 2; i++) {
        struct task group = {.title = "all",
                             .tasks = many,
                             .count = counts[i],
                             .state = TASK_DONE};
        struct term t;

        screen.over = 0;
        list = (struct tasks){.items = &group, .count = 1};
        term_init(&t, 110, 12);
        frame(&t);
        assert_int_equal((size_t)t.scrolled + t.y, counts[i] + 1);
    }
}

static void without_utf8_the_marks_are_ascii(void **state)
{
    struct term t;

    (void)state;
    screen.is_utf8 = false;
    term_init(&t, 20, 12);
    set(0, TASK_DONE, "");
    set(1, TASK_RUNNING, "a detail too long");
    set(2, TASK_SKIPPED, "");
    set(3, TASK_RUNNING, "");
    frame(&t);
    shows(&t, "+ One\n- Number two  a ...\n- Three\n- Four\n. Five\n");
    frame(&t);
    shows(&t, "+ One\n\\ Number two  a ...\n- Three\n\\ Four\n. Five\n");
}

static void colours_are_there_only_when_wanted(void **state)
{
    struct term t;

    (void)state;
    screen.has_color = true;
    term_init(&t, 40, 12);
    set(0, TASK_RUNNING, "x");
    frame(&t);
    assert_true(t.colors > 0);
    shows(&t, "⠋ One         x\n· Number two\n· Three\n· Four\n· Five\n");
    assert_int_equal(t.wraps, 0);
}

static void what_is_possible_is_asked_of_the_environment(void **state)
{
    struct winsize size = {.ws_col = 33, .ws_row = 11};
    int master, tty, pipe_fds[2];

    (void)state;
    assert_int_equal(openpty(&master, &tty, NULL, NULL, &size), 0);
    assert_int_equal(pipe(pipe_fds), 0);
    screen_init(&screen, tty, true, false);
    assert_true(screen.is_live && screen.has_color && screen.is_utf8);
    assert_int_equal(screen.cols, 33);
    assert_int_equal(screen.rows, 11);
    screen_init(&screen, tty, false, true);
    assert_false(screen.is_live || screen.has_color || screen.is_utf8);
    setenv("NO_COLOR", "", 1); /* empty is not set */
    screen_init(&screen, tty, true, false);
    assert_true(screen.has_color);
    setenv("NO_COLOR", "1", 1);
    screen_init(&screen, tty, true, false);
    assert_true(screen.is_live && !screen.has_color);
    setenv("TERM", "dumb", 1);
    screen_init(&screen, tty, true, false);
    assert_false(screen.is_live);
    setenv("TERM", "", 1);
    screen_init(&screen, tty, true, false);
    assert_false(screen.is_live);
    unsetenv("TERM");
    screen_init(&screen, tty, true, false);
    assert_false(screen.is_live);
    setenv("TERM", "xterm", 1);
    screen_init(&screen, pipe_fds[1], true, false);
    assert_false(screen.is_live);
    assert_int_equal(screen.cols, SCREEN_COLS);
    assert_int_equal(screen.rows, SCREEN_ROWS);
    size = (struct winsize){0}; /* a terminal that does not know */
    assert_int_equal(ioctl(master, TIOCSWINSZ, &size), 0);
    screen_init(&screen, tty, true, false);
    assert_int_equal(screen.cols, SCREEN_COLS);
    close(master);
    close(tty);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

#define QUIET_MS 100 /* a terminal passes on in pieces */

/* Read what comes from fd until it is quiet. */
static size_t came(int fd, char *out, size_t size)
{
    struct pollfd p = {fd, POLLIN, 0};
    size_t len = 0;
    ssize_t n = 1;

    while (n > 0 && poll(&p, 1, QUIET_MS) > 0) {
        n = read(fd, out + len, size - 1 - len);
        len += n > 0 ? (size_t)n : 0;
    }
    out[len] = 0;
    return len;
}

static void a_live_view_draws_at_most_so_often_and_sees_a_resize(void **state)
{
    struct winsize size = {.ws_col = 40, .ws_row = 10};
    struct tasks_view view;
    struct term t;
    char out[4096];
    int master, tty;

    (void)state;
    assert_int_equal(openpty(&master, &tty, NULL, NULL, &size), 0);
    fcntl(master, F_SETFL, O_NONBLOCK);
    screen_init(&screen, tty, true, false);
    view = screen_view(&screen);
    set(0, TASK_RUNNING, "");
    view.show(view.arg, &list, TASKS_STATE, 1000);
    assert_true(came(master, out, sizeof(out)) > 0);
    view.show(view.arg, &list, TASKS_TICK, 1000 + SCREEN_FRAME_MS - 1);
    assert_int_equal(came(master, out, sizeof(out)), 0);
    view.show(view.arg, &list, TASKS_TICK, 1000 + SCREEN_FRAME_MS);
    assert_true(came(master, out, sizeof(out)) > 0);
    size.ws_col = 9;
    assert_int_equal(ioctl(master, TIOCSWINSZ, &size), 0);
    set(0, TASK_DONE, "a detail");
    view.show(view.arg, &list, TASKS_STATE, 1000 + 2 * SCREEN_FRAME_MS);
    assert_true(came(master, out, sizeof(out)) > 0);
    term_init(&t, 9, 10);
    term_feed(&t, out);
    assert_int_equal(t.wraps, 0);
    shows(&t, "✔ One\n· Numbe…\n· Three\n· Four\n· Five\n");
    close(master);
    close(tty);
}

/* A group of three with one that is over, one that runs, one that tries
 * again, and what the second says. */
static struct task parts[3];
static void set_group(void)
{
    static const char *const titles[] = {"a", "bb", "ccc"};

    memset(parts, 0, sizeof(parts));
    for (int i = 0; i < 3; i++)
        parts[i].title = titles[i];
    items[1].tasks = parts;
    items[1].count = 3;
    set(0, TASK_DONE, "2 files");
    set(1, TASK_RUNNING, "");
    parts[0].state = TASK_DONE;
    strcpy(parts[0].detail, "fine");
    parts[1].state = TASK_RUNNING;
    parts[2].state = TASK_RETRYING;
    parts[2].tries = 2;
    strcpy(parts[2].detail, "busy");
}

static void tasks_of_a_group_stand_below_it_and_settle_with_it(void **state)
{
    struct term t;

    (void)state;
    set_group();
    term_init(&t, 40, 12);
    frame(&t);
    shows(&t, "✔ One         2 files\n⠋ Number two\n  ✔ a         fine\n"
              "  ⠋ bb\n  ↻ ccc       busy  try 2\n· Three\n· Four\n· Five\n");
    parts[1].state = TASK_STOPPED;
    parts[2].state = TASK_DONE;
    items[1].state = TASK_STOPPED;
    frame(&t);
    shows(&t, "✔ One         2 files\n■ Number two\n  ✔ a         fine\n"
              "  ■ bb\n  ✔ ccc       busy  try 2\n· Three\n· Four\n· Five\n");
    assert_int_equal(t.wraps, 0);
}

static void what_a_running_task_says_is_wrapped_and_its_end_shown(void **state)
{
    struct term t;

    (void)state;
    set_group();
    strcpy(parts[1].tail, "gone 1\ngone 2\ngone 3\n"
                          "some words that do not fit into one row at all\n"
                          "\nlast\n");
    term_init(&t, 20, 16);
    frame(&t);
    shows(&t, "✔ One         2 fi…\n⠋ Number two\n  ✔ a         fine\n  ⠋ bb\n"
              "    gone 3\n    some words that\n    do not fit into\n    one "
              "row at all\n"
              "    last\n  ↻ ccc       busy\n· Three\n· Four\n· Five\n" +
                  0);
    assert_int_equal(t.wraps, 0);
    parts[1].state = TASK_DONE;
    frame(&t);
    shows(&t, "✔ One         2 fi…\n⠙ Number two\n  ✔ a         fine\n  ✔ bb\n"
              "  ↻ ccc       busy\n· Three\n· Four\n· Five\n");
}

static void where_there_are_too_many_what_runs_is_shown(void **state)
{
    struct term t;

    (void)state;
    set_group();
    set(0, TASK_RUNNING, "");
    term_init(&t, 40, 6);
    frame(&t);
    shows(&t, "⠋ One\n⠋ Number two\n  ⠋ bb\n  ↻ ccc       busy  try 2\n"
              "… 4 more\n");
    for (size_t rows = 1; rows < 10; rows++) {
        setup(NULL);
        set_group();
        set(0, TASK_RUNNING, "");
        strcpy(parts[1].tail, "1\n2\n3\n4\n5\n6\n7\n8\n9\n");
        term_init(&t, 40, rows);
        frame(&t);
        frame(&t);
        assert_int_equal(t.scrolled, 0);
        assert_int_equal(t.wraps, 0);
        assert_int_equal(t.y, 0);
    }
}

static void more_tasks_than_a_frame_has_lines_are_counted(void **state)
{
    static struct task many[400];
    struct term t;
    own_mem char *last = NULL;

    (void)state;
    for (int i = 0; i < 400; i++)
        many[i].title = "x";
    many[399].state = TASK_RUNNING;
    list = (struct tasks){.items = many, .count = 400};
    term_init(&t, 40, 12);
    frame(&t);
    assert_int_equal(t.scrolled, 0);
    last = term_row(&t, 10);
    assert_string_equal(last, "… 390 more");
}

static void a_task_that_takes_long_tells_its_time(void **state)
{
    struct buf b;
    struct term t;

    (void)state;
    set(0, TASK_DONE, "a detail that is much too long for it");
    items[0].started_ms = 1000;
    items[0].ended_ms = 1000 + SCREEN_TIMER_MS - 1;
    set(1, TASK_RUNNING, "a detail that is much too long for it");
    items[1].started_ms = 2000;
    items[1].tries = 3;
    set(2, TASK_RUNNING, "");
    items[2].started_ms = 60000;
    buf_init(&b, SCREEN_BYTES_MAX);
    term_init(&t, 40, 12);
    screen.cols = 40;
    screen.rows = 12;
    screen_draw(&screen, &list, 67500, &b);
    term_feed(&t, buf_cstr(&b));
    shows(&t, "✔ One         a detail that is much to…\n"
              "⠋ Number two  a detail …  try 3, 1m 05s\n⠋ Three       7.5s\n"
              "· Four\n· Five\n");
    assert_int_equal(t.wraps, 0);
    buf_fini(&b);
}

/* The cursor is hidden and keys do not show while a list runs, and all is as
 * it was afterwards, by whichever way. */
static void the_terminal_is_left_as_it_was(void **state)
{
    struct winsize size = {.ws_col = 40, .ws_row = 10};
    struct termios was, now;
    struct tasks_view view;
    char out[4096];
    int master, status;
    pid_t pid = forkpty(&master, NULL, NULL, &size);

    (void)state;
    if (pid == 0) {
        int bad = 0;

        tcgetattr(0, &was);
        screen_init(&screen, 1, true, false);
        view = screen_view(&screen);
        for (int way = 0; way < 4; way++) {
            view.show(view.arg, &list, TASKS_BEGIN, 1000);
            tcgetattr(0, &now);
            bad |= (now.c_lflag & ECHO) != 0 || !(now.c_lflag & ICANON);
            if (way == 1)
                screen_leave(&screen);
            else if (way == 2)
                screen_restore();
            else
                view.show(view.arg, &list, TASKS_END, 2000);
            tcgetattr(0, &now);
            bad |= memcmp(&was, &now, sizeof(was)) != 0;
        }
        screen_restore(); /* once more does nothing */
        _exit(bad);
    }
    for (size_t n = 0; n < sizeof(out) - 1;) {
        ssize_t r = read(master, out + n, sizeof(out) - 1 - n);

        if (r <= 0)
            break;
        out[n += (size_t)r] = 0;
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    for (const char *p = out, *q; (p = strstr(p, "\033[?25l")); p = q) {
        q = strstr(p, "\033[?25h");
        assert_non_null(q);
    }
    assert_null(strstr(strrchr(out, '?'), "?25l"));
    close(master);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        CASE(stages_are_redrawn_in_place),
        CASE(a_strangers_words_do_not_break_the_frame),
        CASE(no_line_is_longer_than_the_terminal),
        CASE(a_low_terminal_redraws_only_what_it_can_reach),
        CASE(a_frame_that_meets_another_size_spoils_nothing),
        CASE(why_it_was_no_success_is_read_to_its_end),
        CASE(a_group_of_any_size_settles_whole),
        CASE(without_utf8_the_marks_are_ascii),
        CASE(colours_are_there_only_when_wanted),
        CASE(what_is_possible_is_asked_of_the_environment),
        CASE(a_live_view_draws_at_most_so_often_and_sees_a_resize),
        CASE(tasks_of_a_group_stand_below_it_and_settle_with_it),
        CASE(what_a_running_task_says_is_wrapped_and_its_end_shown),
        CASE(where_there_are_too_many_what_runs_is_shown),
        CASE(more_tasks_than_a_frame_has_lines_are_counted),
        CASE(a_task_that_takes_long_tells_its_time),
        CASE(the_terminal_is_left_as_it_was),
    };

    setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
