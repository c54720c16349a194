/*
 * The client without a terminal, in pipelines and scripts, and its smaller
 * commands: the real `podterm` against a whole stack.
 */
#include "base/digest.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/child.h"
#include "tests/lib/programs.h"
#include "tests/lib/stack.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SOON_MS 15000
#define CLIENT_KIB_MAX 40000 /* of a client whose reader sleeps */

static struct stack *stack;
static struct stack_bundle bundle;

static int setup(void **arg)
{
    /* each attachment is to move after a second */
    static const char *const more[] = {"--", "--attach-max-s=1", NULL};
    own_mem char *podterm = program_path("podterm");
    own_mem char *server = NULL;

    (void)arg;
    stack = stack_new(more);
    stack_pack(stack, "prog", "exit 9", &bundle);
    server = mem_printf("http://127.0.0.1:%d", stack->port);
    setenv("PODTERM_SERVER", server, 1);
    setenv("PODTERM_BUNDLE", bundle.url, 1);
    setenv("PODTERM_SHA256", bundle.sha256, 1);
    setenv("PODTERM_AS", "tester", 1);
    setenv("P", podterm, 1);
    setenv("D", stack->dir, 1);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    stack_free(stack);
    return 0;
}

/* A shell line ($P is podterm, $D a directory); what it said is in `c` until
 * the next one. */
static struct child c;

static void shell(const char *line, int code)
{
    static const char *argv[4] = {"sh", "-c"};

    child_fini(&c);
    c = (struct child){.argv = argv};
    argv[2] = line;
    child_expect(&c, code);
}

static int leave(void **arg)
{
    (void)arg;
    child_fini(&c);
    c = (struct child){0};
    return 0;
}

/* --- streams --- */

static void a_pipe_goes_through_and_its_end_is_the_programs(void **arg)
{
    (void)arg;
    shell("printf 'one\\ntwo\\n' | $P run -- "
          "sh -c 'stty -echo; while read -r l; do echo \"<$l>\"; done; exit 4'",
          4);
    assert_non_null(strstr(c.out, "<one>\r\n<two>\r\n"));
    assert_non_null(strstr(c.err, "podterm: session "));
    assert_non_null(strstr(c.err, "podterm: started: "));
    assert_null(strchr(c.err, '\033'));
}

static void a_last_line_without_its_end_ends_too(void **arg)
{
    (void)arg;
    shell("printf half | $P run --quiet -- sh -c 'stty -echo; cat; echo .'", 0);
    assert_non_null(strstr(c.out, "half.\r\n"));
    assert_string_equal(c.err, "");
}

static void no_input_at_all_is_an_end(void **arg)
{
    (void)arg;
    shell("$P run --quiet -- cat </dev/null", 0);
    assert_string_equal(c.out, "");
}

static void closed_standard_streams_are_empty_ones(void **arg)
{
    (void)arg;
    shell("$P run --quiet -- sh -c 'stty -echo; cat; exit 3' <&-", 3);
    shell("$P run --quiet -- sh -c 'echo x; exit 4' </dev/null >&-", 4);
    shell("$P run -- sh -c 'echo x; exit 5' </dev/null 2>&-", 5);
    assert_string_equal(c.out, "x\r\n");
    assert_string_equal(c.err, "");
    shell("$P run -- sh -c 'exit 6' <&- >&- 2>&-", 6);
}

static void a_file_of_a_megabyte_arrives_whole(void **arg)
{
    (void)arg;
    shell("seq 1 150000 >$D/in; sha256sum <$D/in; "
          "$P run --quiet -- sh -c 'stty -echo; sleep 0.3; echo; sha256sum' "
          "<$D/in "
          "| tr -d '\\r' | tail -n 1",
          0);
    assert_int_equal(c.len, 2 * (64 + 4));
    assert_memory_equal(c.out, c.out + 68, 68);
}

static void output_to_a_pipe_is_byte_exact_and_unfiltered(void **arg)
{
    (void)arg;
    shell("$P run --quiet -- sh -c \"stty raw -echo; seq 1 2000000; "
          "printf '\\033]52;c;eA==\\007'\" </dev/null | sha256sum; "
          "{ seq 1 2000000; printf '\\033]52;c;eA==\\007'; } | sha256sum",
          0);
    assert_int_equal(c.len, 2 * (64 + 4));
    assert_memory_equal(c.out, c.out + 68, 68);
}

