/* What the user sees of a session's course. */
#include "client/progress.h"

#include "base/json.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static int fd = -1;
static struct progress *p;
static struct modes screen; /* the alternate one, or the ordinary */

static void screen_is(const char *output)
{
    modes_init(&screen);
    modes_see(&screen, (const uint8_t *)output, strlen(output));
}

static void begin(enum progress_kind kind, bool color)
{
    fd = memfd_create("progress", MFD_CLOEXEC);
    assert_true(fd >= 0);
    p = progress_new(fd, kind, color);
}

/* All that was said since the last look. */
static const char *said(void)
{
    static char text[16384];
    static off_t at;
    ssize_t n;

    if (at > lseek(fd, 0, SEEK_END))
        at = 0;
    n = pread(fd, text, sizeof(text) - 1, at);
    assert_true(n >= 0);
    at += n;
    text[n] = 0;
    return text;
}

static void finish(void)
{
    progress_free(p);
    assert_int_equal(ftruncate(fd, 0), 0);
    said(); /* the next one starts at 0 */
    close(fd);
}

static void stage(const char *name, const char *state, int64_t ms, int64_t done,
                  int64_t total, const char *detail, int64_t now_ms)
{
    struct reply_stage st = {.ms = ms, .done = done, .total = total};

    snprintf(st.stage, sizeof(st.stage), "%s", name);
    snprintf(st.state, sizeof(st.state), "%s", state);
    snprintf(st.detail, sizeof(st.detail), "%s", detail);
    progress_stage(p, &st, now_ms);
}

static void plain_lines_are_one_a_stage(void **arg)
{
    (void)arg;
    begin(PROGRESS_PLAIN, false);
    progress_session(p, "abc");
    stage("admitted", "done", 3, -1, -1, "", 0);
    stage("fetch", "running", 100, 1000, 4000, "", 100);
    stage("fetch", "running", 200, 2000, 4000, "", 200);
    stage("fetch", "done", 1234, 4000, 4000, "", 300);
    assert_string_equal(said(), "podterm: session abc\n"
                                "podterm: admitted: 0.00 s\n"
                                "podterm: fetch: 25 %  1.0 kB of 4.0 kB\n"
                                "podterm: fetch: 1.23 s  4.0 kB\n");
    finish();
}

static void a_long_stage_says_so_now_and_then(void **arg)
{
    (void)arg;
    begin(PROGRESS_PLAIN, false);
    stage("fetch", "running", 0, 1, 100, "", 0);
    stage("fetch", "running", 0, 2, 100, "", PROGRESS_PLAIN_MS - 1);
    assert_string_equal(said(), "podterm: fetch: 1 %  1 B of 100 B\n");
    stage("fetch", "running", 0, 3, 100, "", PROGRESS_PLAIN_MS);
    assert_string_equal(said(), "podterm: fetch: 3 %  3 B of 100 B\n");
    finish();
}

static void a_terminal_line_is_rewritten_until_it_is_done(void **arg)
{
    (void)arg;
    begin(PROGRESS_TERMINAL, false);
    stage("fetch", "running", 0, 500000, 1000000, "", 0);
    stage("fetch", "running", 0, 750000, 1000000, "", 1);
    stage("fetch", "done", 2000, 1000000, 1000000, "", 2);
    stage("verified", "failed", 2100, -1, -1, "no", 2);
    assert_string_equal(said(), "\r  fetch       50 %  500.0 kB of 1.0 MB\033[K"
                                "\r  fetch       75 %  750.0 kB of 1.0 MB\033[K"
                                "\r  fetch        2.00 s  1.0 MB\033[K\n"
                                "\r  verified   failed: no\033[K\n");
    finish();
}

static void an_open_line_is_ended_before_anything_else(void **arg)
{
    (void)arg;
    begin(PROGRESS_TERMINAL, false);
    stage("fetch", "running", 0, -1, -1, "", 0);
    said();
    stage("unpacked", "running", 0, -1, -1, "", 0);
    assert_string_equal(said(), "\n\r  unpacked   ...\033[K");
    progress_failed(p, "x");
    assert_string_equal(said(), "\npodterm: x\n");
    finish();
}

