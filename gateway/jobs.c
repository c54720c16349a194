#include "gateway/jobs.h"

#include "base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct job {
    struct job *next;
    void (*run)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

struct job_list {
    struct job *first, **last;
};

struct jobs {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct job_list todo, finished; /* under lock */
    size_t waiting, queue_max;
    bool is_stopping;
    int event_fd;
    int threads;
    pthread_t thread[64];
};

static void list_init(struct job_list *l)
{
    l->first = NULL;
    l->last = &l->first;
}

static void list_put(struct job_list *l, struct job *j)
{
    j->next = NULL;
    *l->last = j;
    l->last = &j->next;
}

static struct job *list_take(struct job_list *l)
{
    struct job *j = l->first;

    if (j) {
        l->first = j->next;
        if (!l->first)
            l->last = &l->first;
    }
    return j;
}

static void *thread_main(void *arg)
{
    struct jobs *j = arg;
    uint64_t one = 1;

    pthread_mutex_lock(&j->lock);
    for (;;) {
        struct job *job = list_take(&j->todo);

        if (!job) {
            if (j->is_stopping)
                break;
            pthread_cond_wait(&j->more, &j->lock);
            continue;
        }
        j->waiting--;
        pthread_mutex_unlock(&j->lock);
        job->run(job->arg);
        pthread_mutex_lock(&j->lock);
        list_put(&j->finished, job);
        if (write(j->event_fd, &one, sizeof(one)) < 0) {
            /* the counter is full: the owner is woken already */
        }
    }
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

/* Signals are the owner's thread's alone. */
static int threads_start(struct jobs *j, int threads, struct err *e)
{
    sigset_t all, old;
    int rc = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (rc == 0 && j->threads < threads) {
        rc = pthread_create(&j->thread[j->threads], NULL, thread_main, j);
        if (rc == 0)
            j->threads++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc ? err_set(e, ERR_SYSTEM, "cannot start a thread (%d)", rc) : 0;
}

struct jobs *jobs_new(int threads, size_t queue_max, struct err *e)
{
    struct jobs *j = mem_zero(1, sizeof(*j));

    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->more, NULL);
    list_init(&j->todo);
    list_init(&j->finished);
    j->queue_max = queue_max;
    j->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (j->event_fd < 0)
        err_sys(e, "eventfd");
    else if (threads_start(j, threads, e) == 0)
        return j;
    jobs_free(j);
    return NULL;
}

void jobs_free(struct jobs *j)
{
    if (!j)
        return;
    pthread_mutex_lock(&j->lock);
    j->is_stopping = true;
    pthread_cond_broadcast(&j->more);
    pthread_mutex_unlock(&j->lock);
    for (int i = 0; i < j->threads; i++)
        pthread_join(j->thread[i], NULL);
    jobs_collect(j);
    if (j->event_fd >= 0)
        close(j->event_fd);
    pthread_cond_destroy(&j->more);
    pthread_mutex_destroy(&j->lock);
    free(j);
}

int jobs_fd(const struct jobs *j)
{
    return j->event_fd;
}

bool jobs_add(struct jobs *j, void (*run)(void *arg), void (*done)(void *arg),
              void *arg)
{
    struct job *job;

    pthread_mutex_lock(&j->lock);
    if (j->waiting >= j->queue_max || j->is_stopping) {
        pthread_mutex_unlock(&j->lock);
        return false;
    }
    job = mem_zero(1, sizeof(*job));
    *job = (struct job){.run = run, .done = done, .arg = arg};
    list_put(&j->todo, job);
    j->waiting++;
    pthread_cond_signal(&j->more);
    pthread_mutex_unlock(&j->lock);
    return true;
}

void jobs_collect(struct jobs *j)
{
    struct job_list mine;
    struct job *job;
    uint64_t count;

    if (read(j->event_fd, &count, sizeof(count)) < 0)
        count = 0; /* nothing new: the list may still hold some */
    pthread_mutex_lock(&j->lock);
    mine = j->finished;
    if (!mine.first)
        mine.last = &mine.first;
    list_init(&j->finished);
    pthread_mutex_unlock(&j->lock);
    while ((job = list_take(&mine))) {
        if (job->done)
            job->done(job->arg);
        free(job);
    }
}