static void attachments_that_move_lose_nothing_in_either_direction(void **arg)
{
    (void)arg;
    /* (what is typed before the echo is off is seen twice) */
    shell("for i in 1 2 3 4 5 6 7 8; do sleep 0.5; echo in-$i; done | "
          "$P run --json -- sh -c 'stty -echo -onlcr; "
          "for i in $(seq 1 700); do echo out-$i; sleep 0.01; done; cat' "
          ">$D/moved 2>$D/told; grep out- $D/moved | sha256sum; "
          "seq 1 700 | sed s/^/out-/ | sha256sum; grep ^in- $D/moved | uniq",
          0);
    assert_memory_equal(c.out, c.out + 68, 68);
    assert_string_equal(c.out + 2 * 68,
                        "in-1\nin-2\nin-3\nin-4\nin-5\nin-6\nin-7\nin-8\n");
    shell("grep -e lost -e attached $D/told || true; "
          "grep attach.open $D/state/log/gateway.log | grep -c "
          "$(sed -n 's/.*\"id\":\"\\([a-z2-7]*\\).*/\\1/p' $D/told)",
          0);
    assert_in_range(atoi(c.out), 3, 20); /* it did move, without a word */
}

static void a_reader_that_goes_away_ends_the_session(void **arg)
{
    own_json struct json *j = NULL;
    bool ending = false;
    char sid[ID_SIZE];

    (void)arg;
    shell("exec 3>&1; { $P run -- sh -c 'while :; do echo y; done' "
          "</dev/null; echo code $? >&3; } | head -n 1",
          0);
    assert_non_null(strstr(c.out, "code 141"));
    assert_non_null(strstr(c.err, "session "));
    assert_null(strstr(c.err, "Broken"));
    snprintf(sid, sizeof(sid), "%.26s", strstr(c.err, "session ") + 8);
    j = stack_get(stack, "tester", sid);
    json_get_bool(j, "ending", &ending);
    assert_true(ending || !strcmp(json_get_str(j, "state"), "ended"));
}

static long resident_kib(pid_t pid)
{
    char path[64], line[256];
    long kib = -1;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    f = fopen(path, "r");
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "VmRSS: %ld kB", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib;
}

/* podterm run -- sh -c script with stdout in a pipe. */
static pid_t start(const char *script, int *out_fd)
{
    int ends[2];
    pid_t pid;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_RDONLY);

        dup2(null, 0);
        dup2(ends[1], 1);
        execl(getenv("P"), "podterm", "run", "--quiet", "--", "sh", "-c",
              script, (char *)NULL);
        _exit(126);
    }
    close(ends[1]);
    *out_fd = ends[0];
    return pid;
}

static int finish(pid_t pid)
{
    const int64_t until = loop_now_ms() + SOON_MS;
    int status;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (loop_now_ms() > until) {
            kill(pid, SIGKILL);
            fail_msg("podterm does not end");
        }
        poll(NULL, 0, 10);
    }
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void expect(int fd, const char *text)
{
    size_t len = 0, want = strlen(text);
    char got[256] = "";

    while (len < want) {
        struct pollfd p = {.fd = fd, .events = POLLIN};

        assert_int_equal(poll(&p, 1, SOON_MS), 1);
        assert_true(read(fd, got + len, 1) == 1);
        len++;
    }
    assert_string_equal(got, text);
}

static void a_reader_that_sleeps_costs_no_memory_and_no_bytes(void **arg)
{
    struct digest *d = digest_new(DIGEST_SHA256);
    uint8_t sum[SHA256_BYTES], bytes[65536];
    char hex[2 * SHA256_BYTES + 1], expected[128];
    ssize_t n;
    int fd;
    pid_t pid = start("stty raw -echo; seq 1 3000000", &fd);

    (void)arg;
    poll(NULL, 0, 2000);
    assert_in_range(resident_kib(pid), 1000, CLIENT_KIB_MAX);
    while ((n = read(fd, bytes, sizeof(bytes))) > 0)
        digest_add(d, bytes, (size_t)n);
    close(fd);
    digest_end(d, sum);
    digest_free(d);
    hex_encode(sum, sizeof(sum), hex);
    assert_int_equal(finish(pid), 0);
    shell("seq 1 3000000 | sha256sum", 0);
    snprintf(expected, sizeof(expected), "%s  -\n", hex);
    assert_string_equal(c.out, expected);
}

static void an_interrupt_is_passed_on_and_a_second_one_leaves(void **arg)
{
    int fd;
    pid_t pid = start("stty raw -echo; trap 'printf int' INT; printf go; "
                      "while :; do sleep 0.05; done",
                      &fd);

    (void)arg;
    expect(fd, "go");
    kill(pid, SIGINT);
    expect(fd, "int");
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
    kill(pid, SIGINT);
    assert_int_equal(finish(pid), 130);
    close(fd);
    shell("$P ls --json", 0);
    assert_non_null(strstr(c.out, "\"state\":\"running\""));
    shell("$P ls --json | jq -r .id", 0);
    c.out[ID_LEN] = 0;
    stack_delete(stack, "tester", c.out);
}