static void colour_only_where_it_is_wanted(void **arg)
{
    (void)arg;
    begin(PROGRESS_TERMINAL, true);
    stage("fetch", "done", 0, -1, -1, "", 0);
    assert_non_null(strstr(said(), "\033[32mfetch"));
    finish();
    begin(PROGRESS_TERMINAL, false);
    stage("fetch", "done", 0, -1, -1, "", 0);
    assert_null(strstr(said(), "\033[3"));
    finish();
}

static void stages_that_are_repeated_are_told_once(void **arg)
{
    (void)arg;
    begin(PROGRESS_PLAIN, false);
    stage("fetch", "done", 5, 1, 1, "", 0);
    said();
    stage("fetch", "running", 5, 1, 1, "", 0);
    stage("fetch", "done", 5, 1, 1, "", 0);
    assert_string_equal(said(), "");
    progress_begin(p, false, NULL);
    stage("other", "done", 5, 1, 1, "", 0); /* the program has begun */
    assert_string_equal(said(), "");
    finish();
}

static void words_of_the_server_are_escaped_everywhere(void **arg)
{
    static const enum progress_kind kinds[] = {
        PROGRESS_PLAIN, PROGRESS_TERMINAL, PROGRESS_JSON};
    static const char evil[] = "\033]52;c;eA==\007\r\n\xc2\x9b"
                               "2J";

    (void)arg;
    for (size_t i = 0; i < 3; i++) {
        struct reply_end end = {.reason = -1, .code = -1};
        const char *text;

        snprintf(end.word, sizeof(end.word), "%s", evil);
        snprintf(end.detail, sizeof(end.detail), "%s", evil);
        begin(kinds[i], false);
        stage(evil, "done", 0, -1, -1, evil, 0);
        stage(evil, evil, 0, 1, 2, evil, 0);
        stage("notice", "waiting", 0, -1, -1, evil, 0);
        progress_lost(p, evil, false);
        progress_end(p, &end, 125, evil);
        progress_failed(p, evil);
        text = said();
        assert_true(strlen(text) > 50);
        for (const char *c = text; *c; c++) {
            if (*c == '\033' && !strncmp(c, "\033[K", 3))
                continue; /* ours */
            if (*c == '\r' && !strncmp(c, "\r  ", 3))
                continue;
            assert_true(*c == '\n' || (unsigned char)*c >= ' ');
            assert_false((unsigned char)*c == 0xc2);
        }
        finish();
    }
}

static void on_the_alternate_screen_the_corner_is_used(void **arg)
{
    const char *text;

    (void)arg;
    begin(PROGRESS_TERMINAL, true);
    screen_is("\033[?1049h");
    progress_begin(p, true, &screen);
    progress_lost(p, "x", true);
    text = said();
    assert_int_equal(strncmp(text, "\0337\033[1;", 6), 0);
    assert_non_null(strstr(text, "connection lost"));
    assert_non_null(strstr(text, "Ctrl-C leaves"));
    assert_null(strchr(text, '\n'));
    assert_string_equal(text + strlen(text) - 2, "\0338");
    assert_int_equal(progress_stands_ms(p), -1);
    progress_back(p, 0);
    assert_int_equal(progress_stands_ms(p), PROGRESS_BACK_MS);
    assert_non_null(strstr(said(), "attached again: nothing was lost"));
    assert_true(progress_clear(p));
    assert_int_equal(progress_stands_ms(p), 0);
    assert_false(progress_clear(p));
    text = said();
    assert_int_equal(strncmp(text, "\0337\033[1;", 6), 0);
    assert_null(strstr(text, "attached"));
    progress_finish(p);
    progress_failed(p, "over");
    assert_string_equal(said(), "\npodterm: over\n");
    finish();
}

