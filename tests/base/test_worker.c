/* The worker pool: where jobs run, in which order they end, what is refused. */
#include "base/loop.h"
#include "base/worker.h"

#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

struct job {
    struct loop *loop;
    pthread_t ran_on, done_on;
    sem_t *gate;
    int *left;
    bool has_run, is_done;
};

static void run(void *arg)
{
    struct job *j = arg;

    if (j->gate)
        sem_wait(j->gate);
    j->ran_on = pthread_self();
    j->has_run = true;
}

static void done(void *arg)
{
    struct job *j = arg;

    j->done_on = pthread_self();
    j->is_done = true;
    if (j->left && --*j->left == 0)
        loop_stop(j->loop);
}

static void a_job_runs_elsewhere_and_ends_on_the_loop(void **state)
{
    struct loop *l = loop_new();
    struct worker *w = worker_new(l, 2, 8);
    int left = 1;
    struct job j = {.loop = l, .left = &left};

    (void)state;
    assert_true(worker_add(w, run, done, &j));
    loop_run(l);
    assert_false(pthread_equal(j.ran_on, pthread_self()));
    assert_true(pthread_equal(j.done_on, pthread_self()));
    worker_free(w);
    loop_free(l);
}

static void a_full_queue_refuses_and_keeps_what_it_has(void **state)
{
    struct loop *l = loop_new();
    struct worker *w = worker_new(l, 1, 2);
    sem_t gate;
    int left = 3;
    struct job j[4] = {{0}};
    int taken = 0;

    (void)state;
    sem_init(&gate, 0, 0);
    for (int i = 0; i < 4; i++)
        j[i] = (struct job){.loop = l, .gate = &gate, .left = &left};
    assert_true(worker_add(w, run, done, &j[0]));
    /* j[0] leaves the queue once the thread has it */
    for (int i = 1; i < 4; i++)
        while (!worker_add(w, run, done, &j[i])) {
            if (i == 3)
                goto full;
        }
full:
    for (int i = 0; i < 3; i++)
        sem_post(&gate);
    loop_run(l);
    for (int i = 0; i < 4; i++)
        taken += j[i].is_done;
    assert_int_equal(taken, 3);
    assert_false(j[3].has_run);
    worker_free(w);
    loop_free(l);
    sem_destroy(&gate);
}

static void freeing_runs_every_job_and_its_done(void **state)
{
    struct loop *l = loop_new();
    struct worker *w = worker_new(l, 2, 100);
    struct job j[50] = {{0}};

    (void)state;
    for (int i = 0; i < 50; i++)
        assert_true(worker_add(w, run, done, &j[i]));
    worker_free(w);
    for (int i = 0; i < 50; i++) {
        assert_true(j[i].has_run);
        assert_true(j[i].is_done);
    }
    loop_free(l);
}

static void a_job_may_have_no_end(void **state)
{
    struct loop *l = loop_new();
    struct worker *w = worker_new(l, 1, 1);
    struct job j = {0};

    (void)state;
    assert_true(worker_add(w, run, NULL, &j));
    worker_free(w);
    assert_true(j.has_run);
    loop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_runs_elsewhere_and_ends_on_the_loop),
        cmocka_unit_test(a_full_queue_refuses_and_keeps_what_it_has),
        cmocka_unit_test(freeing_runs_every_job_and_its_done),
        cmocka_unit_test(a_job_may_have_no_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
