/* Tests gateway/limits.c: the oldest goes first, and counts come back to 0. */
#include "gateway/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct limits l;
static const uint8_t seed[16] = "0123456789abcde";
static const uint8_t A[16] = "a", B[16] = "b";

static int setup(void **state)
{
    (void)state;
    l.unproven_max = 5;
    l.unproven_addr_max = 3;
    l.attached_addr_max = 2;
    l.attached_user_max = 1;
    limits_init(&l, seed);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < LIMITS_BUCKETS; i++)
        assert_null(l.buckets[i]); /* nothing is remembered of who left */
    assert_int_equal(l.unproven, 0);
    limits_fini(&l);
    return 0;
}

static void an_address_loses_its_own_oldest(void **state)
{
    struct limits_node n[4] = {{0}}, other = {0};

    (void)state;
    assert_null(limits_arrive(&l, &other, B));
    for (int i = 0; i < 3; i++)
        assert_null(limits_arrive(&l, &n[i], A));
    assert_ptr_equal(limits_arrive(&l, &n[3], A), &n[0]);
    for (int i = 0; i < 4; i++)
        limits_leave(&l, &n[i]);
    limits_leave(&l, &other);
    limits_leave(&l, &other); /* twice is fine */
}

static void the_total_loses_the_oldest_of_all(void **state)
{
    struct limits_node n[6] = {{0}};
    uint8_t key[16] = {0};

    (void)state;
    for (int i = 0; i < 6; i++) {
        key[0] = (uint8_t)i;
        assert_ptr_equal(limits_arrive(&l, &n[i], key), i < 5 ? NULL : &n[0]);
    }
    /* one that has proven itself is not in the way */
    limits_leave(&l, &n[0]);
    limits_leave(&l, &n[1]);
    assert_null(limits_arrive(&l, &n[0], key));
    for (int i = 0; i < 6; i++)
        limits_leave(&l, &n[i]);
}

static void a_proxys_connections_count_for_their_clients(void **state)
{
    struct limits_node n[5] = {{0}};

    (void)state;
    for (int i = 0; i < 5; i++) /* five of one peer: no address is counted */
        assert_null(limits_arrive(&l, &n[i], NULL));
    for (int i = 0; i < 3; i++)
        assert_null(limits_rename(&l, &n[i], A));
    assert_ptr_equal(limits_rename(&l, &n[3], A), &n[0]);
    assert_null(limits_rename(&l, &n[3], B));
    assert_null(limits_rename(&l, &n[4], B));
    for (int i = 0; i < 5; i++)
        limits_leave(&l, &n[i]);
}

static void attachments_are_capped_by_address_and_by_user(void **state)
{
    struct limits_entry *a, *a2, *other, *user;

    (void)state;
    a = limits_attach_addr(&l, A);
    a2 = limits_attach_addr(&l, A);
    assert_true(a && a2);
    assert_null(limits_attach_addr(&l, A));
    other = limits_attach_addr(&l, B);
    assert_non_null(other);
    /* a user is not an address, even of the same bytes */
    user = limits_attach_user(&l, A);
    assert_non_null(user);
    assert_null(limits_attach_user(&l, A));
    limits_detach(&l, a2);
    a2 = limits_attach_addr(&l, A);
    assert_non_null(a2);
    limits_detach(&l, a);
    limits_detach(&l, a2);
    limits_detach(&l, other);
    limits_detach(&l, user);
    limits_detach(&l, NULL);
}

static void many_come_and_go_without_a_trace(void **state)
{
    static struct limits_node n[500];
    unsigned r = 3;

    (void)state;
    l.unproven_max = 400;
    for (int round = 0; round < 20000; round++) {
        struct limits_node *x = &n[rand_r(&r) % 500], *victim;
        uint8_t key[16] = {(uint8_t)(rand_r(&r) % 97)};

        if (x->is_listed) {
            limits_leave(&l, x);
            continue;
        }
        victim = limits_arrive(&l, x, round % 5 ? key : NULL);
        assert_ptr_not_equal(victim, x);
        if (victim)
            limits_leave(&l, victim);
        assert_true(l.unproven <= 400);
    }
    for (int i = 0; i < 500; i++)
        limits_leave(&l, &n[i]);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_address_loses_its_own_oldest),
        T(the_total_loses_the_oldest_of_all),
        T(a_proxys_connections_count_for_their_clients),
        T(attachments_are_capped_by_address_and_by_user),
        T(many_come_and_go_without_a_trace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
