/* A `claude` that is not well: whatever it does, the review ends in time, says
 * in a sentence what was wrong, and leaves nobody of its session behind. */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "sample-cli/claude_read.h"
#include "sample-cli/reply.h"
#include "tests/lib/reviewbed.h"
#include "tests/lib/tree.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define SLACK_MS 15000 /* a machine that is busy has its time */
#define FAILED "FAIL  Review by Claude: Ask the claude command: "
#define DELTA(text)                                                            \
    "{\"type\":\"stream_event\",\"event\":{\"type\":\"content_block_delta\","  \
    "\"delta\":{\"type\":\"text_delta\",\"text\":\"" text "\"}}}"
#define RESULT(text)                                                           \
    "{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,"         \
    "\"result\":\"" text "\"}"
/* a process of its own that lives long and is known: $! or $$ into .pid */
#define KNOWN(pid) "echo " pid " >\"$0.pid\"\n"

/* Who was known is gone. */
static void expect_gone(void)
{
    own_mem char *file = mem_printf("%s/bin/claude.pid", reviewbed.dir);
    own_mem char *text = NULL, *exe = NULL;
    const int64_t until = loop_now_ms() + SLACK_MS;
    size_t len;

    text = tree_get(file, &len);
    assert_true(atoi(text) > 1);
    exe = mem_printf("/proc/%d/exe", atoi(text));
    /* (one that has ended and is not reaped has no program) */
    for (char now[256]; readlink(exe, now, sizeof(now)) > 0;) {
        if (loop_now_ms() > until)
            fail_msg("it is still there");
        poll(NULL, 0, 10);
    }
}

static void fails(const char *claude, int timeout_s, const char *why)
{
    own_mem char *option = mem_printf("--review-timeout=%d", timeout_s);
    own_mem char *want = mem_printf(FAILED "%s", why);
    own_mem char *out = reviewbed_run(claude, NULL, option);

    reviewbed_has(out, want);
    if (!strstr(out, "FAIL  Review by Claude: the answer broke off"))
        reviewbed_has(out, "skip  Review by Claude: no answer: the claude ");
    reviewbed_has(out, "2 findings in 2 files"); /* the look stands */
    assert_true(reviewbed.took_ms < timeout_s * 1000 + SLACK_MS);
}

static void answers(const char *claude, const char *text)
{
    own_mem char *out = reviewbed_run(claude, NULL, "--review-timeout=60");

    reviewbed_has(out, "ok    Review by Claude: by the claude command");
    reviewbed_has(out, text);
    assert_true(reviewbed.took_ms < SLACK_MS);
}

/* --- without an end --- */

static void an_endless_answer_ends_at_its_limit(void **state)
{
    own_mem char *why =
        mem_printf("an answer of more than %zu bytes", REPLY_MAX);

    (void)state;
    fails(SH KNOWN("$$") "exec yes '" DELTA("and so on, and so on") "'", 60,
          why);
    expect_gone();
}

static void endless_noise_ends_at_its_limit(void **state)
{
    own_mem char *lines = mem_printf("more than %zu bytes", CLAUDE_BYTES_MAX);
    own_mem char *line =
        mem_printf("a line of more than %zu bytes", CLAUDE_LINE_MAX);

    (void)state;
    fails(SH KNOWN("$$") "exec yes '{\"type\":\"system\"}'", 60, lines);
    expect_gone();
    fails(SH KNOWN("$$") "exec cat /dev/zero", 60, line);
    expect_gone();
}

/* On standard error it is cut, and the time ends it. */
static void endless_complaints_end_in_time(void **state)
{
    (void)state;
    fails(SH KNOWN("$$") "exec yes oh no >&2", 1, "no answer within 1 s");
    expect_gone();
}

static void silence_ends_and_so_does_who_ignores_signals(void **state)
{
    (void)state;
    fails(SH
          "trap '' TERM INT HUP PIPE\n" KNOWN("$$") "while :; do sleep 1; done",
          1, "no answer within 1 s");
    expect_gone();
    fails("#!/bin/sh\nexec </dev/null\n" KNOWN("$$") "exec sleep 1000", 1,
          "no answer within 1 s");
    expect_gone();
    fails(SH "echo '" DELTA("Half") "'\n" KNOWN("$$") "kill -STOP $$", 1,
          "no answer within 1 s");
    expect_gone();
}

/* --- who is left behind --- */

