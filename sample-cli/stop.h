/*
 * The signals that end the program or halt it, taken one by one from a
 * descriptor while a task list runs (sample-cli/tasks.h, stop_fd): nothing is
 * cut off in the middle of a frame, and the terminal is left as it was.
 *
 *   INT, TERM, HUP     stop; `signum` keeps which (a second one: at once)
 *   TSTP, CONT         the terminal is given back while we are halted
 *   QUIT and faults    restore the terminal, then what they always do
 */
#ifndef PODTERM_SAMPLE_CLI_STOP_H
#define PODTERM_SAMPLE_CLI_STOP_H

#include "base/err.h"
#include "sample-cli/screen.h"

#include <stdbool.h>

struct stop {
    int fd;     /* owned; -1 = none */
    int signum; /* 0 = none came */
    struct screen *screen;
};

/* Block them, before any thread starts. A signal that we were started to
 * ignore (nohup) stays ignored. */
int stop_init(struct stop *s, struct screen *screen, struct err *e);
/* What has come: for struct tasks' stop. true = stop. A second one leaves the
 * program at once, with 128 + its number. */
bool stop_take(void *stop);
void stop_fini(struct stop *s);

#endif
