/*
 * The network of a caged program: its proxy and nothing else. Real programs
 * (curl, openssl) inside the cage, a TLS server on loopback, names out of a
 * hosts file of this test's own.
 */
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"
#include "tests/lib/certs.h"
#include "tests/lib/desk.h"
#include "tests/lib/ownhosts.h"
#include "tests/lib/ports.h"
#include "tests/lib/skipped.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SOON_MS 20000
#define HOSTS                                                                  \
    "127.0.0.1 localhost ok.example other.example\n"                           \
    "169.254.169.254 inside.example\n"

static struct {
    bool is_root; /* and so in a mount namespace of its own */
    int port;
    char *domains;
    pid_t server;
    const char *flags[8];
} bed;

static bool listens(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)bed.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    own_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0;
}

static void serve(void)
{
    own_mem char *at = mem_printf("127.0.0.1:%d", bed.port);
    own_mem char *cert = mem_printf("%s/ok.pem", desk.stack->dir);
    own_mem char *key = mem_printf("%s/ok.key", desk.stack->dir);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    certs_make(desk.stack->dir, "ok", "DNS:ok.example");
    bed.server = fork();
    if (bed.server == 0) {
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        execlp("openssl", "openssl", "s_server", "-accept", at, "-cert", cert,
               "-key", key, "-www", "-quiet", NULL);
        _exit(127);
    }
    close(null);
    for (int i = 0; !listens(); i++) {
        if (i == SOON_MS / 50)
            fail_msg("openssl s_server does not listen on %s", at);
        usleep(50000);
    }
}

static int setup(void **arg)
{
    (void)arg;
    bed.is_root = own_hosts(HOSTS);
    if (!bed.is_root)
        return 0;
    bed.port = port_free();
    bed.domains = mem_printf("--program-domains=ok.example:%d,"
                             "inside.example:%d,late.example:%d",
                             bed.port, bed.port, bed.port);
    bed.flags[0] = "--egress=proxy";
    bed.flags[1] = bed.domains;
    setenv("PODTERM_PROGRAM_ALLOW_CIDRS", "127.0.0.1/32", 1);
    desk_setup_with(bed.flags);
    serve();
    return 0;
}

static int teardown(void **arg)
{
    int status;

    if (!bed.is_root)
        return 0;
    kill(bed.server, SIGKILL);
    waitpid(bed.server, &status, 0);
    desk_teardown(arg);
    free(bed.domains);
    return 0;
}

static void need_hosts(void)
{
    if (!bed.is_root)
        skipped("it needs root, for a hosts file of its own");
}

/* Its script runs in the cage; $P is the server's port. */
static void run(const char *script)
{
    own_mem char *whole = mem_printf("P=%d; %s", bed.port, script);

    desk_run(NULL, whole);
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
        mem_printf("grep -rh '\"ev\":\"egress\"' %s/state/log | grep '%s' | "
                   "grep -q '%s'",
                   desk.stack->dir, one, two);

    for (int i = 0; i < 100; i++) {
        if (system(command) == 0)
            return;
        usleep(50000);
    }
    fail_msg("no line: %s", command);
}

#define FETCH                                                                  \
    "curl -sk -m 10 https://ok.example:$P/ | grep -q s_server && echo fetched"

static void
what_is_on_the_list_is_reached_as_if_nothing_were_between(void **arg)
{
    own_json struct json *row = NULL;
    const char *sid;

    (void)arg;
    need_hosts();
    run("echo $HTTPS_PROXY $https_proxy $NO_PROXY; " FETCH "; read -r x");
    seat_expect(&desk.seat,
                "http://127.0.0.1:3128 http://127.0.0.1:3128 localhost,",
                SOON_MS);
    seat_expect(&desk.seat, "fetched\r\n", SOON_MS);
    sid = desk_session();
    row = stack_get(desk.stack, "tester", sid);
    assert_string_equal(json_get_str(row, "egress"), "proxy");
    seat_say(&desk.seat, "\r");
    ends("", 0);
    logged(sid, "\"verdict\":\"allowed\",\"host\":\"ok.example\"");
}

static void what_is_not_is_refused_and_the_person_learns_why(void **arg)
{
    (void)arg;
    need_hosts();
    run("curl -sSk -m 10 https://other.example:$P/; echo left $?; read -r x");
    seat_expect(&desk.seat, "other.example:", SOON_MS);
    seat_expect(&desk.seat, "is not among the domains", SOON_MS);
    seat_say(&desk.seat, "\r");
    ends("", 0);
    logged("refused", "\"host\":\"other.example\"");
    run("curl -sSk -m 10 https://inside.example:$P/; echo left $?; read -r x");
    seat_expect(&desk.seat, "169.254.169.254", SOON_MS);
    seat_say(&desk.seat, "\r");
    ends("", 0);
}

