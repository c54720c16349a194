/* Between attach.c (the session's course), attach_way.c (its connections),
 * attach_stream.c (its bytes) and attach_keys.c (what is typed). */
#ifndef PODTERM_CLIENT_ATTACH_INTERNAL_H
#define PODTERM_CLIENT_ATTACH_INTERNAL_H

#include "base/worker.h"
#include "client/attach.h"
#include "client/escape.h"
#include "client/leg.h"
#include "client/link.h"
#include "client/retry.h"
#include "client/sink.h"
#include "client/source.h"
#include "client/ticket.h"

#define ATTACH_SIGNALS 6

struct attach {
    const struct attach_conf *conf;
    struct loop *loop;
    struct ws_context *ws;
    struct worker *worker;
    struct loop_signal *signals[ATTACH_SIGNALS];
    struct link link;
    struct leg *legs; /* all, also those that are closing */
    struct leg *leg, *next;
    struct ticket *ticket; /* being fetched */
    char *token;           /* for the HELLO of `next` */
    bool is_token_used;    /* the one of conf */
    atomic_bool is_cancelled;
    struct sink *sink;
    struct source *source;
    /* course */
    bool is_tty;     /* both ends are terminals */
    bool is_started; /* the program runs */
    bool is_begun;   /* the terminal is the program's */
    bool was_alive;  /* the gateway has said something good once */
    bool is_moving;  /* MOVE came: `next` takes over a healthy leg */
    bool has_rival;  /* a HELLO of ours went out while `leg` carried: if that
                        is replaced now it was by us, READY or not */
    bool is_leaving;
    bool has_end;
    struct reply_end end;
    uint64_t missing;          /* bytes of output that are known to be gone */
    uint64_t skipped;          /* the same, in the midst of it */
    char last[REPLY_TEXT_MAX]; /* why the last try failed */
    struct retry retry;
    int64_t lost_ms; /* no connection since; 0 = there is one */
    bool is_lost_told;
    bool is_screen; /* stdout alone is a terminal, its modes as they were */
    struct loop_timer *pause, *notice, *aside, *limit;
    struct loop_timer *probe;   /* looks whether what was typed is answered */
    struct loop_timer *front;   /* looks whether the terminal is ours again */
    struct loop_timer *repaint; /* until the size is told as it is */
    struct loop_timer *parted;  /* detaching waits no longer */
    struct loop_timer *verdict; /* the record is asked no longer */
    /* what is owed to the server */
    unsigned signals_due;  /* bit per enum frame_signal */
    unsigned signals_sent; /* and no PONG came behind them */
    uint64_t ping, ping_sent;
    bool is_size_due, is_resized; /* the latter: since the last HELLO */
    bool is_repaint_due;          /* once there is a connection */
    bool is_narrow; /* a column less is told, for the program to draw anew */
    uint16_t cols, rows; /* told last */
    /* input */
    bool is_eof, is_eof_sent;
    uint8_t last_byte;
    int interrupts; /* SIGINT, SIGTERM passed on */
    struct escape escape;
    bool is_detaching; /* what was typed before is on its way */
    bool is_end_told;  /* the user has confirmed it, and END went out */
    bool is_away;      /* suspended: the shell has the terminal */
    int64_t heard_ms;  /* when something came last */
    bool is_slow_told;
    uint8_t keys[SOURCE_TURN_BYTES + 1];
    /* result */
    int status;
    bool is_recorded; /* the end is the record's: nobody knows better */
    bool is_asking;   /* the record, for it */
    bool wants_end;
    bool is_detached;
    char parting[REPLY_TEXT_MAX]; /* a sentence at the end */
    uint8_t out[WS_PRE + FRAME_UP_MAX];
};

/* --- attach.c --- */

/* Leave with this status; sentence NULL = say nothing. */
void attach_leave(struct attach *a, int status, const char *sentence);
/* The same, telling how to come back. */
void attach_part(struct attach *a, int status, const char *why);
/* The user goes, the program stays: once what was typed has arrived. */
void attach_detach(struct attach *a);
/* May it be gone now? */
void attach_detach_check(struct attach *a);
/* The program has begun: its terminal is the user's now. */
void attach_begin(struct attach *a);
/* Something stands beside the program: take it away in a while. */
void attach_aside(struct attach *a);
/* Take it away now. */
void attach_aside_over(void *arg);
/* The program has the terminal again, if this process has. */
void attach_continued(void *arg);
/* Is all over? */
void attach_check(struct attach *a);
/* It cannot go on: say why. */
void attach_final(struct attach *a, const char *why, const char *detail);
/* A message of `leg` or `next` (leg_verbs). */
void attach_frame(void *arg, struct leg *l, const struct frame *f);
/* Arm a timer of a's. */
void attach_after(struct attach *a, struct loop_timer **t, int64_t ms,
                  void (*cb)(void *arg));
void attach_timer_off(struct loop_timer **t);

/* --- attach_way.c --- */

/* Get a ticket, then dial (a struct attach *; also a timer's callback). */
void attach_fetch(void *arg);
/* The agent was left alone, and does not know why: leave with what the record
 * says of the end, if it comes to say so soon. */
void attach_ask_end(struct attach *a);
void attach_drop_token(struct attach *a);

/* --- attach_stream.c --- */

int attach_streams(struct attach *a);
void attach_streams_free(struct attach *a);
/* Take input as far as there is room, and send what is due. */
void attach_flow(struct attach *a);
void attach_want(struct attach *a);
void attach_drained(void *arg, struct leg *l);
void attach_output(struct attach *a, struct leg *l, const struct frame *f);
void attach_pong(struct attach *a, const struct frame *f);
void attach_signal(struct attach *a, unsigned frame_signal);
void attach_resized(struct attach *a);
/* The screen is not what the program left: have it drawn anew. */
void attach_repaint(struct attach *a);
/* Nothing is read from stdin or written to stdout: the shell has both. */
void attach_away(struct attach *a, bool is_away);
/* Something came from the server. */
void attach_heard(struct attach *a);
/* Read stdin from now on, if that may be done now. */
void attach_source(struct attach *a);

/* --- attach_keys.c --- */

/* Bytes typed at a terminal. */
void attach_keys(struct attach *a, const uint8_t *bytes, size_t len);
/* Tell the server that the session is to end. false: it cannot be told now. */
bool attach_tell_end(struct attach *a);

#endif
