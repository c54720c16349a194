/* What a thief of the gateway's Redis user leaves goes by itself, and is told. */
#include "controller/sweep.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/peer.h"
#include "tests/lib/programs.h"
#include "tests/lib/redisd.h"
#include "tests/lib/tree.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define EVERY_MS 20
#define SOON_MS 20000
#define THREADS 2

static struct redisd redisd;
static struct app app;
static struct sweep *sweep;
static char *dir, *path;

static int setup(void **arg)
{
    struct err e = {0};

    (void)arg;
    signal(SIGPIPE, SIG_IGN); /* as the controller does */
    dir = scratch_new();
    path = mem_printf("%s/log", dir);
    log_fd(open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    redisd_start(&redisd, NULL, NULL);
    app.store = store_open(&(struct store_conf){.where = redisd.url}, &e);
    assert_non_null(app.store);
    app.loop = loop_new();
    app.worker = worker_new(app.loop, THREADS, 8);
    sweep = sweep_start(&app, EVERY_MS);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    worker_free(app.worker);
    sweep_stop(sweep);
    loop_free(app.loop);
    store_free(app.store);
    redisd_stop(&redisd);
    log_fd(2);
    scratch_remove(dir);
    free(path);
    return 0;
}

static bool is_told(void *what)
{
    own_mem char *log = tree_get(path, &(size_t){0});

    return strstr(log, what) != NULL;
}

static bool is_gone(void *key)
{
    return redisd_number(&redisd, "EXISTS", key, NULL) == 0;
}

static void what_no_gateway_writes_goes_and_is_told(void **arg)
{
    struct err e = {0};

    (void)arg;
    assert_int_equal(store_spend(app.store, "spent", 100, 50, &e), 0);
    run_for(app.loop, 5 * EVERY_MS);
    assert_false(is_told("store."));
    redis_reply_free(redisd_ask(&redisd, "SET", "podterm:t:x", "1", NULL));
    assert_true(run_until(app.loop, is_gone, "podterm:t:x", SOON_MS));
    assert_true(run_until(app.loop, is_told,
                          "\"ev\":\"store.strange_ids\",\"removed\":1}",
                          SOON_MS));
    assert_false(is_gone("podterm:t:spent"));
}

static void a_store_that_is_away_is_told_and_swept_when_it_is_back(void **arg)
{
    (void)arg;
    redisd_kill(&redisd);
    assert_true(
        run_until(app.loop, is_told, "\"ev\":\"store.sweep\"", SOON_MS));
    redisd_again(&redisd);
    redis_reply_free(redisd_ask(&redisd, "SET", "podterm:t:x", "1", NULL));
    assert_true(run_until(app.loop, is_gone, "podterm:t:x", SOON_MS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_no_gateway_writes_goes_and_is_told,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_store_that_is_away_is_told_and_swept_when_it_is_back, setup,
            teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
