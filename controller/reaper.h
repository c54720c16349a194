/*
 * Nothing stays behind: at the start the records and what earlier processes
 * left are brought together, and old records are removed once a while.
 */
#ifndef PODTERM_CONTROLLER_REAPER_H
#define PODTERM_CONTROLLER_REAPER_H

#include "base/err.h"

#define REAPER_PRUNE_MS 60000 /* between removals of old records */

struct app;
struct reaper;

/*
 * Before the loop runs: live sessions are taken up, sessions without a
 * process are ended, directories without a record are removed. Blocks on the
 * store. NULL with *e.
 */
struct reaper *reaper_start(struct app *app, struct err *e);
void reaper_stop(struct reaper *r); /* takes NULL */

#endif
