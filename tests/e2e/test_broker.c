/*
 * An API without its key: real programs in the cage (the sample CLI, curl as
 * the libraries of such an API speak) ask through the key broker, a server on
 * loopback speaks the Messages API's event stream. The key is looked for
 * wherever the program, or who takes it over, could find it.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/certs.h"
#include "tests/lib/desk.h"
#include "tests/lib/ownhosts.h"
#include "tests/lib/ports.h"
#include "tests/lib/programs.h"
#include "tests/lib/reviewbed.h"
#include "tests/lib/skipped.h"
#include "tests/lib/stackproc.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SOON_MS 20000
/* in two halves, so that no command line holds it */
#define KEY_A "sk-e2e-not-real-"
#define KEY_B "5f3a9c0d7e61"
#define KEY KEY_A KEY_B
#define REQUESTS "5" /* of a session */
#define NAME "api.example"
#define ROOTS "/etc/ssl/certs/ca-certificates.crt"

static struct {
    int listen_fd, port;
    pthread_t server;
    pthread_mutex_t lock;
    char head[8192]; /* of the last request */
    char body[65536];
    int asked;
    atomic_bool goes_on; /* the rest of an answer may come */
    char key_file[32];
    bool is_root; /* and so in a mount namespace with a name of its own, */
    char dir[32]; /* whose certificate the machine's roots vouch for */
    int tls_port;
    pid_t tls; /* before the API */
    char *broker, *upstream;
    const char *flags[4];
    struct stack_bundle sample;
} bed;

/* --- the API --- */

static void api_say(int fd, const char *text)
{
    send(fd, text, strlen(text), MSG_NOSIGNAL);
}

/* A whole request, in parts as it may come. */
static bool api_hear(int fd, char *in, size_t size, char **body)
{
    size_t len = 0, want = 0;

    *body = NULL;
    while (!*body || strlen(*body) < want) {
        ssize_t n = recv(fd, in + len, size - 1 - len, 0);
        const char *length;

        if (n <= 0)
            return false;
        in[len += (size_t)n] = 0;
        *body = strstr(in, "\r\n\r\n");
        *body = *body ? *body + 4 : NULL;
        length = *body ? strcasestr(in, "\r\nContent-Length:") : NULL;
        want = length ? strtoul(length + 17, NULL, 10) : 0;
    }
    return true;
}

static void api_answer(int fd, const char *in)
{
    if (strstr(in, "GET ")) {
        api_say(fd,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                "Set-Cookie: a=b\r\nConnection: close\r\n\r\n{\"data\":[]}");
    } else if (strstr(in, "slow")) {
        api_say(fd, STREAM START TEXT("first"));
        for (int i = 0; i < SOON_MS / 10 && !atomic_load(&bed.goes_on); i++)
            usleep(10000);
        api_say(fd, TEXT("second") STOP("end_turn"));
    } else if (strstr(in, "echo")) {
        api_say(fd, STREAM START TEXT("your key is " KEY) STOP("end_turn"));
    } else {
        api_say(fd, WHOLE);
    }
}

static void *api_serve(void *arg)
{
    char *in = mem_zero(1, 1 << 20), *body;
    int fd = (int)(intptr_t)arg;

    if (api_hear(fd, in, 1 << 20, &body)) {
        pthread_mutex_lock(&bed.lock);
        bed.asked++;
        snprintf(bed.head, sizeof(bed.head), "%.*s", (int)(body - in), in);
        snprintf(bed.body, sizeof(bed.body), "%s", body);
        pthread_mutex_unlock(&bed.lock);
        api_answer(fd, in);
    }
    shutdown(fd, SHUT_WR);
    close(fd);
    free(in);
    return NULL;
}

