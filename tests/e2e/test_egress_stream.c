/*
 * Events of a server through the egress proxy, as a model's answer comes: one
 * a second, both directions open, with pauses longer than what is usually
 * taken for idle. Nothing is lost, nothing waits. PODTERM_STREAM_S seconds
 * (15), ten minutes of them by `make test-long`.
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

#define STREAM "tests/lib/stream.py"
#define USUAL_S 15
#define SOON_MS 30000
#define HOSTS "127.0.0.1 localhost model.example\n"

static struct {
    bool is_root; /* and so in a mount namespace of its own */
    int port, seconds;
    char *domains;
    pid_t server;
    const char *flags[4];
} bed;

static void serve(void)
{
    own_mem char *cert = mem_printf("%s/model.pem", desk.stack->dir);
    own_mem char *key = mem_printf("%s/model.key", desk.stack->dir);
    own_mem char *port = mem_printf("%d", bed.port);
    own_mem char *seconds = mem_printf("%d", bed.seconds);

    certs_make(desk.stack->dir, "model", "DNS:model.example");
    bed.server = fork();
    if (bed.server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("python3", "python3", STREAM, "serve", cert, key, port, seconds,
               NULL);
        _exit(127);
    }
    close(rival_dial(bed.port));
}

static int setup(void **arg)
{
    const char *seconds = getenv("PODTERM_STREAM_S");

    (void)arg;
    bed.is_root = own_hosts(HOSTS);
    if (!bed.is_root)
        return 0;
    bed.seconds = seconds && atoi(seconds) > 0 ? atoi(seconds) : USUAL_S;
    bed.port = port_free();
    bed.domains = mem_printf("--program-domains=model.example:%d", bed.port);
    bed.flags[0] = "--egress=proxy";
    bed.flags[1] = bed.domains;
    setenv("PODTERM_PROGRAM_ALLOW_CIDRS", "127.0.0.1/32", 1);
    desk_setup_with(bed.flags);
    serve();
    return 0;
}

static int teardown(void **arg)
{
    if (!bed.is_root)
        return 0;
    kill(bed.server, SIGKILL);
    waitpid(bed.server, NULL, 0);
    desk_teardown(arg);
    free(bed.domains);
    return 0;
}

static void events_pass_as_they_come_both_ways(void **arg)
{
    own_mem char *ca_path = NULL, *ca = NULL, *script = NULL;
    struct stack_bundle taker;

    (void)arg;
    if (!bed.is_root)
        skipped("it needs root, for a hosts file of its own");
    ca_path = mem_printf("%s/model-ca.pem", desk.stack->dir);
    ca = tree_get(ca_path, &(size_t){0});
    stack_pack_file(desk.stack, "stream", STREAM, &taker);
    desk_bundle(&taker);
    script = mem_printf("cd; printf '%%s' '%s' >ca.pem; "
                        "/usr/bin/python3 \"$(command -v prog)\" take "
                        "model.example %d ca.pem %d",
                        ca, bed.port, bed.seconds);
    desk_run(NULL, script);
    seat_expect(&desk.seat, "streamed well", SOON_MS + bed.seconds * 1000);
    desk_expect_end(0, SOON_MS);
    seat_free(&desk.seat);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(events_pass_as_they_come_both_ways,
                                  desk_leave),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, setup, teardown);
}