/* No cell is written to: not a byte but for the title, which comes back. */
static void on_the_ordinary_screen_the_title_is_used(void **arg)
{
    static const char *const outputs[] = {
        "", "\033[?1049h\033[?1049l", "\033[?1049h\0337", /* a cursor kept */
        "\033[?1049h\033[?6h", "\033[?1049h\033[1"};

    (void)arg;
    for (size_t i = 0; i < sizeof(outputs) / sizeof(*outputs); i++) {
        begin(PROGRESS_TERMINAL, true);
        screen_is(outputs[i]);
        progress_begin(p, true, &screen);
        progress_slow(p, 4100, '~');
        assert_string_equal(said(), "\033[22;2t\033]2;podterm: no answer for 4 "
                                    "s; the program goes on (Enter, then ~. "
                                    "detaches)\033\\");
        progress_lost(p, "x", true);
        assert_string_equal(said(), "\033]2;podterm: connection lost; the "
                                    "program goes on; attaching again... "
                                    "(Ctrl-C leaves)\033\\");
        assert_int_equal(progress_stands_ms(p), -1);
        assert_false(progress_clear(p)); /* nothing to be drawn */
        assert_string_equal(said(), "\033[23;2t");
        progress_notice(p, "e\033]0;vil\007\xc3\xa9");
        assert_string_equal(said(), "\033[22;2t\033]2;podterm: e\\x1b]0;vil"
                                    "\\x07??\033\\\a");
        progress_finish(p);
        assert_string_equal(said(), "\033[23;2t");
        finish();
    }
}

/* What the user asked for is shown in any case. */
static void an_answer_to_a_key_is_a_line_or_in_the_corner(void **arg)
{
    (void)arg;
    begin(PROGRESS_TERMINAL, false);
    screen_is("");
    progress_begin(p, true, &screen);
    progress_asked(p, "all of it", "less");
    assert_string_equal(said(), "\r\npodterm: all of it\r\n");
    screen_is("\033[?1049h");
    progress_asked(p, "all of it", "less");
    assert_int_equal(progress_stands_ms(p), PROGRESS_NOTICE_MS);
    assert_non_null(strstr(said(), " all of it "));
    finish();
}

static void what_was_skipped_is_told_in_bytes(void **arg)
{
    (void)arg;
    begin(PROGRESS_PLAIN, false);
    progress_begin(p, false, NULL);
    progress_back(p, 4096);
    assert_string_equal(said(),
                        "podterm: attached again: 4096 bytes of output were "
                        "skipped\n");
    finish();
}

/* What the corner says on a terminal of that width. */
static const char *corner(int cols, bool is_back)
{
    static char text[1024];
    struct winsize size = {.ws_row = 24, .ws_col = (unsigned short)cols};
    int master, slave;
    ssize_t n;

    assert_int_equal(openpty(&master, &slave, NULL, NULL, &size), 0);
    p = progress_new(slave, PROGRESS_TERMINAL, false);
    screen_is("\033[?1049h");
    progress_begin(p, true, &screen);
    if (is_back)
        progress_back(p, 4096);
    else
        progress_lost(p, "x", true);
    n = read(master, text, sizeof(text) - 1);
    assert_true(n > 0);
    text[n] = 0;
    progress_free(p);
    close(slave);
    close(master);
    return text;
}

static void a_narrow_terminal_is_told_what_matters(void **arg)
{
    (void)arg;
    assert_non_null(strstr(corner(100, false), "the program goes on"));
    for (int cols = 20; cols <= 100; cols++)
        assert_non_null(strstr(corner(cols, false), "Ctrl-C leaves"));
    assert_non_null(
        strstr(corner(100, true), "4096 bytes of output were skipped"));
    for (int cols = 22; cols <= 100; cols++)
        assert_non_null(strstr(corner(cols, true), "were skipped"));
}

static void what_is_no_longer_kept_is_told(void **arg)
{
    static const enum progress_kind kinds[] = {
        PROGRESS_PLAIN, PROGRESS_TERMINAL, PROGRESS_QUIET};
    struct reply_ready r = {.is_isolated = true, .output_from = 512};

    (void)arg;
    for (size_t i = 0; i < 3; i++) {
        begin(kinds[i], false);
        progress_ready(p, &r);
        assert_string_equal(
            said(), "podterm: output before byte 512 is no longer kept\n");
        finish();
    }
    begin(PROGRESS_JSON, false);
    progress_ready(p, &r);
    assert_non_null(strstr(said(), "\"skipped\":512"));
    finish();
}

