/* Whose process a loopback peer is, and the uids sessions run under. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/addr.h"
#include "controller/devissuer.h"
#include "controller/peeruid.h"
#include "controller/slots.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sockaddr_storage at(const char *text)
{
    struct sockaddr_storage out = {0};
    struct err e = {0};

    assert_int_equal(addr_parse(text, &out, &e), 0);
    return out;
}

static int look(const char *rows, bool is_v6, const char *peer,
                const char *local, uid_t *uid)
{
    struct sockaddr_storage p = at(peer), l = at(local);
    FILE *table = fmemopen((char *)(uintptr_t)rows, strlen(rows), "r");
    int got = peer_uid_from(table, is_v6, &p, &l, uid);

    fclose(table);
    return got;
}

#define TAIL " 00000000:00000000 00:00000000 00000000 "

static void the_peers_own_row_tells_the_uid(void **state)
{
    /* our own row comes first: local 8080, remote 40000 */
    static const char rows[] =
        "  sl  local_address rem_address   st tx_queue\n"
        "   0: 0100007F:1F90 0100007F:9C40 01" TAIL " 7 0 555 1 0\n"
        "   1: 0100007F:9C40 0100007F:1F90 01" TAIL " 1000 0 556 1 0\n";
    uid_t uid = 99;

    (void)state;
    assert_int_equal(
        look(rows, false, "127.0.0.1:40000", "127.0.0.1:8080", &uid), 0);
    assert_int_equal(uid, 1000);
    assert_int_equal(
        look(rows, false, "127.0.0.1:40001", "127.0.0.1:8080", &uid), -1);
}

static void closed_rows_are_nobodys(void **state)
{
    /* a closed peer's row says uid 0 */
    static const char wait[] =
        "   1: 0100007F:9C40 0100007F:1F90 06" TAIL " 0 0 0 1 0\n";
    static const char orphan[] =
        "   1: 0100007F:9C40 0100007F:1F90 01" TAIL " 0 0 0 1 0\n";
    uid_t uid = 99;

    (void)state;
    assert_int_equal(
        look(wait, false, "127.0.0.1:40000", "127.0.0.1:8080", &uid), -1);
    assert_int_equal(
        look(orphan, false, "127.0.0.1:40000", "127.0.0.1:8080", &uid), -1);
    assert_int_equal(uid, 99);
}

static void an_ipv6_socket_to_mapped_ipv4_is_found(void **state)
{
    static const char rows[] =
        "   1: 0000000000000000FFFF00000100007F:9C40 "
        "0000000000000000FFFF00000100007F:1F90 01" TAIL " 1001 0 9 1 0\n"
        "   2: 00000000000000000000000001000000:9C41 "
        "00000000000000000000000001000000:1F90 01" TAIL " 1002 0 9 1 0\n";
    uid_t uid = 99;

    (void)state;
    assert_int_equal(
        look(rows, true, "127.0.0.1:40000", "127.0.0.1:8080", &uid), 0);
    assert_int_equal(uid, 1001);
    assert_int_equal(look(rows, true, "[::1]:40001", "[::1]:8080", &uid), 0);
    assert_int_equal(uid, 1002);
}

/* Our end is of a socket of both families, the peer's own is of IPv4. */
static void a_peer_is_found_from_the_mapped_end_of_its_connection(void **state)
{
    static const char rows[] =
        "   1: 0100007F:9C40 0100007F:1F90 01" TAIL " 1001 0 9 1 0\n";
    uid_t uid = 99;

    (void)state;
    assert_int_equal(
        look(rows, false, "127.0.0.1:40000", "[::ffff:127.0.0.1]:8080", &uid),
        0);
    assert_int_equal(uid, 1001);
}

static void only_loopback_peers_are_looked_for(void **state)
{
    struct sockaddr_storage p = at("10.0.0.1:5"), l = at("127.0.0.1:1");
    struct err e = {0};
    uid_t uid;

    (void)state;
    assert_int_equal(peer_uid(&p, &l, &uid, &e), -1);
    assert_int_equal(e.kind, ERR_DENIED);
}

static void ours_root_and_sudos_uid_may_have_a_token(void **state)
{
    (void)state;
    assert_true(devissuer_uid_ok(1000, 1000, NULL));
    assert_true(devissuer_uid_ok(0, 1000, NULL));
    assert_true(devissuer_uid_ok(1001, 0, "1001"));
    assert_false(devissuer_uid_ok(1001, 1000, NULL));
    assert_false(devissuer_uid_ok(1001, 0, "1002"));
    assert_false(devissuer_uid_ok(1001, 0, "1001x"));
    assert_false(devissuer_uid_ok(1001, 0, ""));
    assert_false(devissuer_uid_ok(1001, 0, "-1"));
}

static void no_two_sessions_share_a_uid(void **state)
{
    struct slots s;

    (void)state;
    slots_init(&s, 5000, 7); /* two a session: the last has no pair */
    slots_mark(&s, 5003);
    slots_mark(&s, 4000); /* not ours */
    slots_mark(&s, 5006);
    assert_int_equal(slots_take(&s), 5000);
    assert_int_equal(slots_take(&s), 5004);
    assert_int_equal(slots_take(&s), 0);
    slots_give(&s, 5002);
    assert_int_equal(slots_take(&s), 5002);
    slots_give(&s, 0);
    slots_fini(&s);
}

static void given_uids_are_used_again_late(void **state)
{
    struct slots s;

    (void)state;
    slots_init(&s, 5000, 6);
    assert_int_equal(slots_take(&s), 5000);
    slots_give(&s, 5000);
    assert_int_equal(slots_take(&s), 5002);
    slots_fini(&s);
}

static void sweeping_kills_that_uids_processes_alone(void **state)
{
    const uid_t uid = 219999;
    pid_t stray;
    int status;

    (void)state;
    if (geteuid() != 0)
        skip();
    stray = fork();
    if (stray == 0) {
        if (setsid() < 0 || setresuid(uid, uid, uid) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    while (kill(stray, 0) == 0) { /* until it has that uid */
        slots_sweep(uid);
        if (waitpid(stray, &status, WNOHANG) == stray)
            break;
    }
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
    slots_sweep(0); /* never root's */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_peers_own_row_tells_the_uid),
        cmocka_unit_test(closed_rows_are_nobodys),
        cmocka_unit_test(an_ipv6_socket_to_mapped_ipv4_is_found),
        cmocka_unit_test(a_peer_is_found_from_the_mapped_end_of_its_connection),
        cmocka_unit_test(only_loopback_peers_are_looked_for),
        cmocka_unit_test(ours_root_and_sudos_uid_may_have_a_token),
        cmocka_unit_test(no_two_sessions_share_a_uid),
        cmocka_unit_test(given_uids_are_used_again_late),
        cmocka_unit_test(sweeping_kills_that_uids_processes_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
