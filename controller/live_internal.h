/* Between live.c (the table, what is told) and live_record.c (what is
 * written). */
#ifndef PODTERM_CONTROLLER_LIVE_INTERNAL_H
#define PODTERM_CONTROLLER_LIVE_INTERNAL_H

#include "base/loop.h"
#include "controller/control.h"
#include "controller/live.h"

#define REVIVE_MS 3000    /* between two looks for records lost */
#define FACT_STAGES_MAX 8 /* stages gathered for one write */

struct facts { /* what a record has still to be told */
    bool has_any;
    struct store_stage stages[FACT_STAGES_MAX];
    int stage_count;
    char ref[128];    /* what it was claimed; "" = nothing */
    bool is_launched; /* what it was started with is not needed any more */
    bool is_listening;
    char addr[64], uid[64], isolation[12];
    bool is_running;
    int64_t started_ms;
    uint8_t layers; /* as a record's cage; 0 = not told */
    bool is_ended;
    struct launch_end end;
    uint32_t told; /* changes of viewers the agent has heard of; 0 = none */
};

struct session { /* one live session */
    struct live *l;
    struct session *next;
    char sid[ID_SIZE];
    int64_t created_ms, last_ms; /* wall clock; last = the backstop */
    bool is_running, is_gone;    /* gone: the launcher told its end */
    bool is_deleted;             /* DELETE was asked */
    struct facts facts;          /* gathered */
    struct facts writing;        /* with the worker */
    struct facts known;          /* written, but for stages */
    char *record; /* to make a row of that the store has lost; NULL = none */
    bool is_writing, is_refused; /* refused: the record had ended already */
    char given[128];   /* the runner that is given out to it alone; "" = none */
    bool is_forgotten; /* the write under way frees it */
    struct err failure;
    struct loop_timer *deadline, *retry;
    struct control *ender, *teller; /* END, VIEWERS under way */
    struct control *asker;          /* for its cage */
    struct loop_timer *tell_wait;   /* for the gap to be over */
    int64_t told_at_ms;             /* when the last telling began */
    bool is_untold; /* after the write: viewers the agent has not heard of */
    bool is_tell_due;
    uint32_t untold_seen; /* changes of viewers that another made */
};

struct live {
    struct app *app;
    struct session *all;
    int count;
    void (*stopped)(void *arg);
    void *stopped_arg;
    /* records looked for in the store */
    struct loop_timer *revive_timer;
    struct revive *revive; /* NULL = none under way */
    /* warm runners missing, as we know and as the store is told */
    int64_t demand, demand_said;
    bool is_demanding, is_demand_due;
};

struct session *session_find(struct live *l, const char *sid);
/* Out of the table; freed once no write is under way. */
void session_forget(struct session *s);
void session_free(struct session *s);
/* What row says already, should the store lose it. */
void session_know(struct session *s, const struct store_session *row);
/* Write what was gathered, unless a write is under way. */
void session_write(struct session *s);
/* The same in the loop's next turn, with what is told until then. */
void session_write_soon(struct session *s);
/* A loop_timer's callback: the same. */
void session_retry(void *arg);
/* A loop_timer's callback, arg a struct live: every record is looked for. */
void session_revive(void *arg);
/* Tell its agent of viewers. */
void session_tell(struct session *s);

#endif