static void leaving_ends_the_line_under_way(void **arg)
{
    (void)arg;
    begin(PROGRESS_TERMINAL, false);
    stage("fetch", "running", 0, -1, -1, "", 0);
    said();
    progress_finish(p);
    assert_string_equal(said(), "\n");
    progress_failed(p, "x");
    assert_string_equal(said(), "podterm: x\n");
    finish();
    begin(PROGRESS_TERMINAL, false);
    stage("fetch", "done", 0, -1, -1, "", 0);
    said();
    progress_interrupted(p); /* behind ^C */
    progress_finish(p);
    assert_string_equal(said(), "\n");
    finish();
}

static void a_program_that_is_not_isolated_is_told(void **arg)
{
    struct reply_ready r = {.is_isolated = false};

    (void)arg;
    begin(PROGRESS_QUIET, false);
    progress_ready(p, &r);
    assert_non_null(strstr(said(), "NOT isolated"));
    r.is_isolated = true;
    progress_ready(p, &r);
    assert_string_equal(said(), "");
    finish();
}

static void quiet_is_quiet_but_for_failures(void **arg)
{
    struct reply_end end = {.reason = REASON_EXITED, .code = 0};

    (void)arg;
    begin(PROGRESS_QUIET, false);
    progress_session(p, "abc");
    stage("fetch", "done", 0, -1, -1, "", 0);
    progress_end(p, &end, 0, "");
    assert_string_equal(said(), "");
    progress_failed(p, "no");
    assert_string_equal(said(), "podterm: no\n");
    finish();
}

static void quiet_says_nothing_among_the_programs_output(void **arg)
{
    int master, slave, there = -1;

    (void)arg;
    assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
    p = progress_new(slave, PROGRESS_QUIET, false);
    screen_is("");
    progress_begin(p, true, &screen);
    progress_lost(p, "x", true);
    progress_back(p, 0);
    progress_notice(p, "x");
    progress_slow(p, 5000, '~');
    assert_int_equal(ioctl(master, FIONREAD, &there), 0);
    assert_int_equal(there, 0);
    progress_free(p);
    close(slave);
    close(master);
}

static void json_is_an_object_a_line(void **arg)
{
    struct reply_ready r = {.is_isolated = true};
    struct reply_end end = {
        .reason = REASON_EXITED, .word = "exited", .code = 3};
    char *line;

    (void)arg;
    begin(PROGRESS_JSON, false);
    progress_session(p, "abc");
    stage("fetch", "running", 1, 2, 3, "d", 0);
    progress_ready(p, &r);
    progress_begin(p, true, &screen);
    progress_lost(p, "x", true);
    progress_back(p, 7);
    progress_end(p, &end, 3, "");
    line = strdup(said());
    assert_non_null(strstr(line, "{\"event\":\"attached\",\"skipped\":7}\n"));
    assert_non_null(strstr(line, "\"status\":3}\n"));
    for (char *at = strtok(line, "\n"); at; at = strtok(NULL, "\n")) {
        struct err e = {0};
        own_json struct json *j = json_parse(at, strlen(at), &e);

        assert_non_null(json_get_str(j, "event"));
    }
    free(line);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_lines_are_one_a_stage),
        cmocka_unit_test(a_long_stage_says_so_now_and_then),
        cmocka_unit_test(a_terminal_line_is_rewritten_until_it_is_done),
        cmocka_unit_test(an_open_line_is_ended_before_anything_else),
        cmocka_unit_test(colour_only_where_it_is_wanted),
        cmocka_unit_test(stages_that_are_repeated_are_told_once),
        cmocka_unit_test(words_of_the_server_are_escaped_everywhere),
        cmocka_unit_test(on_the_alternate_screen_the_corner_is_used),
        cmocka_unit_test(on_the_ordinary_screen_the_title_is_used),
        cmocka_unit_test(an_answer_to_a_key_is_a_line_or_in_the_corner),
        cmocka_unit_test(quiet_says_nothing_among_the_programs_output),
        cmocka_unit_test(what_was_skipped_is_told_in_bytes),
        cmocka_unit_test(a_narrow_terminal_is_told_what_matters),
        cmocka_unit_test(what_is_no_longer_kept_is_told),
        cmocka_unit_test(leaving_ends_the_line_under_way),
        cmocka_unit_test(a_program_that_is_not_isolated_is_told),
        cmocka_unit_test(quiet_is_quiet_but_for_failures),
        cmocka_unit_test(json_is_an_object_a_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