static void there_is_no_way_beside_it(void **arg)
{
    (void)arg;
    need_hosts();
    run("for to in ok.example:$P 127.0.0.1:$P 1.1.1.1:443; do "
        "curl -sk -m 5 --noproxy '*' https://$to/ && echo out; done; "
        "getent ahosts example.com && echo out; "
        "curl -sk -m 5 https://127.0.0.1:$P/ && echo out; "
        "curl -sk -m 5 -x http://127.0.0.1:3128 https://[::1]:$P/ && echo out; "
        "curl -sk -m 5 http://ok.example:$P/ | grep -v 'plain http' && echo "
        "out; echo none");
    seat_expect(&desk.seat, "none", SOON_MS);
    assert_false(seat_has(&desk.seat, "out\r\n"));
    ends("", 0);
}

static void another_name_in_the_greeting_is_cut_off(void **arg)
{
    (void)arg;
    need_hosts();
    run("to() { echo | openssl s_client -proxy 127.0.0.1:3128 -connect "
        "ok.example:$P \"$@\" 2>&1 | grep -c 'BEGIN CERTIFICATE'; }; "
        "to -servername ok.example; to -servername other.example; "
        "to -noservername; read -r x");
    seat_expect(&desk.seat, "1\r\n", SOON_MS);
    seat_expect(&desk.seat, "names another server, other.example", SOON_MS);
    seat_say(&desk.seat, "\r");
    ends("", 0);
}

static pid_t agent_main(void)
{
    pid_t agent = 0;

    assert_int_equal(
        stack_pids(desk.stack, "podterm-agent", "--main", &agent, 1), 1);
    return agent;
}

/* The session's proxy: the child of its agent that has this name. */
static pid_t find_proxy(void)
{
    own_mem char *command = NULL;
    int pid = 0;
    FILE *f;

    command = mem_printf("pgrep -x podterm-proxy -P %d", (int)agent_main());
    f = popen(command, "r");
    if (fscanf(f, "%d", &pid) != 1)
        fail_msg("no process: %s", command);
    pclose(f);
    return pid;
}

static void the_proxys_process_is_locked_in(void **arg)
{
    own_mem char *seen = NULL;

    (void)arg;
    need_hosts();
    run(FETCH "; read -r x");
    seat_expect(&desk.seat, "fetched\r\n", SOON_MS);
    seen = mem_printf("cd /proc/%d && grep -q '^NoNewPrivs:.1' status && "
                      "grep -q '^Seccomp:.2' status && "
                      "grep -q 'Max core file size  *0 ' limits && "
                      "grep -q 'Max data size  *134217728 ' limits",
                      (int)find_proxy());
    assert_int_equal(system(seen), 0);
    seat_say(&desk.seat, "\r");
    ends("", 0);
}

static void a_proxy_that_dies_is_started_again(void **arg)
{
    (void)arg;
    need_hosts();
    run(FETCH "; read -r x; " FETCH "; read -r x; " FETCH);
    seat_expect(&desk.seat, "fetched\r\n", SOON_MS);
    kill(find_proxy(), SIGKILL);
    seat_say(&desk.seat, "\r");
    seat_expect(&desk.seat, "fetched\r\n", SOON_MS);
    kill(agent_main(), SIGKILL); /* the shim hands the socket over again */
    seat_say(&desk.seat, "\r");
    ends("fetched\r\n", 0);
}

static void a_hosts_file_that_is_replaced_is_read(void **arg)
{
    (void)arg;
    need_hosts();
    run("curl -sk -m 10 https://late.example:$P/ || echo absent; "
        "for i in $(seq 200); do curl -sk -m 10 https://late.example:$P/ | "
        "grep -q s_server && echo found && break; sleep 0.1; done");
    seat_expect(&desk.seat, "absent\r\n", SOON_MS);
    assert_true(own_hosts_again(HOSTS "127.0.0.1 late.example\n"));
    ends("found\r\n", 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, desk_leave)
    const struct CMUnitTest tests[] = {
        T(what_is_on_the_list_is_reached_as_if_nothing_were_between),
        T(what_is_not_is_refused_and_the_person_learns_why),
        T(there_is_no_way_beside_it),
        T(another_name_in_the_greeting_is_cut_off),
        T(the_proxys_process_is_locked_in),
        T(a_proxy_that_dies_is_started_again),
        T(a_hosts_file_that_is_replaced_is_read),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, setup, teardown);
}
