/* The review, by the real program: with a stand-in for `claude` on PATH, and
 * with a server that speaks the Messages API's event stream. */
#include "base/json.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/child.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define KEY "sk-test-not-a-real-key"
static char *dir, *tree, *exe;

/* --- a server: each connection gets the next of its answers --- */

struct answer {
    const char *bytes;
    size_t piece; /* bytes of one write; 0 = all */
};
static struct answer answers[8];
static int listen_fd, answered;
static char request[1 << 17];

static void *serve(void *arg)
{
    (void)arg;
    for (int fd; (fd = accept(listen_fd, NULL, NULL)) >= 0; close(fd)) {
        const struct answer *a = &answers[answered++];
        size_t len = strlen(a->bytes), have = 0, step;
        const char *body = NULL;

        while (!body || strlen(body) <
                            strtoul(strcasestr(request, "Content-Length:") + 15,
                                    NULL, 10)) {
            ssize_t n = read(fd, request + have, sizeof(request) - 1 - have);

            if (n <= 0)
                break;
            request[have += (size_t)n] = 0;
            body = strstr(request, "\r\n\r\n");
            body = body ? body + 4 : NULL;
        }
        for (size_t i = 0; i < len; i += step) {
            step = a->piece && a->piece < len - i ? a->piece : len - i;
            if (send(fd, a->bytes + i, step, MSG_NOSIGNAL) < 0)
                break;
            if (a->piece)
                usleep(200);
        }
    }
    return NULL;
}

static int setup(void **state)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);

    (void)state;
    dir = scratch_new();
    tree = mem_printf("%s/tree", dir);
    exe = program_path("sample-cli");
    tree_put(dir, "tree/a.c", "int a; \n");
    tree_put(dir, "tree/.env", "PASSWORD=hunter2 \n");
    memset(answers, 0, sizeof(answers));
    answered = 0;
    listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listen_fd, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(listen_fd, 8), 0);
    assert_int_equal(getsockname(listen_fd, (struct sockaddr *)&sa, &len), 0);
    *state = mem_printf("ANTHROPIC_BASE_URL=http://127.0.0.1:%d",
                        ntohs(sa.sin_port));
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    close(listen_fd);
    free(exe);
    free(tree);
    scratch_remove(dir);
    return 0;
}

/* Run it over the tree; what it prints is the caller's. */
static char *run(const char *claude, const char *url, const char *option)
{
    own_mem char *path = mem_printf("PATH=%s/bin:/usr/bin:/bin", dir);
    const char *argv[] = {exe, "--plain", option ? option : "--plain", tree,
                          NULL};
    const char *env[] = {
        "LC_ALL=C.UTF-8", path, url ? url : "ANTHROPIC_BASE_URL=",
        url ? "ANTHROPIC_API_KEY=" KEY : "ANTHROPIC_API_KEY=", NULL};
    struct child c = {.argv = argv, .env = env};
    pthread_t thread = 0;
    char *out;

    if (claude) {
        own_mem char *file = mem_printf("%s/bin/claude", dir);

        tree_put(dir, "bin/claude", claude);
        assert_int_equal(chmod(file, 0755), 0);
    }
    if (answers[0].bytes)
        assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
    child_expect(&c, 0); /* whatever becomes of the review */
    assert_null(strstr(c.out, KEY));
    assert_null(strchr(c.out, '\033'));
    assert_string_equal(c.err, "");
    out = mem_str(c.out);
    child_fini(&c);
    if (thread) {
        shutdown(listen_fd, SHUT_RDWR);
        pthread_join(thread, NULL);
    }
    return out;
}

static void has(const char *out, const char *want)
{
    if (!strstr(out, want))
        fail_msg("it lacks \"%s\":\n%s", want, out);
}

#define SH "#!/bin/sh\ncat >\"$0.prompt\"\n"
#define GOOD                                                                   \
    SH "cat <<'E'\nnoise\n{\"type\":\"system\"}\n"                             \
       "{\"type\":\"stream_event\",\"event\":{\"type\":\"content_block_"       \
       "delta\""                                                               \
       ",\"delta\":{\"type\":\"text_delta\",\"text\":\"Fine\\u001b[2J.\\nY\"}" \
       "}}\n{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,"  \
       "\"result\":\"other\"}\nE\n"
#define NOT_SIGNED_IN                                                          \
    SH "echo '{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":true," \
       "\"result\":\"Not logged in\"}'; exit 1"
