/*
 * The controller assembled: what a request's handler may reach. Filled by
 * main.c before the loop runs and constant from then on.
 */
#ifndef PODTERM_CONTROLLER_APP_H
#define PODTERM_CONTROLLER_APP_H

#include "base/loop.h"
#include "base/store.h"
#include "base/worker.h"
#include "base/ws.h"
#include "controller/devissuer.h"
#include "controller/guard.h"
#include "controller/identity.h"
#include "controller/keys.h"
#include "controller/launcher.h"
#include "controller/settings.h"

struct lease;
struct live;
struct page;
struct reaper;

struct app {
    const struct settings *set;
    struct loop *loop;
    struct worker *worker;
    struct ws_context *ws;
    struct store *store;
    struct keys keys;
    struct identity *identity;
    struct devissuer *devissuer; /* NULL without --dev-issuer */
    struct launcher *launcher;
    struct live *live;
    struct reaper *reaper;
    struct lease *lease; /* NULL: this controller is alone */
    struct guard guard;
    struct page *page; /* NULL: none is served */
    bool is_stopping;
};

#endif
