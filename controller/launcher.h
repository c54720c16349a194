/*
 * What makes a session's runner: processes of this machine, or Jobs of a
 * cluster. Every call but probe and list is made on the loop and returns at
 * once; what happens is told to the sink, also on the loop.
 */
#ifndef PODTERM_CONTROLLER_LAUNCHER_H
#define PODTERM_CONTROLLER_LAUNCHER_H

#include "base/err.h"
#include "base/seal.h"
#include "base/vocab.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct launch { /* a session to be started */
    char sid[ID_SIZE];
    uint8_t key[SESSION_KEY_BYTES];
    char *spec;  /* JSON (PROTOCOL.md 6); holds the environment: a secret */
    char *trust; /* kids its agent trusts, one a line */
    char *cache_owner;  /* whose its archive is in the cache: base/cache.h */
    char *image;        /* of the runner; NULL = none is used */
    char *record;       /* the row without secrets, kept beside the session */
    int64_t deadline_s; /* the platform may end it then, whatever we do */
    char bundle_sha256[65];
    uint64_t charge; /* whom what it leaves counts for: spec_charge */
};
void launch_free(struct launch *what); /* wipes; takes NULL */

struct launch_end { /* how a session ended */
    enum end_reason reason;
    bool has_exit;
    int exit_code;   /* 0..255; 128 + signal */
    int exit_signal; /* 0 = none */
    char detail[256];
    int64_t started_ms, ended_ms; /* wall clock; 0 = unknown */
    int64_t output_bytes, input_bytes;
    uint8_t layers; /* as a record's cage; 0 = not told */
};

struct launch_sink {
    void (*stage)(void *arg, const char *sid, const char *stage,
                  const char *state, const char *detail);
    /* It is to run in what has this name: claim_kept when that is in the
     * record, so that whoever comes after us looks there; claim_refused when
     * another session has it. Any that has not the session's id in its name
     * could be another's. */
    void (*claimed)(void *arg, const char *sid, const char *ref);
    /* What it was started with will not be asked for again. */
    void (*launched)(void *arg, const char *sid);
    /* The agent listens. uid: its pod's, or the keeper's identity. */
    void (*listening)(void *arg, const char *sid, const char *addr,
                      const char *uid, const char *isolation);
    /* layers: enum cage_layer and LAYER_KNOWN, or 0: the agent must be asked */
    void (*running)(void *arg, const char *sid, int64_t started_ms,
                    uint8_t layers);
    /* Nothing of the session is left. Told once for each start, take_up. */
    void (*ended)(void *arg, const char *sid, const struct launch_end *end);
    /* So many warm runners are missing. */
    void (*demand)(void *arg, int64_t deficit);
    void *arg;
    /* launch_leads. NULL = there is no other controller. */
    bool (*leads)(void *arg);
    void *leads_arg;
};

/* May we act for sessions, by the clock as it is now? Asked right before what
 * is done, by whoever does it: a process that stood still acts on what was so
 * before another led, until it is told. Any thread. */
static inline bool launch_leads(const struct launch_sink *s)
{
    return !s->leads || s->leads(s->leads_arg);
}

/* The same as 0, or -1: ERR_BUSY. */
static inline int launch_check_leads(const struct launch_sink *s, struct err *e)
{
    return launch_leads(s) ? 0
                           : err_set(e, ERR_BUSY, "another controller leads");
}

struct launcher {
    const char *isolation; /* "full" or "none": what holds, after probe */
    struct launch_sink sink;
    /* Before the loop runs; may block. -1: nothing can be launched here. */
    int (*probe)(struct launcher *l, struct err *e);
    /* Takes what over. */
    void (*start)(struct launcher *l, struct launch *what);
    /* Go on with a session of an earlier process, or start what it has not
     * (taken over; NULL = it has started all there was), or tell its end.
     * ref: as claimed, or "". trusted: kids still published, one a line; a
     * session that trusts another is ended. */
    void (*take_up)(struct launcher *l, const char *sid, const char *ref,
                    const char *trusted, struct launch *what);
    void (*claim_kept)(struct launcher *l, const char *sid);
    void (*claim_refused)(struct launcher *l, const char *sid);
    /* All that is to be taken up has been. NULL = it need not know. */
    void (*begin)(struct launcher *l, const char *trusted);
    /* Stop it now; ended follows, with this reason unless the session had
     * ended by itself before. */
    void (*end)(struct launcher *l, const char *sid, enum end_reason why,
                const char *detail);
    /* Stop what no record speaks of, and remove it. Nothing is told. */
    void (*discard)(struct launcher *l, const char *sid);
    /* Sessions that have left something; before all are taken up, from any
     * thread, may block. Returns the count with *sids the caller's, or -1. */
    int (*list)(struct launcher *l, char (**sids)[ID_SIZE], struct err *e);
    /* The record kept beside one that was listed or started, or NULL; the
     * caller's. NULL = it keeps none. */
    char *(*record)(struct launcher *l, const char *sid);
    /* Forget every session without a word and without touching it: another
     * controller goes on with them. NULL = never happens. */
    void (*rest)(struct launcher *l);
    /* Sessions under way; 0 = free may be called. */
    int (*count)(const struct launcher *l);
    /* Ended sessions with this charge that have left something which is still
     * being removed. Any thread. */
    int (*clearing)(struct launcher *l, uint64_t charge);
    void (*free)(struct launcher *l);
};

#endif
