/* The agent's last word and its readiness. */
#include "agent/report.h"

#include "base/json.h"
#include "base/layer.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/programs.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char *dir, *path;
static char text[8192];
static struct err e;

static int setup(void **arg)
{
    (void)arg;
    dir = scratch_new();
    path = mem_printf("%s/end.json", dir);
    e = (struct err){0};
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    scratch_remove(dir);
    free(path);
    return 0;
}

static size_t slurp(const char *file)
{
    own_fd int fd = open(file, O_RDONLY);
    ssize_t n = read(fd, text, sizeof(text) - 1);

    assert_true(n >= 0);
    text[n] = 0;
    return (size_t)n;
}

static void put(const char *file, const char *what)
{
    own_fd int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_return_code(fd, errno);
    assert_int_equal(write(fd, what, strlen(what)), strlen(what));
}

/* The file is one whole JSON object of these members alone. */
static struct json *read_back(const char *const *names)
{
    size_t len = slurp(path);
    struct json *j = json_parse(text, len, &e);

    assert_true(len <= REPORT_MAX);
    if (!j || json_only(j, names, &e) < 0)
        fail_msg("%s: %s", text, e.text);
    return j;
}

static const char *const end_names[] = {
    "v",        "reason",       "exit_code",   "signal", "detail", "started_ms",
    "ended_ms", "output_bytes", "input_bytes", "cage",   NULL};

static struct state_head ended(enum end_reason reason)
{
    return (struct state_head){.reason = reason,
                               .exit_kind = -1,
                               .started_ms = 1800000000000,
                               .ended_ms = 1800000001000,
                               .output_end = 4096,
                               .input_received = 7};
}

static void every_reason_is_of_the_closed_vocabulary(void **arg)
{
    (void)arg;
    for (int r = REASON_NONE + 1; r < REASON_COUNT; r++) {
        struct state_head h = ended((enum end_reason)r);
        own_json struct json *j = NULL;
        int64_t n;

        assert_int_equal(report_write(path, &h, &e), 0);
        j = read_back(end_names);
        assert_int_equal(end_reason_of(json_get_str(j, "reason")), r);
        assert_int_equal(json_get_int(j, "v", &n), 0);
        assert_int_equal(n, 1);
        assert_int_equal(json_get_int(j, "output_bytes", &n), 0);
        assert_int_equal(n, 4096);
        assert_int_equal(json_get_int(j, "input_bytes", &n), 0);
        assert_int_equal(n, 7);
        assert_null(json_get(j, "exit_code"));
        assert_null(json_get(j, "signal"));
        assert_null(json_get(j, "detail"));
    }
}

static void code_or_signal_only_when_known(void **arg)
{
    struct state_head h = ended(REASON_EXITED);
    struct json *j;
    int64_t n;

    (void)arg;
    h.exit_kind = 0;
    h.exit_value = 0;
    assert_int_equal(report_write(path, &h, &e), 0);
    j = read_back(end_names);
    assert_int_equal(json_get_int(j, "exit_code", &n), 0);
    assert_int_equal(n, 0);
    assert_null(json_get(j, "signal"));
    json_free(j);
    h.exit_kind = 1;
    h.exit_value = 9;
    assert_int_equal(report_write(path, &h, &e), 0);
    j = read_back(end_names);
    assert_int_equal(json_get_int(j, "signal", &n), 0);
    assert_int_equal(n, 9);
    assert_null(json_get(j, "exit_code"));
    json_free(j);
}

static void the_longest_report_is_within_its_limit(void **arg)
{
    struct state_head h = ended(REASON_BUNDLE_REFUSED);
    own_json struct json *j = NULL;
    char detail[ERR_TEXT_MAX] = "";

    (void)arg;
    /* each byte of the detail becomes six */
    memset(h.detail, 1, sizeof(h.detail) - 1);
    h.exit_kind = 1;
    h.exit_value = INT32_MIN;
    h.started_ms = h.ended_ms = INT64_C(1) << 52;
    h.output_end = h.input_received = INT64_C(1) << 52;
    assert_int_equal(report_write(path, &h, &e), 0);
    j = read_back(end_names);
    assert_int_equal(strlen(json_get_str(j, "detail")), sizeof(h.detail) - 1);
    put(path, "");
    memset(detail, 1, sizeof(detail) - 1);
    assert_int_equal(report_write_lost(path, REASON_RUNNER_LOST, detail, &e),
                     0);
    json_free(j);
    j = read_back(end_names);
}

static void it_is_written_in_place(void **arg)
{
    struct state_head h = ended(REASON_SIGNALLED);
    own_mem char *long_text = mem_zero(REPORT_MAX + 1, 1);
    struct stat before, after;

    (void)arg;
    memset(long_text, 'x', REPORT_MAX);
    put(path, long_text);
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(report_write(path, &h, &e), 0);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    json_free(read_back(end_names)); /* and nothing old behind it */
}

