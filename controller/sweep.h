/*
 * What others left in the store in the place of spent token ids is removed and
 * told: a stolen gateway must not fill the store for good. By every controller:
 * none may lead as long as the store takes no writes.
 */
#ifndef PODTERM_CONTROLLER_SWEEP_H
#define PODTERM_CONTROLLER_SWEEP_H

#include "controller/app.h"

#define SWEEP_MS 30000 /* between two */

struct sweep;

/* On the loop; every_ms: SWEEP_MS. */
struct sweep *sweep_start(struct app *app, int every_ms);
/* When no worker runs any more. Takes NULL. */
void sweep_stop(struct sweep *s);

#endif
