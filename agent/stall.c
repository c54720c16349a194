#include "agent/stall.h"

#include <signal.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid /* not in glibc 2.36 */
#endif
#define STALL_SIGNAL SIGUSR2

static void stall_signalled(int signum)
{
    (void)signum; /* to interrupt is all */
}

static struct timespec stall_time(int64_t ms)
{
    return (struct timespec){ms / 1000, ms % 1000 * 1000000};
}

int stall_start(struct stall *s, int64_t nudge_ms, int64_t kill_ms,
                struct err *e)
{
    struct sigaction act = {.sa_handler = stall_signalled}; /* no restart */
    struct sigevent nudge = {.sigev_notify = SIGEV_THREAD_ID,
                             .sigev_signo = STALL_SIGNAL};
    struct sigevent kill = {.sigev_notify = SIGEV_SIGNAL,
                            .sigev_signo = SIGKILL};

    nudge.sigev_notify_thread_id = gettid();
    *s = (struct stall){.nudge_ms = nudge_ms, .kill_ms = kill_ms};
    if (sigaction(STALL_SIGNAL, &act, NULL) < 0 ||
        timer_create(CLOCK_MONOTONIC, &nudge, &s->nudge) < 0)
        return err_sys(e, "timer of the loop");
    if (timer_create(CLOCK_MONOTONIC, &kill, &s->kill) < 0) {
        timer_delete(s->nudge);
        return err_sys(e, "timer of the loop");
    }
    s->is_on = true;
    stall_beat(s);
    return 0;
}

void stall_beat(struct stall *s)
{
    struct itimerspec nudge = {.it_value = stall_time(s->nudge_ms),
                               .it_interval = stall_time(STALL_AGAIN_MS)};
    struct itimerspec kill = {.it_value = stall_time(s->kill_ms)};

    if (!s->is_on)
        return;
    timer_settime(s->nudge, 0, &nudge, NULL);
    timer_settime(s->kill, 0, &kill, NULL);
}

void stall_stop(struct stall *s)
{
    if (!s->is_on)
        return;
    timer_delete(s->nudge);
    timer_delete(s->kill);
    s->is_on = false;
}
