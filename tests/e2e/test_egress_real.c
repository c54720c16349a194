/*
 * Programs that people run, in the cage, by their usual settings alone: curl,
 * git, pip and npm fetch what they are for through the proxy, from servers of
 * this test's; and where they may not, they say so.
 */
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/certs.h"
#include "tests/lib/desk.h"
#include "tests/lib/ownhosts.h"
#include "tests/lib/ports.h"
#include "tests/lib/rivals.h"
#include "tests/lib/skipped.h"
#include "tests/lib/tree.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SOON_MS 30000
#define STEP_MS 50
#define HOSTS                                                                  \
    "127.0.0.1 localhost files.example git.example pypi.example "              \
    "registry.example plain.example other.example\n"

static struct {
    bool is_root; /* and so in a mount namespace of its own */
    int tls, http;
    char *domains, *ca;
    pid_t depot;
    const char *flags[4];
} bed;

static void start_depot(void)
{
    own_mem char *dir = mem_printf("%s/depot", desk.stack->dir);
    own_mem char *cert = mem_printf("%s/depot.pem", desk.stack->dir);
    own_mem char *key = mem_printf("%s/depot.key", desk.stack->dir);
    own_mem char *tls = mem_printf("%d", bed.tls);
    own_mem char *http = mem_printf("%d", bed.http);

    bed.depot = fork();
    if (bed.depot == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("python3", "python3", "tests/lib/depot.py", dir, cert, key, tls,
               http, NULL);
        _exit(127);
    }
    close(rival_dial(bed.tls));
    close(rival_dial(bed.http));
}

static int setup(void **arg)
{
    own_mem char *ca = NULL;

    (void)arg;
    bed.is_root = own_hosts(HOSTS);
    if (!bed.is_root)
        return 0;
    bed.tls = port_free();
    bed.http = port_free();
    bed.domains =
        mem_printf("--program-domains=files.example:%d,git.example:%d,"
                   "pypi.example:%d,registry.example:%d,plain.example:%d",
                   bed.tls, bed.tls, bed.tls, bed.tls, bed.http);
    bed.flags[0] = "--egress=proxy";
    bed.flags[1] = bed.domains;
    setenv("PODTERM_PROGRAM_ALLOW_CIDRS", "127.0.0.1/32", 1);
    setenv("PODTERM_PROGRAM_HTTP", "true", 1);
    desk_setup_with(bed.flags);
    certs_make(desk.stack->dir, "depot",
               "DNS:files.example,DNS:git.example,DNS:pypi.example,"
               "DNS:registry.example");
    ca = mem_printf("%s/depot-ca.pem", desk.stack->dir);
    bed.ca = tree_get(ca, &(size_t){0});
    start_depot();
    return 0;
}

static int teardown(void **arg)
{
    if (!bed.is_root)
        return 0;
    kill(bed.depot, SIGKILL);
    waitpid(bed.depot, NULL, 0);
    desk_teardown(arg);
    free(bed.domains);
    free(bed.ca);
    return 0;
}

/* Its script runs in the cage: $P and $H are the servers' ports, $PY a Python
 * of the system's. */
static void run(const char *script)
{
    own_mem char *whole = NULL;

    if (!bed.is_root)
        skipped("it needs root, for a hosts file of its own");
    whole = mem_printf(
        "P=%d H=%d PY=/usr/bin/python3; cd; printf '%%s' '%s' >ca.pem; "
        "export CURL_CA_BUNDLE=$PWD/ca.pem GIT_SSL_CAINFO=$PWD/ca.pem "
        "PIP_CERT=$PWD/ca.pem NODE_EXTRA_CA_CERTS=$PWD/ca.pem "
        "PIP_DISABLE_PIP_VERSION_CHECK=1 npm_config_update_notifier=false "
        "npm_config_globalconfig=/dev/null; %s",
        bed.tls, bed.http, bed.ca, script);
    desk_run(NULL, whole);
}

static void ends(void)
{
    desk_expect_end(0, SOON_MS);
    seat_free(&desk.seat);
}