static void *api_main(void *arg)
{
    int fd;

    (void)arg;
    while ((fd = accept4(bed.listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        pthread_t thread;

        pthread_create(&thread, NULL, api_serve, (void *)(intptr_t)fd);
        pthread_detach(thread);
    }
    return NULL;
}

static void api_start(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);

    pthread_mutex_init(&bed.lock, NULL);
    bed.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(bed.listen_fd, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(bed.listen_fd, 16), 0);
    getsockname(bed.listen_fd, (struct sockaddr *)&sa, &len);
    bed.port = ntohs(sa.sin_port);
    pthread_create(&bed.server, NULL, api_main, NULL);
}

static bool listens(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    own_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0;
}

/* The API by its name, over TLS. */
static void tls_start(void)
{
    own_mem char *ca = mem_printf("%s/api-ca.pem", bed.dir);
    own_mem char *from = NULL, *to = NULL;

    certs_make(bed.dir, "api", "DNS:" NAME);
    assert_int_equal(mount(ca, ROOTS, NULL, MS_BIND, NULL), 0);
    bed.tls_port = port_free();
    from = mem_printf("OPENSSL-LISTEN:%d,bind=127.0.0.1,reuseaddr,fork,"
                      "verify=0,cert=%s/api.pem,key=%s/api.key",
                      bed.tls_port, bed.dir, bed.dir);
    to = mem_printf("TCP:127.0.0.1:%d", bed.port);
    bed.tls = fork();
    if (bed.tls == 0) {
        setpgid(0, 0);
        execlp("socat", "socat", from, to, NULL);
        _exit(127);
    }
    for (int i = 0; !listens(bed.tls_port); i++) {
        if (i == SOON_MS / 50)
            fail_msg("socat does not listen");
        usleep(50000);
    }
}

static int setup(void **arg)
{
    own_mem char *exe = program_path("sample-cli");
    int fd;

    (void)arg;
    bed.is_root = own_hosts("127.0.0.1 localhost " NAME "\n");
    api_start();
    snprintf(bed.dir, sizeof(bed.dir), "/tmp/podterm-api-XXXXXX");
    assert_non_null(mkdtemp(bed.dir));
    if (bed.is_root)
        tls_start();
    snprintf(bed.key_file, sizeof(bed.key_file), "/tmp/podterm-key-XXXXXX");
    fd = mkstemp(bed.key_file);
    assert_int_equal(write(fd, KEY "\n", sizeof(KEY)), sizeof(KEY));
    close(fd);
    bed.broker = mem_printf("--broker=anthropic=%s,openai=%s", bed.key_file,
                            bed.key_file);
    bed.upstream = mem_printf("--broker-upstream=anthropic=http://127.0.0.1:%d,"
                              "openai=https://" NAME ":%d/gate",
                              bed.port, bed.is_root ? bed.tls_port : 443);
    setenv("PODTERM_BROKER_ALLOW_CIDRS", "127.0.0.1/32", 1);
    bed.flags[0] = bed.broker;
    bed.flags[1] = bed.upstream;
    setenv("PODTERM_BROKER_REQUESTS", REQUESTS, 1);
    desk_setup_with(bed.flags);
    stack_pack_file(desk.stack, "sample", exe, &bed.sample);
    return 0;
}

static int teardown(void **arg)
{
    desk_teardown(arg);
    if (bed.tls) {
        kill(-bed.tls, SIGKILL);
        waitpid(bed.tls, NULL, 0);
    }
    unlink(bed.key_file);
    for (int i = 0; i < 3; i++) {
        static const char *const left[] = {"api-ca.pem", "api.pem", "api.key"};
        own_mem char *path = mem_printf("%s/%s", bed.dir, left[i]);

        unlink(path);
    }
    rmdir(bed.dir);
    shutdown(bed.listen_fd, SHUT_RDWR);
    pthread_join(bed.server, NULL);
    close(bed.listen_fd);
    free(bed.broker);
    free(bed.upstream);
    return 0;
}

static int begin(void **arg)
{
    (void)arg;
    atomic_store(&bed.goes_on, false);
    desk_bundle(&desk.bundle);
    return 0;
}

/* --- the program --- */

/* As a library of the API asks, with a key of its own making. */
#define ASK                                                                    \
    "ask() { curl -sN -m 20 \"$ANTHROPIC_BASE_URL/v1/messages?beta=true\" "    \
    "-H \"authorization: Bearer $ANTHROPIC_AUTH_TOKEN\" "                      \
    "-H 'x-api-key: mine' -H 'cookie: mine' -H 'content-type: "                \
    "application/json' -H 'anthropic-version: 2023-06-01' "                    \
    "-H 'accept-encoding: gzip, br' -H 'x-stainless-lang: js' "                \
    "-d \"{\\\"say\\\":\\\"$1\\\"}\" $2 $3 $4 $5; }; "                         \
    "code() { ask x -o /dev/null -w '%{http_code}\\n'; }; "

static void run(const char *script)
{
    own_mem char *whole = mem_printf("%s%s", ASK, script);

    desk_run(NULL, whole);
}

/* Anywhere in what was shown: what is told of the session comes between. */
static void comes(const char *text)
{
    for (int i = 0; !strstr(desk.seat.out, text); i++) {
        if (i == SOON_MS / 50)
            fail_msg("no \"%s\" in: %s", text, desk.seat.out);
        seat_pass(&desk.seat, 50);
    }
}

static void ends(const char *text, int code)
{
    seat_expect(&desk.seat, text, SOON_MS);
    desk_expect_end(code, SOON_MS);
    seat_free(&desk.seat);
}

/* A line of the log with both. */
static void logged(const char *one, const char *two)
{
    own_mem char *command =
        mem_printf("grep -rh '\"ev\":\"broker\"' %s/state/log | grep '%s' | "
                   "grep -q '%s'",
                   desk.stack->dir, one, two);

    for (int i = 0; i < 100; i++) {
        if (system(command) == 0)
            return;
        usleep(50000);
    }
    fail_msg("no line: %s", command);
}

static void a_program_asks_with_no_key_and_the_api_is_asked_with_it(void **arg)
{
    const char *sid;

    (void)arg;
    run("echo $ANTHROPIC_BASE_URL; ask hello; read -r x; curl -s "
        "$ANTHROPIC_BASE_URL/v1/models -D -");
    seat_expect(&desk.seat, "http://127.0.0.1:3129/anthropic\r\n", SOON_MS);
    seat_expect(&desk.seat, "message_stop\"}\r\n", SOON_MS);
    assert_non_null(strstr(bed.head, "POST /v1/messages?beta=true HTTP/1.1"));
    assert_non_null(strstr(bed.head, "x-api-key: " KEY "\r\n"));
    assert_non_null(strstr(bed.head, "anthropic-version: 2023-06-01\r\n"));
    assert_non_null(strstr(bed.head, "x-stainless-lang: js\r\n"));
    assert_null(strstr(bed.head, "mine"));
    assert_null(strstr(bed.head, "the-key-is"));
    assert_null(strstr(bed.head, "gzip"));
    assert_string_equal(bed.body, "{\"say\":\"hello\"}");
    sid = desk_session();
    logged(sid, "\"verdict\":\"allowed\",\"api\":\"anthropic\",\"method\":"
                "\"POST\",\"path\":\"/v1/messages\",\"status\":200");
    seat_say(&desk.seat, "\r");
    seat_expect(&desk.seat, "{\"data\":[]}", SOON_MS);
    assert_false(seat_has(&desk.seat, "Set-Cookie"));
    ends("", 0);
}

static void the_sample_cli_works_through_it_unchanged(void **arg)
{
    (void)arg;
    desk_bundle(&bed.sample);
    desk_run(NULL, "mkdir /tmp/t; echo 'int a; ' >/tmp/t/a.c; prog --plain "
                   "/tmp/t");
    seat_expect(&desk.seat, "Well ", SOON_MS);
    ends("", 0);
    assert_non_null(strstr(bed.head, "x-api-key: " KEY "\r\n"));
    assert_non_null(strstr(bed.body, "\"stream\":true"));
}

static void an_event_is_seen_before_the_answer_ends(void **arg)
{
    (void)arg;
    run("ask slow");
    seat_expect(&desk.seat, "first", SOON_MS);
    seat_pass(&desk.seat, 200);
    assert_false(seat_has(&desk.seat, "second"));
    atomic_store(&bed.goes_on, true);
    seat_expect(&desk.seat, "second", SOON_MS);
    ends("message_stop", 0);
}

/* Locked in, the broker finds names, roots and a clock. */
static void an_api_with_a_name_is_asked_over_tls(void **arg)
{
    (void)arg;
    if (!bed.is_root)
        skipped("it needs root, for a name of its own");
    run("curl -s -m 20 $OPENAI_BASE_URL/models -H \"authorization: Bearer "
        "$OPENAI_API_KEY\"; echo; read -r x");
    seat_expect(&desk.seat, "{\"data\":[]}\r\n", SOON_MS);
    assert_non_null(strstr(bed.head, "GET /gate/v1/models HTTP/1.1\r\n"));
    assert_non_null(strstr(bed.head, "Host: " NAME ":"));
    assert_non_null(strstr(bed.head, "authorization: Bearer " KEY "\r\n"));
    assert_null(strstr(bed.head, "the-key-is"));
    seat_say(&desk.seat, "\r");
    ends("", 0);
}

static void there_is_no_other_way_and_no_other_path(void **arg)
{
    int asked = bed.asked;
    own_mem char *script =
        mem_printf("for to in 127.0.0.1:%d 127.0.0.1:3128 1.1.1.1:443; do "
                   "curl -s -m 5 http://$to/v1/models && echo out; done; "
                   "curl -s -m 5 -o /dev/null -w '%%{http_code}\\n' "
                   "$ANTHROPIC_BASE_URL/v1/organizations/api_keys; read -r x",
                   bed.port);

    (void)arg;
    run(script);
    /* who watches is told, above all */
    comes("GET /v1/organizations/api_keys is not among what may be asked");
    comes("403\r\n");
    assert_false(seat_has(&desk.seat, "out\r\n"));
    seat_say(&desk.seat, "\r");
    ends("", 0);
    assert_int_equal(bed.asked, asked);
    logged("\"verdict\":\"refused\"",
           "\"path\":\"/v1/organizations/api_keys\"");
}

/* --- the key --- */

/* Does this process have these bytes somewhere in its memory? */
static bool has_in_memory(pid_t pid, const char *word)
{
    own_mem char *maps = mem_printf("/proc/%d/maps", (int)pid);
    own_mem char *mem = mem_printf("/proc/%d/mem", (int)pid);
    own_fd int fd = open(mem, O_RDONLY | O_CLOEXEC);
    FILE *f = fopen(maps, "r");
    uint64_t from, to;
    char line[512], rights[8];
    bool found = false;

    if (fd < 0 || !f)
        fail_msg("%s cannot be read", mem);
    while (!found && fgets(line, sizeof(line), f)) {
        size_t len;
        char *bytes;
        ssize_t n;

        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &from, &to, rights) !=
                3 ||
            rights[0] != 'r' || strstr(line, "[v"))
            continue;
        len = (size_t)(to - from);
        bytes = malloc(len);
        n = bytes ? pread(fd, bytes, len, (off_t)from) : -1;
        found = n > 0 && memmem(bytes, (size_t)n, word, strlen(word));
        free(bytes);
    }
    fclose(f);
    return found;
}