#define STREAM "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
#define TEXT(t)                                                                \
    "event: content_block_delta\r\ndata: {\"type\":\"content_block_delta\","   \
    "\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"" t             \
    "\"}}\r\n\r\n"
#define START                                                                  \
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{"    \
    "\"model\":\"m\"}}\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\n"
#define STOP(why)                                                              \
    "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"" why      \
    "\"}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
#define WHOLE                                                                  \
    STREAM START TEXT("Well ") TEXT("done ä\\u001b[m.") STOP("end_turn")
#define REFUSAL(status, type)                                                  \
    "HTTP/1.1 " status "\r\nContent-Type: application/json\r\n"                \
    "Retry-After: 0\r\nConnection: close\r\n\r\n{\"type\":\"error\","          \
    "\"error\":{\"type\":\"" type "\",\"message\":\"no: " KEY "\"}}"

static void without_any_way_the_stage_is_skipped(void **state)
{
    own_mem char *out = run(NULL, NULL, NULL);

    (void)state;
    has(out, "skip  Review by Claude: needs `claude` on PATH, or "
             "ANTHROPIC_API_KEY\n");
    has(out, "2 findings in 2 files");
}

static void no_review_asks_nobody(void **state)
{
    own_mem char *out = run(GOOD, *state, "--no-review");

    assert_null(strstr(out, "Review"));
}

static void the_command_is_asked_and_its_secrets_kept_back(void **state)
{
    own_mem char *out = run(GOOD, NULL, NULL), *prompt = NULL;
    own_mem char *file = mem_printf("%s/bin/claude.prompt", dir);
    size_t len;

    (void)state;
    has(out, "ok    Review by Claude: by the claude command\n");
    has(out, "Review by the claude command\n\nFine\\x1b[2J.\nY\n");
    prompt = tree_get(file, &len);
    has(prompt, "--- a.c, from line 1 ---\nint a; \n");
    assert_null(strstr(prompt, "hunter2"));
    assert_null(strstr(prompt, ".env"));
    assert_null(strstr(prompt, dir));
}

static void a_command_that_fails_says_why(void **state)
{
    static const struct {
        const char *claude, *says;
    } bad[] = {
        {NOT_SIGNED_IN, "FAIL  Review by Claude: Ask the claude command: Not "
                        "logged in\n"},
        {SH "echo \"error: unknown option '\033[2J'\" >&2; exit 1",
         "command: error: unknown option '\\x1b[2J'\n"},
        {SH "exit 7", "command: it ended with exit code 7\n"},
        {SH "kill -9 $$", "command: it was killed by signal 9\n"},
        {SH "echo garbage; echo '{'", "command: it ended without a result\n"},
        {SH "tr '\\0' x </dev/zero", "command: a line of more than 1048576 "},
        {SH "yes", "command: more than 16777216 bytes"},
        {SH "sleep 100 & sleep 100", "command: no answer within 1 s"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        /* (a machine that is busy has its time) */
        const bool is_slow = strstr(bad[i].says, "within 1 s") != NULL;
        own_mem char *out =
            run(bad[i].claude, NULL,
                is_slow ? "--review-timeout=1" : "--review-timeout=60");

        has(out, bad[i].says);
        has(out, "skip  Review by Claude: no answer: sign in");
    }
}

static void then_the_api_is_asked(void **state)
{
    own_mem char *out = NULL;

    answers[0] = (struct answer){WHOLE, 1}; /* each byte alone */
    out = run(NOT_SIGNED_IN, *state, NULL);
    has(out, "FAIL  Review by Claude: Ask the claude command");
    has(out, "ok    Review by Claude: by the Messages API\n");
    has(out, "\n\nWell done ä\\x1b[m.\n");
    has(request, "POST /v1/messages HTTP/1.1\r\n");
    has(request, "\r\nx-api-key: " KEY "\r\n");
    has(request, "\r\nanthropic-version: 2023-06-01\r\n");
    has(request, "\"stream\":true");
    assert_null(strstr(request, "hunter2"));
}

static void what_passes_is_tried_again(void **state)
{
    own_mem char *out = NULL;

    answers[0].bytes = REFUSAL("429 Too Many Requests", "rate_limit_error");
    answers[1].bytes = REFUSAL("529 Overloaded", "overloaded_error");
    answers[2].bytes = STREAM START
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":"
        "\"overloaded_error\",\"message\":\"x\"}}\n\n";
    answers[3].bytes = WHOLE;
    out = run(NULL, *state, NULL);
    has(out, "ok    Review by Claude: by the Messages API");
    has(out, "(try 4");
    assert_int_equal(answered, 4);
}

static void what_does_not_pass_is_told_once_and_never_the_key(void **state)
{
    own_mem char *out = NULL;

    answers[0].bytes = REFUSAL("401 Unauthorized", "authentication_error");
    out = run(NULL, *state, NULL);
    has(out, "Messages API: the key is refused (401): authentication_error: "
             "no: ***");
    has(out, "FAIL  Review by Claude: nobody has answered");
    assert_int_equal(answered, 1);
}

static void after_some_tries_it_gives_up(void **state)
{
    own_mem char *out = NULL;

    for (int i = 0; i < 5; i++)
        answers[i].bytes = REFUSAL("500 Internal Server Error", "api_error");
    out = run(NULL, *state, NULL);
    has(out, "Messages API: status 500: api_error");
    assert_int_equal(answered, 4);
}

static void a_stream_that_breaks_off_is_told_with_what_came(void **state)
{
    own_mem char *out = NULL;

    answers[0].bytes = STREAM START TEXT("Half of");
    out = run(NULL, *state, NULL);
    has(out, "Messages API: the stream broke off");
    has(out, "\n\nHalf of\n(it broke off here)\n");
    assert_int_equal(answered, 1);
}

static void an_answer_that_was_cut_says_so(void **state)
{
    own_mem char *out = NULL;

    answers[0].bytes = STREAM START TEXT("Much") STOP("max_tokens");
    out = run(NULL, *state, NULL);
    has(out, "\n\nMuch\n(cut: it reached the limit of tokens)\n");
}

static void a_key_goes_over_http_to_this_machine_alone(void **state)
{
    own_mem char *out =
        run(NULL, "ANTHROPIC_BASE_URL=http://example.com", NULL);

    (void)state;
    has(out, "ANTHROPIC_BASE_URL: http is for this machine alone, example.com "
             "must be https");
}

/* The member of the review in what --json has printed, the caller's. */
static char *in_json(const char *out, const char *name)
{
    struct err e = {0};
    own_json struct json *j = json_parse(out, strlen(out), &e);
    const char *text;

    if (!j)
        fail_msg("%s:\n%s", e.text, out);
    text = json_get_str(json_get(j, "review"), name);
    return mem_str(text ? text : "(none)");
}

static void json_has_the_review(void **state)
{
    own_mem char *out = run(GOOD, NULL, "--json"), *text = NULL;
    own_mem char *by = in_json(out, "by");

    (void)state;
    text = in_json(out, "text");
    assert_string_equal(by, "claude-command");
    assert_string_equal(text, "Fine\033[2J.\nY");
}

static void json_names_the_api_and_its_model(void **state)
{
    own_mem char *out = NULL, *by = NULL, *model = NULL;

    answers[0].bytes = WHOLE;
    out = run(NULL, *state, "--json");
    by = in_json(out, "by");
    model = in_json(out, "model");
    assert_string_equal(by, "messages-api");
    assert_string_equal(model, "claude-sonnet-5");
}

static void json_says_that_there_was_nobody_to_ask(void **state)
{
    own_mem char *out = run(NULL, NULL, "--json");
    own_mem char *how = in_json(out, "state"), *why = in_json(out, "detail");

    (void)state;
    assert_string_equal(how, "skipped");
    has(why, "needs `claude` on PATH");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(without_any_way_the_stage_is_skipped),
        CASE(no_review_asks_nobody),
        CASE(the_command_is_asked_and_its_secrets_kept_back),
        CASE(a_command_that_fails_says_why),
        CASE(then_the_api_is_asked),
        CASE(what_passes_is_tried_again),
        CASE(what_does_not_pass_is_told_once_and_never_the_key),
        CASE(after_some_tries_it_gives_up),
        CASE(a_stream_that_breaks_off_is_told_with_what_came),
        CASE(an_answer_that_was_cut_says_so),
        CASE(a_key_goes_over_http_to_this_machine_alone),
        CASE(json_has_the_review),
        CASE(json_names_the_api_and_its_model),
        CASE(json_says_that_there_was_nobody_to_ask),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
