/* Metrics as Prometheus reads them. */
#include "base/metrics.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct metric rows[] = {
    {.name = "p_ends_total",
     .labels = "reason=\"idle\"",
     .kind = METRIC_COUNTER,
     .help = "Ends."},
    {.name = "p_ends_total",
     .labels = "reason=\"deleted\"",
     .kind = METRIC_COUNTER,
     .help = "Never shown."},
    {.name = "p_open", .labels = "", .kind = METRIC_GAUGE, .help = "Open."},
};
static struct histogram hist = {.name = "p_wait_seconds", .help = "Waits."};

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++)
        metric_set(&rows[i], 0);
    for (int i = 0; i <= HISTOGRAM_BUCKETS; i++)
        hist.bucket[i] = 0;
    hist.sum_us = 0;
    return 0;
}

static void rows_of_one_name_stand_below_one_help(void **state)
{
    struct buf out;

    (void)state;
    metric_add(&rows[0], 2);
    metric_add(&rows[1], 40);
    metric_add(&rows[1], 2);
    metric_set(&rows[2], -1);
    buf_init(&out, 4096);
    assert_int_equal(metrics_text(&out, rows, 3, NULL, 0), 0);
    assert_int_equal(buf_append(&out, "", 1), 0);
    assert_string_equal((const char *)out.data,
                        "# HELP p_ends_total Ends.\n"
                        "# TYPE p_ends_total counter\n"
                        "p_ends_total{reason=\"idle\"} 2\n"
                        "p_ends_total{reason=\"deleted\"} 42\n"
                        "# HELP p_open Open.\n"
                        "# TYPE p_open gauge\n"
                        "p_open -1\n");
    buf_fini(&out);
}

static void a_histogram_is_cumulative_and_sums_up(void **state)
{
    static const char *const lines[] = {
        "# TYPE p_wait_seconds histogram\n",
        "p_wait_seconds_bucket{le=\"0.0001\"} 2\n", /* a bound is within */
        "p_wait_seconds_bucket{le=\"0.00025\"} 3\n",
        "p_wait_seconds_bucket{le=\"0.001\"} 3\n",
        "p_wait_seconds_bucket{le=\"1\"} 4\n",
        "p_wait_seconds_bucket{le=\"60\"} 5\n",
        "p_wait_seconds_bucket{le=\"+Inf\"} 6\n",
        "p_wait_seconds_sum 160.500201\n",
        "p_wait_seconds_count 6\n",
    };
    static const int64_t us[] = {0, 100, 101, 500000, 60000000, 100000000};
    struct buf out;

    (void)state;
    for (size_t i = 0; i < sizeof(us) / sizeof(*us); i++)
        histogram_add(&hist, us[i]);
    buf_init(&out, 4096);
    assert_int_equal(metrics_text(&out, NULL, 0, &hist, 1), 0);
    assert_int_equal(buf_append(&out, "", 1), 0);
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
        if (!strstr((const char *)out.data, lines[i]))
            fail_msg("%s is not in\n%s", lines[i], (const char *)out.data);
    buf_fini(&out);
}

static void a_full_buffer_is_told(void **state)
{
    struct buf whole;

    (void)state;
    buf_init(&whole, 4096);
    assert_int_equal(metrics_text(&whole, rows, 3, &hist, 1), 0);
    for (size_t max = 0; max < whole.len; max++) {
        struct buf out;

        buf_init(&out, max);
        assert_int_equal(metrics_text(&out, rows, 3, &hist, 1), -1);
        assert_true(out.len <= max);
        buf_fini(&out);
    }
    buf_fini(&whole);
}

static void *counts(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10000; i++) {
        metric_add(&rows[0], 1);
        histogram_add(&hist, 7);
    }
    return NULL;
}

static void threads_lose_no_count(void **state)
{
    pthread_t t[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, counts, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(metric_get(&rows[0]), 40000);
    assert_int_equal(hist.bucket[0], 40000);
    assert_int_equal(hist.sum_us, 280000);
}

#define TEST(t) cmocka_unit_test_setup(t, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rows_of_one_name_stand_below_one_help),
        TEST(a_histogram_is_cumulative_and_sums_up),
        TEST(a_full_buffer_is_told),
        TEST(threads_lose_no_count),
    };

    return cmocka_run_group_tests_name("base/metrics", tests, NULL, NULL);
}