static void a_term_that_is_passed_on_ends_the_program(void **arg)
{
    int fd;
    pid_t pid = start("stty raw -echo; printf go; sleep 100", &fd);

    (void)arg;
    expect(fd, "go");
    kill(pid, SIGTERM);
    assert_int_equal(finish(pid), 143);
    close(fd);
}

/* --- other commands --- */

static void json_tells_events_on_stderr(void **arg)
{
    (void)arg;
    shell("$P run --json -- sh -c 'exit 3' </dev/null", 3);
    assert_string_equal(c.out, "");
    for (char *at = strtok(c.err, "\n"); at; at = strtok(NULL, "\n")) {
        struct err e = {0};
        own_json struct json *j = json_parse(at, strlen(at), &e);
        const char *event = json_get_str(j, "event");
        int64_t v;

        assert_non_null(event);
        if (strcmp(event, "exit") != 0)
            continue;
        assert_string_equal(json_get_str(j, "reason"), "exited");
        assert_int_equal(json_get_int(j, "status", &v), 0);
        assert_int_equal(v, 3);
        return;
    }
    fail_msg("no exit event");
}

static void json_tells_what_stands_in_the_way_too(void **arg)
{
    static const char *const table[][2] = {
        {"$P run --json --sha256 abc", "64 hexadecimal digits"},
        {"$P run --bogus --json", "--bogus"},
        {"$P run --json --server http://127.0.0.1:1", "podterm dev"},
        {"$P run --json --lifetime-s 0", "--lifetime-s"},
        {"$P run --json --escape=ab", "--escape"},
        {"$P attach --json", "which session?"},
        {"$P attach --json nope", "nope"},
        {"$P attach --json --bogus x", "--bogus"},
        {"$P attach --json --server http://127.0.0.1:1 abcd", "podterm dev"},
        {"PODTERM_JSON=true $P attach", "which session?"},
        {"$P end --json nope", "nope"},
        {"$P ls --json --server http://127.0.0.1:1", "podterm dev"},
        {"$P ls --json x", "takes no operands"},
        {"$P version --json x", "takes no operands"},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        struct err e = {0};
        own_json struct json *j = NULL;

        shell(table[i][0], 125);
        j = json_parse(c.err, strlen(c.err), &e);
        if (!j)
            fail_msg("%s: %s", table[i][0], c.err);
        assert_string_equal(json_get_str(j, "event"), "error");
        if (!strstr(json_get_str(j, "message"), table[i][1]))
            fail_msg("%s: %s", table[i][0], c.err);
    }
}

/* What could not be written is not passed over: scripts go by the exit code. */
static void a_full_disk_behind_stdout_is_a_failure(void **arg)
{
    static const char *const commands[] = {
        "$P ls --all",
        "$P ls --all --json",
        "$P version",
        "$P version --json",
        "$P --version",
        "$P --help",
        "$P help run",
        "$P run --help",
        "$P attach --help",
        "$P end $($P run --detach -- sleep 1000)",
        "$P end --json $($P run --detach -- sleep 1000)",
    };

    (void)arg;
    shell("$P end $($P run --detach -- sleep 1000)", 0); /* something to list */
    for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
        own_mem char *line = mem_printf("%s >/dev/full", commands[i]);

        shell(line, 125);
        if (!strstr(c.err, "No space left") &&
            !strstr(c.err, "not all was told"))
            fail_msg("%s: %s", line, c.err);
    }
    /* its session is made all the same, and can be found and ended */
    shell("$P run --detach -- sleep 1000 >/dev/full", 125);
    shell("$P ls --json | sed 's/.*\"id\":\"\\([a-z2-7]*\\)\".*/\\1/' | "
          "xargs $P end",
          0);
}

static void a_detached_session_is_listed_attached_and_ended(void **arg)
{
    (void)arg;
    shell("id=$($P run --detach -- sh -c 'stty -echo; read -r x; exit 6') && "
          "$P ls && echo x | $P attach --quiet $(echo $id | cut -c1-7); "
          "code=$?; while ! $P ls --all | grep -F 'exited 6'; do :; done; "
          "exit $code",
          6);
    assert_non_null(strstr(c.out, "\tprog.tar.gz\t"));
    assert_non_null(strstr(c.out, "exited 6"));
    shell("$P run --detach --json -- sleep 100 >$D/s; jq -r .id <$D/s; "
          "$P end --json $(jq -r .id <$D/s) | jq -r .reason",
          0);
    assert_non_null(strstr(c.out, "deleted"));
    /* nor anything in three parts with dots, whatever it is called */
    shell("jq -r '.id, .state, .attach_url' <$D/s | grep -c .", 0);
    assert_string_equal(c.out, "3\n");
    shell("grep -iE 'token|[A-Za-z0-9_-]{16,}[.][A-Za-z0-9_-]{16,}[.]' $D/s",
          1);
}

