/* The key broker's process: the rules it begins with, where its keys come
 * from, what it tells. */
#include "agent/broker_main.h"

#include "agent/broker_budget.h"
#include "agent/egress_child.h"
#include "base/file.h"
#include "base/keyfile.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"
#include "tests/lib/canned.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SOON_MS 10000
#define KEY "sk-not-a-real-key-0123456789"
#define SID "abcdefghijklmnopqrstuvwxyz"
#define TAIL ",\"allow_cidrs\":\"\",\"deny_cidrs\":\"\"}"
#define NUMBERS "\"requests\":5,\"bytes\":6,\"per_minute\":7"
#define ONE "{\"apis\":[{\"name\":\"anthropic\"}]," NUMBERS TAIL

/* --- rules --- */

static struct broker_rules rules;

static int parse(const char *text, struct err *e)
{
    own_json struct json *j = json_parse(text, strlen(text), e);

    return broker_rules_of(j, &rules, e);
}

static void refused(const char *text, const char *word)
{
    struct err e = {0};

    if (parse(text, &e) == 0)
        fail_msg("taken: %s", text);
    assert_int_equal(e.kind, ERR_INPUT);
    if (!strstr(e.text, word))
        fail_msg("no \"%s\" in: %s", word, e.text);
    broker_rules_fini(&rules);
}

static void rules_say_which_apis_and_how_much(void **arg)
{
    struct err e = {0};

    (void)arg;
    assert_int_equal(parse(ONE, &e), 0);
    assert_string_equal(rules.apis[BROKER_ANTHROPIC].url,
                        "https://api.anthropic.com");
    assert_false(rules.apis[BROKER_ANTHROPIC].is_here);
    assert_string_equal(rules.apis[BROKER_OPENAI].url, "");
    assert_int_equal(rules.requests, 5);
    assert_int_equal(rules.bytes, 6);
    assert_int_equal(rules.per_minute, 7);
    broker_rules_fini(&rules);
    assert_int_equal(
        parse("{\"apis\":[{\"name\":\"openai\",\"upstream\":"
              "\"http://127.0.0.1:8080/gate/\"}]," NUMBERS
              ",\"allow_cidrs\":\"10.0.0.0/8\",\"deny_cidrs\":\"10.1.0.0/16\"}",
              &e),
        0);
    assert_string_equal(rules.apis[BROKER_OPENAI].url,
                        "http://127.0.0.1:8080/gate");
    assert_true(rules.apis[BROKER_OPENAI].is_here);
    assert_int_equal(rules.addrs.allow.count, 1);
    assert_int_equal(rules.addrs.deny.count, 1);
    broker_rules_fini(&rules);
}

static void rules_of_another_form_are_refused(void **arg)
{
#define APIS(list) "{\"apis\":" list "," NUMBERS TAIL
    (void)arg;
    refused("{}", "apis");
    refused(APIS("[]"), "apis");
    refused(APIS("{}"), "apis");
    refused(APIS("[1]"), "apis");
    refused(APIS("[{\"name\":\"other\"}]"), "\"other\" is no API's");
    refused(APIS("[{\"name\":\"openai\"},{\"name\":\"openai\"}]"), "twice");
    refused(APIS("[{\"name\":\"openai\",\"key\":\"x\"}]"), "key");
    refused(APIS("[{\"name\":\"openai\",\"upstream\":1}]"), "upstream");
    refused(APIS("[{\"name\":\"openai\",\"upstream\":\"http://a.example\"}]"),
            "must be https");
    refused(
        APIS("[{\"name\":\"openai\",\"upstream\":\"https://a.example?k\"}]"),
        "query");
    refused("{\"apis\":[{\"name\":\"openai\"}],\"requests\":0,\"bytes\":6,"
            "\"per_minute\":7" TAIL,
            "requests");
    refused("{\"apis\":[{\"name\":\"openai\"}],\"requests\":1,\"bytes\":-1,"
            "\"per_minute\":7" TAIL,
            "bytes");
    refused("{\"apis\":[{\"name\":\"openai\"}],\"requests\":1,\"bytes\":1,"
            "\"per_minute\":10001" TAIL,
            "per_minute");
    refused("{\"apis\":[{\"name\":\"openai\"}]," NUMBERS "}", "allow_cidrs");
    refused("{\"apis\":[{\"name\":\"openai\"}]," NUMBERS
            ",\"allow_cidrs\":\"10.0.0.1/8\",\"deny_cidrs\":\"\"}",
            "allow_cidrs");
    refused("{\"newer\":1,\"apis\":[{\"name\":\"openai\"}]," NUMBERS TAIL,
            "newer");
}

