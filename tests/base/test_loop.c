/* The event loop: descriptors, timers, signals, calls from other threads. */
#include "base/loop.h"
#include "base/own.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

struct seen {
    struct loop *loop;
    struct loop_fd *fd_watch;
    struct loop_timer *timer;
    struct loop_signal *signal;
    int fd;
    int count, events, limit;
    char order[64];
};

static void stop(void *arg)
{
    loop_stop(arg);
}

static void on_fd(void *arg, int events)
{
    struct seen *s = arg;
    char byte;

    s->events |= events;
    if ((events & LOOP_READ) && read(s->fd, &byte, 1) == 1)
        s->count++;
    if (s->count >= s->limit || (events & LOOP_HANGUP))
        loop_stop(s->loop);
}

static void a_readable_descriptor_calls_until_it_is_drained(void **state)
{
    struct seen s = {.loop = loop_new(), .limit = 3};
    int pair[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    s.fd = pair[0];
    s.fd_watch = loop_fd_start(s.loop, pair[0], LOOP_READ, on_fd, &s);
    assert_int_equal(write(pair[1], "abc", 3), 3);
    loop_run(s.loop);
    assert_int_equal(s.count, 3);
    assert_int_equal(s.events, LOOP_READ);
    loop_fd_stop(s.fd_watch);
    loop_free(s.loop);
    close(pair[0]);
    close(pair[1]);
}

static void a_paused_descriptor_is_silent_and_resumes(void **state)
{
    struct seen s = {.loop = loop_new(), .limit = 1};
    struct loop_timer *t;
    int pair[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    s.fd = pair[0];
    s.fd_watch = loop_fd_start(s.loop, pair[0], LOOP_READ, on_fd, &s);
    loop_fd_events(s.fd_watch, 0);
    assert_int_equal(write(pair[1], "a", 1), 1);
    t = loop_timer_start(s.loop, 30, 0, stop, s.loop);
    loop_run(s.loop);
    assert_int_equal(s.count, 0);
    loop_fd_events(s.fd_watch, LOOP_READ);
    loop_run(s.loop);
    assert_int_equal(s.count, 1);
    loop_timer_stop(t);
    loop_fd_stop(s.fd_watch);
    loop_free(s.loop);
    close(pair[0]);
    close(pair[1]);
}

static void on_timer_self_stop(void *arg)
{
    struct seen *s = arg;

    if (++s->count < 3)
        return;
    loop_timer_stop(s->timer); /* inside its own callback */
    s->timer = NULL;
    loop_stop(s->loop);
}

static void a_timer_repeats_and_may_be_stopped_inside_itself(void **state)
{
    struct seen s = {.loop = loop_new()};
    const int64_t start = loop_now_ms();

    (void)state;
    s.timer = loop_timer_start(s.loop, 5, 10, on_timer_self_stop, &s);
    loop_run(s.loop);
    assert_int_equal(s.count, 3);
    assert_true(loop_now_ms() - start >= 24);
    loop_free(s.loop);
}

static void on_once(void *arg)
{
    struct seen *s = arg;

    s->count++;
    loop_stop(s->loop);
}

static void a_timer_may_be_armed_again(void **state)
{
    struct seen s = {.loop = loop_new()};

    (void)state;
    s.timer = loop_timer_start(s.loop, 1, 0, on_once, &s);
    loop_run(s.loop);
    loop_timer_again(s.timer, 1, 0);
    loop_run(s.loop);
    assert_int_equal(s.count, 2);
    loop_timer_stop(s.timer);
    loop_free(s.loop);
}

static void on_signal(void *arg, int signum)
{
    struct seen *s = arg;

    s->events = signum;
    loop_stop(s->loop);
}

static void a_signal_arrives_on_the_loop(void **state)
{
    struct seen s = {.loop = loop_new()};

    (void)state;
    s.signal = loop_signal_start(s.loop, SIGUSR1, on_signal, &s);
    raise(SIGUSR1);
    loop_run(s.loop);
    assert_int_equal(s.events, SIGUSR1);
    loop_signal_stop(s.signal);
    loop_free(s.loop);
}

struct post {
    struct seen *seen;
    char letter;
};

static void on_post(void *arg)
{
    struct post *p = arg;
    struct seen *s = p->seen;

    s->order[s->count++] = p->letter;
    if (s->count == s->limit)
        loop_stop(s->loop);
}

static void *post_ten(void *arg)
{
    struct post *p = arg;

    for (int i = 0; i < 10; i++)
        loop_post(p[i].seen->loop, on_post, &p[i]);
    return NULL;
}

static void posts_of_a_thread_run_in_their_order(void **state)
{
    struct seen s = {.loop = loop_new(), .limit = 10};
    struct post posts[10];
    pthread_t thread;

    (void)state;
    for (int i = 0; i < 10; i++)
        posts[i] = (struct post){&s, (char)('a' + i)};
    assert_int_equal(pthread_create(&thread, NULL, post_ten, posts), 0);
    loop_run(s.loop);
    pthread_join(thread, NULL);
    assert_string_equal(s.order, "abcdefghij");
    loop_free(s.loop);
}

static void post_self(void *arg)
{
    struct seen *s = arg;

    s->count++;
    loop_post(s->loop, post_self, s);
}

static void a_call_that_posts_itself_does_not_starve_timers(void **state)
{
    struct seen s = {.loop = loop_new()};
    struct loop_timer *t = loop_timer_start(s.loop, 10, 0, stop, s.loop);

    (void)state;
    loop_post(s.loop, post_self, &s);
    loop_run(s.loop);
    assert_true(s.count > 0);
    loop_timer_stop(t);
    loop_free(s.loop);
}

static void freeing_the_loop_closes_what_is_left(void **state)
{
    struct loop *l = loop_new();
    struct seen s = {.loop = l};
    int pair[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    loop_timer_start(l, 1000, 0, stop, l);
    loop_fd_start(l, pair[0], LOOP_READ, on_fd, &s);
    loop_signal_start(l, SIGUSR2, on_signal, &s);
    loop_post(l, stop, l);                     /* never run: freed */
    loop_free(l);                              /* leaks show under ASan */
    assert_true(fcntl(pair[0], F_GETFD) >= 0); /* borrowed, not closed */
    close(pair[0]);
    close(pair[1]);
}

static void stopping_nothing_is_allowed(void **state)
{
    (void)state;
    loop_fd_stop(NULL);
    loop_timer_stop(NULL);
    loop_signal_stop(NULL);
    loop_free(NULL);
}

static void clocks_agree_with_each_other(void **state)
{
    (void)state;
    assert_in_range(loop_now_us() / 1000 - loop_now_ms(), 0, 100);
    assert_in_range(loop_wall_ms() / 1000 - loop_wall_s() + 1, 0, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_readable_descriptor_calls_until_it_is_drained),
        cmocka_unit_test(a_paused_descriptor_is_silent_and_resumes),
        cmocka_unit_test(a_timer_repeats_and_may_be_stopped_inside_itself),
        cmocka_unit_test(a_timer_may_be_armed_again),
        cmocka_unit_test(a_signal_arrives_on_the_loop),
        cmocka_unit_test(posts_of_a_thread_run_in_their_order),
        cmocka_unit_test(a_call_that_posts_itself_does_not_starve_timers),
        cmocka_unit_test(freeing_the_loop_closes_what_is_left),
        cmocka_unit_test(stopping_nothing_is_allowed),
        cmocka_unit_test(clocks_agree_with_each_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
