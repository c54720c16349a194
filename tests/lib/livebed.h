/*
 * What is written of sessions, and who looks after them (controller/live.h,
 * reaper.h), over a real store and with a launcher that only writes down what
 * it is asked for: the test tells what happens.
 */
#ifndef PODTERM_TESTS_LIB_LIVEBED_H
#define PODTERM_TESTS_LIB_LIVEBED_H

#include "controller/app.h"
#include "controller/live.h"
#include "controller/reaper.h"

#include <stdatomic.h>

#define LIVEBED_SOON_MS 20000
#define LIVEBED_SAID 8192

struct livebed {
    char *dir, *db;
    struct app app;
    struct settings set;
    struct launcher launcher;
    char said[LIVEBED_SAID];  /* "start:a take_up:a(ref,what) end:a …" */
    char listed[ID_SIZE];     /* what lies there; "" = nothing */
    char *record;             /* of that; NULL = none */
    atomic_bool is_list_away; /* the next lists fail */
    atomic_bool is_list_slow; /* they take as long as this is so */
    int rests, begins;
};

void livebed_start(struct livebed *b);
void livebed_stop(struct livebed *b);
/* A new row, with what starts it beside; letter begins its id. */
void livebed_row(struct livebed *b, char letter, struct store_session *row);
/* Before it is written: what starts it; the caller's. */
struct launch *livebed_what(struct livebed *b, const struct store_session *row);
/* The row is as this wants it: soon, or the test fails. */
void livebed_until(struct livebed *b, const char *id,
                   bool (*is)(const struct store_session *row),
                   struct store_session *row);
void livebed_hears(struct livebed *b, const char *text);
int livebed_said(const struct livebed *b, const char *text);
/* By another hand: the row is deleted, as if the store had lost it. */
void livebed_lose(struct livebed *b, const char *id);

#endif