static void lacks_the_key(pid_t pid, const char *who)
{
    if (pid <= 0)
        fail_msg("%s is not there", who);
    if (has_in_memory(pid, KEY))
        fail_msg("%s has the key in its memory", who);
}

/* The sealed descriptor with the keys? */
static bool has_descriptor(pid_t pid)
{
    own_mem char *command =
        mem_printf("ls -l /proc/%d/fd | grep -q memfd:broker-keys", (int)pid);

    return system(command) == 0;
}

static void the_key_is_nowhere_near_the_program(void **arg)
{
    static const struct {
        enum stack_part part;
        const char *name;
        bool passes_it_on; /* and could read it, but does not */
    } parts[] = {{PART_SHIM, "the shim", false},
                 {PART_BWRAP, "bubblewrap", false},
                 {PART_MAIN, "main", true},
                 {PART_SUPERVISOR, "its supervisor", true},
                 {PART_KEEPER, "the keeper", false}};
    own_mem char *files = NULL;
    pid_t program;
    const char *sid;

    (void)arg;
    if (geteuid() != 0)
        skipped("it needs root, to read the memory of others");
    run("ask x; cd /tmp; printf %s '" KEY_A "' >k; printf %s '" KEY_B "' >>k; "
        "cat /proc/*/environ /proc/*/cmdline 2>/dev/null | grep -acFf k; "
        "grep -raslFf k /home /tmp /run /etc /var /dev/shm | grep -v /tmp/k; "
        "echo looked; read -r x");
    seat_expect(&desk.seat, "message_stop", SOON_MS);
    seat_expect(&desk.seat, "\r\n0\r\nlooked", SOON_MS);
    seat_say(&desk.seat, "\r");
    ends("", 0);
    /* a program that has not built it itself */
    run("ask x; read -r x");
    seat_expect(&desk.seat, "message_stop", SOON_MS);
    sid = desk_session();
    program = stackproc_child(stackproc_find(desk.stack, sid, PART_SHIM), "sh");
    lacks_the_key(program, "the program");
    /* (it does find what is there) */
    assert_true(has_in_memory(program, "the-key-is-with-the-broker"));
    assert_false(has_descriptor(program));
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        pid_t pid = stackproc_find(desk.stack, sid, parts[i].part);

        lacks_the_key(pid, parts[i].name);
        assert_int_equal(has_descriptor(pid), parts[i].passes_it_on);
    }
    /* nor in a file, a log, the store */
    files = mem_printf("grep -rlaF %s %s", KEY, desk.stack->dir);
    assert_int_not_equal(system(files), 0);
    seat_say(&desk.seat, "\r");
    ends("", 0);
}

