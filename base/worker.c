#include "base/worker.h"

#include "base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#define WORKER_STACK_BYTES (512 * 1024)

struct worker_job {
    void (*run)(void *arg);
    void (*done)(void *arg);
    void *arg;
    struct worker_job *next;
};

struct worker {
    struct loop *loop;
    pthread_t *threads;
    int thread_count;
    size_t queue_max;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t more;
    struct worker_job *first, **last;
    size_t waiting;
    bool is_stopping;
};

static void worker_done(void *arg)
{
    struct worker_job *j = arg;

    j->done(j->arg);
    free(j);
}

/* The next job, or NULL when the pool stops and none waits. */
static struct worker_job *worker_next(struct worker *w)
{
    struct worker_job *j;

    pthread_mutex_lock(&w->lock);
    while (!w->first && !w->is_stopping)
        pthread_cond_wait(&w->more, &w->lock);
    j = w->first;
    if (j) {
        w->first = j->next;
        if (!w->first)
            w->last = &w->first;
        w->waiting--;
    }
    pthread_mutex_unlock(&w->lock);
    return j;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct worker_job *j;

    while ((j = worker_next(w))) {
        j->run(j->arg);
        if (j->done)
            loop_post(w->loop, worker_done, j);
        else
            free(j);
    }
    return NULL;
}

struct worker *worker_new(struct loop *l, int threads, size_t queue_max)
{
    struct worker *w = mem_zero(1, sizeof(*w));
    sigset_t all, old;
    pthread_attr_t attr;

    w->loop = l;
    w->queue_max = queue_max;
    w->threads = mem_zero((size_t)threads, sizeof(*w->threads));
    w->last = &w->first;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, WORKER_STACK_BYTES);
    /* signals belong to the loop's thread */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (int i = 0; i < threads; i++)
        if (pthread_create(&w->threads[i], &attr, worker_main, w) == 0)
            w->thread_count++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (w->thread_count == 0)
        abort();
    return w;
}

void worker_free(struct worker *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->is_stopping = true;
    pthread_cond_broadcast(&w->more);
    pthread_mutex_unlock(&w->lock);
    for (int i = 0; i < w->thread_count; i++)
        pthread_join(w->threads[i], NULL);
    loop_run_posted(w->loop); /* the done of the last jobs */
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->more);
    free(w->threads);
    free(w);
}

bool worker_add(struct worker *w, void (*run)(void *arg),
                void (*done)(void *arg), void *arg)
{
    struct worker_job *j = mem_zero(1, sizeof(*j));
    bool fits;

    *j = (struct worker_job){.run = run, .done = done, .arg = arg};
    pthread_mutex_lock(&w->lock);
    fits = w->waiting < w->queue_max && !w->is_stopping;
    if (fits) {
        *w->last = j;
        w->last = &j->next;
        w->waiting++;
        pthread_cond_signal(&w->more);
    }
    pthread_mutex_unlock(&w->lock);
    if (!fits)
        free(j);
    return fits;
}