/* --- keys --- */

static void key_is(int r, struct buf *out, const struct err *e,
                   const char *want, const char *why)
{
    if (r != (why ? -1 : 0) || (why && !strstr(e->text, why)))
        fail_msg("%d %s", r, e->text);
    if (!why)
        assert_string_equal(buf_cstr(out), want);
    buf_fini_secret(out);
}

static void a_key_comes_from_a_sealed_descriptor(void **arg)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"{\"anthropic\":\"" KEY "\"}", NULL},
        {"{\"openai\":\"" KEY "\"}", "no key for anthropic"},
        {"{\"anthropic\":\"short\"}", "less than 8"},
        {"{\"anthropic\":\"two words are no key\"}", "without blanks"},
        {"{\"anthropic\":1}", "no key for anthropic"},
        {"nothing", "the keys"},
        {"", "the keys"},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct err e = {0};
        own_fd int fd =
            file_sealed("keys", rows[i].text, strlen(rows[i].text), &e);
        struct buf out;

        assert_true(fd >= 0);
        assert_int_equal(write(fd, "x", 1), -1); /* nobody changes it */
        for (int again = 0; again < 2; again++) {
            int r;

            buf_init_secret(&out, KEYFILE_LINE_MAX);
            r = broker_key_of_fd(fd, BROKER_ANTHROPIC, &out, &e);
            key_is(r, &out, &e, KEY, rows[i].why);
        }
    }
}

static void or_from_a_mounted_directory_that_may_change(void **arg)
{
    char *dir = scratch_new();
    struct err e = {0};
    struct buf out;
    int r;

    (void)arg;
    buf_init_secret(&out, KEYFILE_LINE_MAX);
    r = broker_key_of_dir(dir, BROKER_ANTHROPIC, &out, &e);
    key_is(r, &out, &e, "", "is not there");
    tree_put(dir, "anthropic", KEY "\n");
    buf_init_secret(&out, KEYFILE_LINE_MAX);
    r = broker_key_of_dir(dir, BROKER_ANTHROPIC, &out, &e);
    key_is(r, &out, &e, KEY, NULL);
    tree_put(dir, "anthropic", "another-key-by-now");
    buf_init_secret(&out, KEYFILE_LINE_MAX);
    r = broker_key_of_dir(dir, BROKER_ANTHROPIC, &out, &e);
    key_is(r, &out, &e, "another-key-by-now", NULL);
    scratch_remove(dir);
}

/* --- the process --- */

struct bench {
    int link, listener, port, pid_fd;
};

static void start(struct bench *b, const char *line, int keys_fd,
                  const char *dir)
{
    own_mem char *exe = program_path("podterm-agent");
    char *argv[] = {(char *)"podterm-agent", (char *)"--broker", (char *)SID,
                    (char *)(uintptr_t)dir, NULL};
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    struct err e = {0};
    int pair[2];
    pid_t pid;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
                     0);
    b->link = pair[0];
    b->listener =
        socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(b->listener, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(b->listener, 8), 0);
    getsockname(b->listener, (struct sockaddr *)&at, &len);
    b->port = ntohs(at.sin_port);
    b->pid_fd =
        proc_spawn(&(struct proc_spawn){.path = exe,
                                        .argv = argv,
                                        .fds = (int[]){-1, -1, -1, pair[1],
                                                       b->listener, keys_fd},
                                        .fd_count = 6,
                                        .death_signal = SIGKILL},
                   &pid, &e);
    assert_true(b->pid_fd >= 0);
    close(pair[1]);
    assert_int_equal(send(b->link, line, strlen(line), MSG_NOSIGNAL),
                     strlen(line));
}

/* Its exit status, once it has gone. */
static int gone(struct bench *b)
{
    struct pollfd p = {b->pid_fd, POLLIN, 0};
    int status = -1;

    if (poll(&p, 1, SOON_MS) != 1)
        fail_msg("it is still there");
    assert_int_equal(proc_reap(b->pid_fd, &status), 1);
    close(b->pid_fd);
    close(b->listener);
    return status;
}

/* One line of what it says. */
static void says(struct bench *b, const char *want)
{
    char line[512] = "";
    size_t len = 0;

    while (!memchr(line, '\n', len)) {
        struct pollfd p = {b->link, POLLIN, 0};
        ssize_t n;

        if (poll(&p, 1, SOON_MS) != 1)
            fail_msg("it says nothing");
        n = recv(b->link, line + len, 1, 0);
        assert_true(n == 1 && len < sizeof(line) - 2);
        len++;
    }
    line[len - 1] = 0;
    assert_string_equal(line, want);
}

