/*
 * Says one thing to a session's agent, or asks it one: dials it with the
 * session key, shows a token of role control, and sends END or the record's
 * VIEWERS, or reads in READY what holds of the program's cage. For at most
 * CONTROL_MS. Loop thread; what blocks goes to the workers.
 */
#ifndef PODTERM_CONTROLLER_CONTROL_H
#define PODTERM_CONTROLLER_CONTROL_H

#include <stdint.h>

#define CONTROL_MS 5000

struct app;
struct control;

enum control_word {
    CONTROL_END,     /* its success is the session's end */
    CONTROL_VIEWERS, /* heard once the agent closes with 1000 */
    CONTROL_CAGE,    /* nothing is said */
};

/*
 * over: on the loop, once, after which the control is gone; never inside this
 * call. told: -1 = the agent could not be had, or has not obeyed; else how
 * many changes of the list (the record's viewers_untold) it has heard of; 0 =
 * there was nothing to tell, or no agent yet. CONTROL_CAGE: a record's cage.
 */
struct control *control_start(struct app *app, const char *sid,
                              enum control_word word,
                              void (*over)(void *arg, int64_t told), void *arg);
/* Nothing is called any more. Takes NULL. */
void control_stop(struct control *n);

#endif