static void a_child_that_holds_the_pipes_is_not_waited_for(void **state)
{
    (void)state;
    answers(SH "sleep 1000 &\n" KNOWN("$!") "echo '" RESULT("Fine.") "'",
            "\n\nFine.\n");
    expect_gone();
    /* nor one that writes on, to either of them */
    answers(SH "echo '" RESULT("Well.") "'\nyes '{}' &\n" KNOWN("$!"),
            "\n\nWell.\n");
    expect_gone();
    answers(SH "yes >&2 & yes >&2 & yes >&2 & yes >&2 &\n" KNOWN(
                "$!") "echo '" RESULT("Good.") "'",
            "\n\nGood.\n");
    expect_gone();
}

/* One that has left the session cannot be killed with it; nor is it waited
 * for. */
static void one_that_has_left_the_session_is_not_waited_for(void **state)
{
    own_mem char *file = mem_printf("%s/bin/claude.pid", reviewbed.dir);
    own_mem char *text = NULL;
    size_t len;

    (void)state;
    answers(SH "setsid sh -c '" KNOWN(
                "$$") "exec yes >&2' \"$0\" &\n"
                      "until [ -s \"$0.pid\" ]; do sleep 0.01; done\n"
                      "echo '" RESULT("Fine.") "'",
            "\n\nFine.\n");
    /* (its pipe is gone: it has ended by now, or is about to) */
    text = tree_get(file, &len);
    assert_true(atoi(text) > 1);
    kill(atoi(text), SIGKILL);
}

/* --- what it says, and how it ends --- */

static void a_signal_that_ended_it_is_told(void **state)
{
    static const char *const names[] = {"TERM", "SEGV", "KILL", "ABRT"};
    static const int numbers[] = {SIGTERM, SIGSEGV, SIGKILL, SIGABRT};

    (void)state;
    for (int i = 0; i < 4; i++) {
        own_mem char *claude =
            mem_printf(SH "ulimit -c 0\nkill -%s $$", names[i]);
        own_mem char *why =
            mem_printf("it was killed by signal %d", numbers[i]);

        fails(claude, 60, why);
    }
}

static void what_is_not_utf8_is_escaped_or_passed_over(void **state)
{
    (void)state;
    fails(SH "printf 'bad \\377\\302 byte\\n' >&2; exit 3", 60,
          "bad \\xff\\xc2 byte\n");
    fails(SH "printf '{\"type\":\"result\",\"is_error\":false,\"result\":"
             "\"\\377\"}\\n'",
          60, "it ended without a result");
    answers(SH "printf '\\377\\376\\n\\302\\n'; echo '" RESULT("Fine.") "'",
            "\n\nFine.\n");
    /* a character in two writes */
    answers(SH "printf '{\"type\":\"result\",\"is_error\":false,\"result\":"
               "\"\\303'; sleep 0.2; printf '\\244.\"}\\n'",
            "\n\nä.\n");
}

static void a_half_of_an_answer_is_shown_as_one(void **state)
{
    own_mem char *out =
        reviewbed_run(SH "echo '" DELTA("Half of") "'; exit 1", NULL, NULL);

    (void)state;
    reviewbed_has(out, FAILED "it ended with exit code 1");
    reviewbed_has(out, "\n\nHalf of\n(it broke off here)\n");
}

static void an_answer_without_words_is_none(void **state)
{
    (void)state;
    fails(SH "echo '" RESULT("") "'", 60, "its answer is empty");
    fails(SH "echo '{\"type\":\"result\",\"subtype\":\"error_max_turns\"}'", 60,
          "error_max_turns");
    fails(SH "echo '{\"type\":\"result\"}'", 60,
          "an error that it does not name");
    fails(SH "exit 0", 60, "it ended without a result");
}

static void one_that_cannot_be_started_says_why(void **state)
{
    (void)state;
    fails("#!/nowhere/at/all\n", 60, "");
    fails("\177ELF", 60, "");
}

int main(void)
{
#define CASE(f)                                                                \
    cmocka_unit_test_setup_teardown(f, reviewbed_setup, reviewbed_teardown)
    const struct CMUnitTest tests[] = {
        CASE(an_endless_answer_ends_at_its_limit),
        CASE(endless_noise_ends_at_its_limit),
        CASE(endless_complaints_end_in_time),
        CASE(silence_ends_and_so_does_who_ignores_signals),
        CASE(a_child_that_holds_the_pipes_is_not_waited_for),
        CASE(one_that_has_left_the_session_is_not_waited_for),
        CASE(a_signal_that_ended_it_is_told),
        CASE(what_is_not_utf8_is_escaped_or_passed_over),
        CASE(a_half_of_an_answer_is_shown_as_one),
        CASE(an_answer_without_words_is_none),
        CASE(one_that_cannot_be_started_says_why),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