static void ask(struct bench *b, const char *path, const char *want)
{
    own_mem char *url = mem_printf("http://127.0.0.1:%d%s", b->port, path);
    struct http_request r = canned_request(url);
    struct http_answer a;
    struct err e = {0};

    r.total_ms = 2 * SOON_MS;
    if (http_do(&r, &a, &e) < 0)
        fail_msg("%s", e.text);
    if (!strstr(buf_cstr(&a.body), want))
        fail_msg("no \"%s\" in: %s", want, buf_cstr(&a.body));
    http_answer_fini(&a);
}

static char *line_of(int port)
{
    return mem_printf("{\"rules\":{\"apis\":[{\"name\":\"anthropic\","
                      "\"upstream\":\"http://127.0.0.1:%d\"}],\"requests\":9,"
                      "\"bytes\":999,\"per_minute\":9,\"allow_cidrs\":\"\","
                      "\"deny_cidrs\":\"\"},\"spent_requests\":7,"
                      "\"spent_bytes\":100}\n",
                      port);
}

static void it_has_its_keys_and_tells_what_was_spent(void **arg)
{
    for (int is_dir = 0; is_dir < 2; is_dir++) {
        static const char keys[] = "{\"anthropic\":\"" KEY "\"}";
        struct canned *s = CANNED("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
                                  "Connection: close\r\n\r\nhello");
        own_mem char *line = line_of(s->port);
        char *dir = scratch_new();
        struct err e = {0};
        own_fd int fd = file_sealed("keys", keys, strlen(keys), &e);
        struct bench b;

        (void)arg;
        tree_put(dir, "anthropic", KEY);
        start(&b, line, is_dir ? -1 : fd, is_dir ? dir : NULL);
        ask(&b, "/anthropic/v1/models", "hello");
        assert_non_null(strcasestr(s->head, "x-api-key: " KEY "\r\n"));
        says(&b, "{\"spent_requests\":8,\"spent_bytes\":100}");
        says(&b, "{\"spent_requests\":8,\"spent_bytes\":105}");
        ask(&b, "/anthropic/v1/other", "permission_error");
        says(&b, "{\"refused\":\"GET /v1/other is not among what may be asked "
                 "for\"}");
        ask(&b, "/anthropic/v1/other", "permission_error"); /* told once */
        ask(&b, "/anthropic/v1/models", "hello");
        says(&b, "{\"spent_requests\":9,\"spent_bytes\":105}");
        says(&b, "{\"spent_requests\":9,\"spent_bytes\":110}");
        ask(&b, "/anthropic/v1/models", "are used up");
        close(b.link); /* with main it ends */
        assert_int_equal(gone(&b), 0);
        canned_stop(s);
        scratch_remove(dir);
    }
}

/* Locked in as it is: a name is looked up (and there is none of this one). */
static void an_upstream_has_a_name(void **arg)
{
    static const char line[] =
        "{\"rules\":{\"apis\":[{\"name\":\"anthropic\",\"upstream\":"
        "\"https://nowhere.invalid\"}],\"requests\":9,\"bytes\":999,"
        "\"per_minute\":9,\"allow_cidrs\":\"\",\"deny_cidrs\":\"\"},"
        "\"spent_requests\":0,\"spent_bytes\":0}\n";
    static const char keys[] = "{\"anthropic\":\"" KEY "\"}";
    struct err e = {0};
    own_fd int fd = file_sealed("keys", keys, strlen(keys), &e);
    struct bench b;

    (void)arg;
    start(&b, line, fd, NULL);
    /* ("Could not resolve host", or "Resolving timed out" where nobody
     * answers such questions) */
    ask(&b, "/anthropic/v1/models", "esolv");
    close(b.link);
    assert_int_equal(gone(&b), 0);
}

static void without_rules_it_is_none(void **arg)
{
    static const char *const lines[] = {"\n", "{}\n", "nonsense\n",
                                        "{\"rules\":" ONE "}\n"};

    (void)arg;
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        struct bench b;

        start(&b, lines[i], -1, NULL);
        assert_int_equal(gone(&b), EXIT_FAILURE << 8);
        close(b.link);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_say_which_apis_and_how_much),
        cmocka_unit_test(rules_of_another_form_are_refused),
        cmocka_unit_test(a_key_comes_from_a_sealed_descriptor),
        cmocka_unit_test(or_from_a_mounted_directory_that_may_change),
        cmocka_unit_test(it_has_its_keys_and_tells_what_was_spent),
        cmocka_unit_test(an_upstream_has_a_name),
        cmocka_unit_test(without_rules_it_is_none),
    };

    return cmocka_run_group_tests(tests, canned_group_setup, NULL);
}
