/*
 * Nothing stays behind: records and what runs are brought together, at the
 * start or whenever this controller becomes the leader of several; then the
 * leader follows what the others write. Old records are removed once a while.
 */
#ifndef PODTERM_CONTROLLER_REAPER_H
#define PODTERM_CONTROLLER_REAPER_H

#include "base/err.h"

#include <stdbool.h>

#define REAPER_PRUNE_MS 60000 /* between removals of old records */
#define REAPER_AGAIN_MS 1000  /* store or cluster away: another try */
#define REAPER_FOLLOW_MS 20   /* between looks for what others wrote */

struct app;
struct reaper;

/*
 * Before the loop runs. Alone: live sessions are taken up, sessions without a
 * process are ended, what lies there without a record is removed; blocks on
 * the store. One of several: nothing, until it leads. NULL with *e.
 */
struct reaper *reaper_start(struct app *app, bool is_alone, struct err *e);
/* We lead from now on, or no more. On the loop. */
void reaper_lead(struct reaper *r, bool is_leader);
/* Another has led meanwhile, whoever does now: all that is under way is
 * forgotten, and looked for anew in a while if we still lead. On the loop. */
void reaper_anew(struct reaper *r);
/* Does this controller look after sessions? On the loop. */
bool reaper_leads(const struct reaper *r);
void reaper_stop(struct reaper *r); /* takes NULL */

#endif
