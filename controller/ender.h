/*
 * Asks a session's agent to end it: dials it with the session key, shows a
 * token of role control, sends END. For at most ENDER_MS; then, or when the
 * agent cannot be had, failed is called and the launcher's hard way is next.
 * Loop thread; what blocks goes to the workers.
 */
#ifndef PODTERM_CONTROLLER_ENDER_H
#define PODTERM_CONTROLLER_ENDER_H

#define ENDER_MS 5000

struct app;
struct ender;

/* failed: on the loop, once, after which the ender is gone; never inside
 * this call. */
struct ender *ender_start(struct app *app, const char *sid,
                          void (*failed)(void *arg), void *arg);
/* The session has ended: nothing is called any more. Takes NULL. */
void ender_stop(struct ender *n);

#endif