static void a_process_has_a_most_of_memory_unless_told_otherwise(void **arg)
{
    (void)arg;
    shell("$P run -- sh -c 'ulimit -d' </dev/null", 0);
    assert_string_equal(c.out, "4194304\r\n"); /* KiB */
}

static void an_ended_session_still_tells_its_end(void **arg)
{
    (void)arg;
    shell("$P run -- sh -c 'exit 5' </dev/null 2>$D/told; "
          "$P attach $(sed -n 's/.*: session //p' $D/told) </dev/null",
          5);
    assert_string_equal(c.out, "");
}

static void the_environment_reaches_the_program_with_a_warning(void **arg)
{
    (void)arg;
    shell("export MINE='a b'; $P run --env MINE --env=YOURS=x=y -- "
          "sh -c 'echo \"$MINE/$YOURS/$OTHER.\"' </dev/null",
          0);
    assert_non_null(strstr(c.out, "a b/x=y/.\r\n"));
    assert_non_null(strstr(c.err, "the program can read"));
    assert_null(strstr(c.err, "x=y"));
    shell("$P run --env NOT_THERE </dev/null", 125);
    assert_non_null(strstr(c.err, "NOT_THERE"));
}

static void mistakes_are_told_with_what_to_do(void **arg)
{
    static const char *const table[][2] = {
        {"PODTERM_BUNDLE= ; unset PODTERM_BUNDLE PODTERM_SHA256; $P run",
         "PODTERM_BUNDLE"},
        {"unset PODTERM_SHA256; $P run", "sha256sum"},
        {"$P run --sha256 abc", "64 hexadecimal digits"},
        {"$P run --server http://example.com", "https"},
        {"$P run --bogus", "--bogus"},
        {"$P run --lifetime-s 0", "--lifetime-s"},
        {"$P help nonsense", "nonsense"},
        {"$P run --env", "--env"},
        {"$P run --signature $D/none", "--signature"},
        {"$P run --bundle ftp://x/", "https"},
        {"$P attach", "which session"},
        {"$P attach a b", "which session"},
        {"$P attach aaaaaaaaaaaaaaaaaaaaaaaaaa", "podterm: "},
        {"$P end zzzz", "no session of yours"},
        {"$P ls x", "no operands"},
        {"$P nonsense", "nonsense"},
        {"$P ls --server http://127.0.0.1:1", "podterm dev"},
        {"PODTERM_IDENTITY_COMMAND='exit 3' $P ls", "code 3"},
        {"PODTERM_IDENTITY_COMMAND='echo x' $P ls", "identity was refused"},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        own_mem char *line = mem_printf("{ %s; } </dev/null", table[i][0]);

        shell(line, 125);
        if (!strstr(c.err, table[i][1]))
            fail_msg("%s: %s", table[i][0], c.err);
        assert_string_equal(c.out, "");
    }
}

static void help_and_version_are_told(void **arg)
{
    (void)arg;
    shell("for x in run attach ls end; do $P $x --help || exit 1; done", 0);
    assert_non_null(strstr(c.out, "--viewer"));
    assert_non_null(strstr(c.out, "PODTERM_SERVER"));
    assert_string_equal(c.err, "");
    shell("$P run --help >$D/help; $P help run | cmp - $D/help", 0);
    shell("$P version && $P version --json | jq -r .version", 0);
    assert_non_null(strstr(c.out, "podterm "));
}

#define T(f) cmocka_unit_test_teardown(f, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_pipe_goes_through_and_its_end_is_the_programs),
        T(a_last_line_without_its_end_ends_too),
        T(no_input_at_all_is_an_end),
        T(closed_standard_streams_are_empty_ones),
        T(a_file_of_a_megabyte_arrives_whole),
        T(output_to_a_pipe_is_byte_exact_and_unfiltered),
        T(attachments_that_move_lose_nothing_in_either_direction),
        T(a_reader_that_goes_away_ends_the_session),
        T(a_reader_that_sleeps_costs_no_memory_and_no_bytes),
        T(an_interrupt_is_passed_on_and_a_second_one_leaves),
        T(a_term_that_is_passed_on_ends_the_program),
        T(json_tells_events_on_stderr),
        T(json_tells_what_stands_in_the_way_too),
        T(a_full_disk_behind_stdout_is_a_failure),
        T(a_detached_session_is_listed_attached_and_ended),
        T(a_process_has_a_most_of_memory_unless_told_otherwise),
        T(an_ended_session_still_tells_its_end),
        T(the_environment_reaches_the_program_with_a_warning),
        T(mistakes_are_told_with_what_to_do),
        T(help_and_version_are_told),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