/* Wherever on the screen. */
static void shows(const char *text)
{
    for (int i = 0; !seat_has(&desk.seat, text); i++) {
        if (i == SOON_MS / STEP_MS)
            fail_msg("no \"%s\" in: %s", text, desk.seat.out);
        seat_pass(&desk.seat, STEP_MS);
    }
}

/* The program's own words say no, and so does a notice; then it has failed. */
static void refused(const char *script, const char *words)
{
    own_mem char *whole =
        mem_printf("%s; echo \"left with $?\"; read -r x", script);
    own_mem char *notice =
        mem_printf("other.example:%d is not among the domains", bed.tls);

    run(whole);
    shows(notice);
    shows(words);
    shows("left with ");
    assert_false(seat_has(&desk.seat, "left with 0"));
    seat_say(&desk.seat, "\r");
    ends();
}

/* Programs that are no part of every machine, where the cage has them. */
static void need(const char *path, const char *check, const char *why)
{
    if (access(path, X_OK) != 0 || system(check) != 0)
        skipped(why);
}
#define NEED_PIP                                                               \
    need("/usr/bin/python3", "/usr/bin/python3 -m pip --version >/dev/null",   \
         "it needs python3-pip")
#define NEED_NPM                                                               \
    need("/usr/bin/npm",                                                       \
         "case $(readlink -f /usr/bin/npm) in /usr/*) ;; *) exit 1 ;; esac",   \
         "it needs node and npm below /usr")

static void curl_reads_a_page(void **arg)
{
    (void)arg;
    run("curl -sS -m 20 https://files.example:$P/page.txt && "
        "curl -sS -m 20 http://plain.example:$H/page.txt | tr a-z A-Z");
    seat_expect(&desk.seat, "this page was read", SOON_MS);
    seat_expect(&desk.seat, "THIS PAGE WAS READ", SOON_MS);
    ends();
}

static void curl_says_why_not(void **arg)
{
    (void)arg;
    refused("curl -sS -m 20 https://other.example:$P/page.txt",
            "CONNECT tunnel failed, response 403");
}

static void git_clones(void **arg)
{
    (void)arg;
    run("git clone -q https://git.example:$P/tiny.git && cat tiny/README");
    seat_expect(&desk.seat, "tiny was cloned", SOON_MS);
    ends();
}

static void git_says_why_not(void **arg)
{
    (void)arg;
    refused("git clone -q https://other.example:$P/tiny.git", "response 403");
}

#define PIP "$PY -m pip install --no-cache-dir --target lib --index-url "

static void pip_installs(void **arg)
{
    (void)arg;
    NEED_PIP;
    run(PIP "https://pypi.example:$P/simple/ tiny && "
            "PYTHONPATH=lib $PY -c 'import tiny; print(tiny.said)'");
    seat_expect(&desk.seat, "tiny was imported", SOON_MS);
    ends();
}

static void pip_says_why_not(void **arg)
{
    (void)arg;
    NEED_PIP;
    refused(PIP "https://other.example:$P/simple/ --retries 1 tiny", " 403");
}

#define NPM                                                                    \
    "npm install --no-audit --no-fund --fetch-retries 0 --registry "           \
    "https://"

static void npm_installs(void **arg)
{
    (void)arg;
    NEED_NPM;
    run(NPM "registry.example:$P/ tiny && "
            "node -e 'console.log(require(\"tiny\"))'");
    seat_expect(&desk.seat, "tiny was required", SOON_MS);
    ends();
}

static void npm_says_why_not(void **arg)
{
    (void)arg;
    NEED_NPM;
    refused(NPM "other.example:$P/ tiny", "403");
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, desk_leave)
    const struct CMUnitTest tests[] = {
        T(curl_reads_a_page), T(curl_says_why_not), T(git_clones),
        T(git_says_why_not),  T(pip_installs),      T(pip_says_why_not),
        T(npm_installs),      T(npm_says_why_not),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, setup, teardown);
}
