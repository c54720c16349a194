#include "tests/lib/shimbed.h"

#include "base/mem.h"
#include "tests/lib/programs.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define PATIENCE_MS 5000

static void on_hello(void *arg, enum shim_state state, enum shim_end kind,
                     int value)
{
    struct shimbed *b = arg;

    b->hellos++;
    b->state = state;
    b->kind = kind;
    b->value = value;
    loop_stop(b->loop);
}

static void on_started(void *arg, int master_fd, const struct shimlink_run *run)
{
    struct shimbed *b = arg;

    b->run = *run;
    b->starteds++;
    if (b->master_fd >= 0)
        close(b->master_fd);
    b->master_fd = master_fd;
    loop_stop(b->loop);
}

static void on_exited(void *arg, enum shim_end kind, int value)
{
    struct shimbed *b = arg;

    b->exiteds++;
    b->kind = kind;
    b->value = value;
    loop_stop(b->loop);
}

static void on_stopping(void *arg)
{
    struct shimbed *b = arg;

    b->stoppings++;
    loop_stop(b->loop);
}

static void on_failed(void *arg, int error, const char *text)
{
    struct shimbed *b = arg;

    b->faileds++;
    b->error = error;
    snprintf(b->text, sizeof(b->text), "%s", text);
    loop_stop(b->loop);
}

static void on_lost(void *arg, const struct err *why)
{
    struct shimbed *b = arg;

    b->losts++;
    b->why = *why;
    loop_stop(b->loop);
}

static void on_listener(void *arg, uint16_t port, int listen_fd)
{
    struct shimbed *b = arg;

    b->port = port;
    b->listeners++;
    close(listen_fd);
    loop_stop(b->loop);
}

const struct shimlink_verbs shimbed_verbs = {
    .hello = on_hello,
    .listener = on_listener,
    .started = on_started,
    .exited = on_exited,
    .stopping = on_stopping,
    .failed = on_failed,
    .lost = on_lost,
};

void shimbed_open(struct shimbed *b, uid_t uid, bool is_caged, bool is_spent)
{
    struct shimlink_conf conf = {.ipc_dir = b->dir,
                                 .cookie = b->cookie,
                                 .is_cookie_spent = is_spent,
                                 .runner_uid = uid,
                                 .is_caged = is_caged,
                                 .verbs = &shimbed_verbs,
                                 .arg = b};
    struct err e = {0};

    b->link = shimlink_new(b->loop, &conf, &e);
    if (!b->link)
        fail_msg("%s", e.text);
}

int shimbed_setup(void **state)
{
    struct shimbed *b = mem_zero(1, sizeof(*b));

    b->loop = loop_new();
    b->dir = scratch_new();
    b->master_fd = -1;
    memset(b->cookie, 0x5a, sizeof(b->cookie));
    *state = b;
    return 0;
}

int shimbed_teardown(void **state)
{
    struct shimbed *b = *state;

    shimlink_free(b->link);
    loop_free(b->loop);
    if (b->master_fd >= 0)
        close(b->master_fd);
    scratch_remove(b->dir);
    free(b);
    return 0;
}

static void on_late(void *arg)
{
    struct shimbed *b = arg;

    b->is_late = true;
    loop_stop(b->loop);
}

void shimbed_until(struct shimbed *b, const int *count, int want)
{
    struct loop_timer *t =
        loop_timer_start(b->loop, PATIENCE_MS, 0, on_late, b);

    while (*count < want && !b->is_late)
        loop_run(b->loop);
    loop_timer_stop(t);
    if (b->is_late)
        fail_msg("hello %d started %d exited %d stopping %d failed %d lost %d",
                 b->hellos, b->starteds, b->exiteds, b->stoppings, b->faileds,
                 b->losts);
    assert_int_equal(*count, want);
}

void shimbed_turn(struct shimbed *b, int ms)
{
    struct loop_timer *t = loop_timer_start(b->loop, ms, 0, on_late, b);

    while (!b->is_late)
        loop_run(b->loop);
    loop_timer_stop(t);
    b->is_late = false;
}