static void the_first_report_stands(void **arg)
{
    struct state_head h = ended(REASON_EXITED);
    own_json struct json *j = NULL;

    (void)arg;
    assert_int_equal(report_write(path, &h, &e), 0);
    assert_int_equal(
        report_write_lost(path, REASON_RUNNER_LOST, "killed 20 times", &e), 0);
    j = read_back(end_names);
    assert_string_equal(json_get_str(j, "reason"), "exited");
}

static void an_empty_file_takes_the_lost_report(void **arg)
{
    own_json struct json *j = NULL;

    (void)arg;
    put(path, "");
    assert_int_equal(
        report_write_lost(path, REASON_RUNNER_LOST, "killed 20 times", &e), 0);
    j = read_back(end_names);
    assert_string_equal(json_get_str(j, "reason"), "runner_lost");
    assert_string_equal(json_get_str(j, "detail"), "killed 20 times");
}

static void no_link_is_followed(void **arg)
{
    struct state_head h = ended(REASON_EXITED);
    own_mem char *victim = mem_printf("%s/victim", dir);
    struct stat st;

    (void)arg;
    put(victim, "");
    assert_int_equal(symlink(victim, path), 0);
    assert_int_equal(report_write(path, &h, &e), -1);
    assert_non_null(strstr(e.text, path));
    assert_int_equal(stat(victim, &st), 0);
    assert_int_equal(st.st_size, 0);
}

static void a_place_that_cannot_be_written_is_named(void **arg)
{
    struct state_head h = ended(REASON_EXITED);
    own_mem char *nowhere = mem_printf("%s/no/end.json", dir);

    (void)arg;
    assert_int_equal(report_write(nowhere, &h, &e), -1);
    assert_int_equal(e.kind, ERR_SYSTEM);
    assert_non_null(strstr(e.text, nowhere));
    assert_int_equal(report_write_lost(nowhere, REASON_RUNNER_LOST, "x", &e),
                     -1);
    assert_int_equal(status_write(nowhere, "listening", "a", 0, "full", 0, &e),
                     -1);
    if (access("/dev/full", W_OK) == 0)
        assert_int_equal(report_write("/dev/full", &h, &e), -1);
}

/* --- status.json --- */

static const char *const status_names[] = {
    "v", "state", "addr", "program_started_ms", "isolation", "cage", NULL};

static void a_status_is_replaced_by_rename(void **arg)
{
    struct json *j;
    own_fd int held = -1;
    int64_t n;

    (void)arg;
    assert_int_equal(
        status_write(path, "listening", "127.0.0.1:1", 0, "full", 0, &e), 0);
    held = open(path, O_RDONLY);
    assert_int_equal(status_write(path, "running", "127.0.0.1:1", 1800000000000,
                                  "none", LAYER_CALLS | LAYER_FILES, &e),
                     0);
    j = read_back(status_names);
    assert_string_equal(json_get_str(j, "state"), "running");
    assert_string_equal(json_get_str(j, "addr"), "127.0.0.1:1");
    assert_int_equal(json_get_int(j, "program_started_ms", &n), 0);
    assert_int_equal(n, 1800000000000);
    assert_string_equal(json_get_str(j, "isolation"), "none");
    assert_int_equal(layer_of_json(json_get(j, "cage")),
                     LAYER_CALLS | LAYER_FILES);
    json_free(j);
    /* who held the old one still reads it whole */
    text[read(held, text, sizeof(text) - 1)] = 0;
    assert_non_null(strstr(text, "listening"));
}

static void a_left_over_is_no_hindrance_and_none_is_left(void **arg)
{
    own_mem char *fresh = mem_printf("%s.new", path);
    own_mem char *victim = mem_printf("%s/victim", dir);
    struct stat st;

    (void)arg;
    put(fresh, "torn by a kill");
    assert_int_equal(status_write(path, "running", "a", 1, "full", 0, &e), 0);
    assert_int_equal(access(fresh, F_OK), -1);
    put(victim, "");
    assert_int_equal(symlink(victim, fresh), 0);
    assert_int_equal(status_write(path, "running", "a", 1, "full", 0, &e), 0);
    assert_int_equal(stat(victim, &st), 0);
    assert_int_equal(st.st_size, 0);
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
    /* a rename that fails */
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(status_write(path, "running", "a", 1, "full", 0, &e), -1);
    assert_int_equal(access(fresh, F_OK), -1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(every_reason_is_of_the_closed_vocabulary),
        T(code_or_signal_only_when_known),
        T(the_longest_report_is_within_its_limit),
        T(it_is_written_in_place),
        T(the_first_report_stands),
        T(an_empty_file_takes_the_lost_report),
        T(no_link_is_followed),
        T(a_place_that_cannot_be_written_is_named),
        T(a_status_is_replaced_by_rename),
        T(a_left_over_is_no_hindrance_and_none_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
