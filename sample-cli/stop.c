#include "sample-cli/stop.h"

#include "base/own.h"

#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* The terminal first; then the signal does what it does without us. */
static void stop_on_fault(int signum)
{
    /* (safe in a handler, says its header, which clang-tidy does not read) */
    screen_restore(); // NOLINT(bugprone-signal-handler)
    signal(signum, SIG_DFL);
    raise(signum);
}

int stop_init(struct stop *s, struct screen *screen, struct err *e)
{
    static const int taken[] = {SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGCONT};
    static const int faults[] = {SIGQUIT, SIGSEGV, SIGBUS, SIGFPE,
                                 SIGILL,  SIGABRT, SIGSYS};
    sigset_t set;

    *s = (struct stop){.fd = -1, .screen = screen};
    sigemptyset(&set);
    for (size_t i = 0; i < COUNT(taken); i++) {
        struct sigaction old;

        if (sigaction(taken[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaddset(&set, taken[i]);
    }
    s->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->fd < 0)
        return err_sys(e, "signalfd");
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    for (size_t i = 0; i < COUNT(faults); i++)
        signal(faults[i], stop_on_fault);
    return 0;
}

bool stop_take(void *stop)
{
    struct stop *s = stop;
    struct signalfd_siginfo info;
    bool is_stop = false;

    while (read(s->fd, &info, sizeof(info)) == sizeof(info)) {
        int signum = (int)info.ssi_signo;

        switch (signum) {
        case SIGTSTP:
            screen_leave(s->screen);
            raise(SIGSTOP);
            break;
        case SIGCONT:
            screen_enter(s->screen);
            break;
        default:
            if (s->signum) {
                screen_leave(s->screen);
                _exit(128 + signum);
            }
            s->signum = signum;
            is_stop = true;
        }
    }
    return is_stop;
}

void stop_fini(struct stop *s)
{
    own_fd_release(&s->fd);
    s->fd = -1;
}