static void an_api_that_says_the_key_is_cut_off(void **arg)
{
    (void)arg;
    run("ask echo; echo left $?; read -r x");
    seat_expect(&desk.seat, "left 18\r\n", SOON_MS); /* not whole */
    assert_false(seat_has(&desk.seat, KEY_A));
    seat_say(&desk.seat, "\r");
    ends("", 0);
    logged("failed", "had the key in it");
}

/* --- its budget, and its life --- */

static pid_t agent_main(void)
{
    pid_t agent = 0;

    assert_int_equal(
        stack_pids(desk.stack, "podterm-agent", "--main", &agent, 1), 1);
    return agent;
}

static pid_t find_broker(void)
{
    own_mem char *command =
        mem_printf("pgrep -x podterm-broker -P %d", (int)agent_main());
    FILE *f = popen(command, "r");
    int pid = 0;

    if (fscanf(f, "%d", &pid) != 1)
        fail_msg("no process: %s", command);
    pclose(f);
    return pid;
}

/* Killed in between, as is its parent: what was spent stays spent. */
static void a_broker_that_dies_is_back_with_the_same_budget(void **arg)
{
    const int asked = bed.asked;

    (void)arg;
    run("for i in 1 2; do code; done; echo a; read -r x; code; code; echo b; "
        "read -r x; code; code; ask x; echo; read -r x");
    seat_expect(&desk.seat, "200\r\n200\r\na\r\n", SOON_MS);
    kill(find_broker(), SIGKILL);
    seat_say(&desk.seat, "\r");
    seat_expect(&desk.seat, "200\r\n200\r\nb\r\n", SOON_MS);
    kill(agent_main(), SIGKILL); /* the shim hands the socket over again */
    seat_say(&desk.seat, "\r");
    comes("{\"type\":\"error\",\"error\":{\"type\":\"permission_error\","
          "\"message\":\"podterm: the " REQUESTS " requests");
    comes("403\r\n");
    assert_int_equal(bed.asked - asked, 5);
    seat_say(&desk.seat, "\r");
    ends("", 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, desk_leave)
    const struct CMUnitTest tests[] = {
        T(a_program_asks_with_no_key_and_the_api_is_asked_with_it),
        T(the_sample_cli_works_through_it_unchanged),
        T(an_event_is_seen_before_the_answer_ends),
        T(an_api_with_a_name_is_asked_over_tls),
        T(there_is_no_other_way_and_no_other_path),
        T(the_key_is_nowhere_near_the_program),
        T(an_api_that_says_the_key_is_cut_off),
        T(a_broker_that_dies_is_back_with_the_same_budget),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, setup, teardown);
}
