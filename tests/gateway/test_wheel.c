/* Tests gateway/wheel.c: timers fire once, in time, whatever fires does. */
#include "gateway/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct item {
    struct wheel_timer timer; /* first */
    int fired;
    int64_t again_ms;  /* set anew from inside */
    struct item *kill; /* cleared from inside */
};

static struct wheel w;
static int64_t now;

static void fire(void *arg, struct wheel_timer *t)
{
    struct item *i = (struct item *)(void *)t;

    (*(int *)arg)++;
    i->fired++;
    assert_int_equal(t->due_ms, 0);
    if (i->again_ms)
        wheel_set(&w, &i->timer, now + i->again_ms);
    if (i->kill)
        wheel_clear(&w, &i->kill->timer);
}

static int turn(int64_t to_ms)
{
    int n = 0;

    now = to_ms;
    wheel_turn(&w, now, fire, &n);
    return n;
}

static void timers_fire_at_their_time_and_once(void **state)
{
    static struct item items[2000];
    static int64_t due[2000];
    unsigned seed = 7;

    (void)state;
    memset(items, 0, sizeof(items));
    wheel_init(&w, 1000);
    for (int i = 0; i < 2000; i++) {
        due[i] = 1001 + rand_r(&seed) % 30000;
        wheel_set(&w, &items[i].timer, due[i]);
    }
    for (int64_t t = 1000; t < 32000; t += 1 + rand_r(&seed) % 40) {
        turn(t);
        for (int i = 0; i < 2000; i++) {
            if (due[i] > t)
                assert_int_equal(items[i].fired, 0);
            if (due[i] + WHEEL_TICK_MS <= t)
                assert_int_equal(items[i].fired, 1);
        }
    }
    assert_int_equal(wheel_wait_ms(&w, 32000), -1);
}

static void the_wait_is_never_longer_than_the_next_timer(void **state)
{
    struct item a = {.fired = 0};

    (void)state;
    wheel_init(&w, 5000);
    assert_int_equal(wheel_wait_ms(&w, 5000), -1);
    for (int64_t ms = 1; ms < 8000; ms += 37) {
        wheel_set(&w, &a.timer, 5000 + ms);
        assert_in_range(wheel_wait_ms(&w, 5000), ms, ms + WHEEL_TICK_MS);
    }
    /* beyond one round: woken early at most, never late */
    wheel_set(&w, &a.timer, 5000 + 60000);
    assert_in_range(wheel_wait_ms(&w, 5000), 1, 60000 + WHEEL_TICK_MS);
    assert_int_equal(turn(5000 + 59000), 0);
    assert_int_equal(turn(5000 + 60016), 1);
}

static void a_fired_timer_may_set_itself_and_clear_its_neighbours(void **s)
{
    struct item a = {.again_ms = 50}, b = {.fired = 0}, c = {.kill = &b};

    (void)s;
    wheel_init(&w, 0);
    wheel_set(&w, &b.timer, 100);
    wheel_set(&w, &a.timer, 100);
    wheel_set(&w, &c.timer, 100);
    assert_int_equal(turn(112), 2);
    assert_int_equal(b.fired, 0);
    assert_int_equal(turn(160), 0);
    assert_int_equal(turn(176), 1);
    wheel_clear(&w, &a.timer);
    wheel_clear(&w, &a.timer);
    assert_int_equal(wheel_wait_ms(&w, 176), -1);
}

static void a_long_sleep_misses_nobody(void **state)
{
    static struct item items[100];

    (void)state;
    wheel_init(&w, 0);
    for (int i = 0; i < 100; i++)
        wheel_set(&w, &items[i].timer, 1 + i * 997);
    assert_int_equal(turn(10 * 60 * 1000), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_at_their_time_and_once),
        cmocka_unit_test(the_wait_is_never_longer_than_the_next_timer),
        cmocka_unit_test(a_fired_timer_may_set_itself_and_clear_its_neighbours),
        cmocka_unit_test(a_long_sleep_misses_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
