/*
 * The store of sessions, spent token ids and quota counts: one interface,
 * SQLite behind it on one machine, Redis in a cluster. Every call is one
 * atomic operation, blocks, and may be made from any thread: use it from the
 * worker pool only.
 * Only the controller writes rows; the gateway reads rows and spends ids.
 */
#ifndef PODTERM_BASE_STORE_H
#define PODTERM_BASE_STORE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/seal.h"
#include "base/token.h"
#include "base/vocab.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_STAGES_MAX 32
#define STORE_VIEWERS_MAX 8
#define STORE_URL_MAX 2048
#define STORE_IDEMPOTENCY_S 86400 /* an idempotency record's life */
#define STORE_LAUNCH_MAX 262144   /* bytes of a launch blob */

struct store_stage {
    char stage[24]; /* "scheduled", "pulled", ... */
    char state[12]; /* "done", "running", "waiting", "failed" */
    char detail[160];
    int64_t ms; /* since the session was created */
};

struct store_session {
    char id[ID_SIZE];
    char owner_iss[TOKEN_STR_MAX];
    char owner_sub[TOKEN_STR_MAX];
    enum session_state state;
    enum end_reason reason;
    bool has_exit;    /* exit_code or signal known */
    int exit_code;    /* 0..255; 128+n for a signal */
    int exit_signal;  /* 0 = none */
    char detail[256]; /* a sentence on the end, for the user */
    int64_t created_ms, started_ms, ended_ms; /* wall clock, 0 = not yet */
    int64_t output_bytes, input_bytes;
    char bundle_url[STORE_URL_MAX]; /* query dropped */
    char bundle_sha256[65];
    char viewers[STORE_VIEWERS_MAX][TOKEN_STR_MAX]; /* subjects; "" ends */
    bool viewer_history;
    int64_t lifetime_s, idle_s;
    bool end_wanted;      /* DELETE was asked */
    uint8_t egress;       /* enum egress_mode: what holds */
    char isolation[12];   /* "full", "none", "" while unknown */
    uint8_t cage;         /* enum cage_layer; LAYER_KNOWN once it is */
    char agent_addr[64];  /* "127.0.0.1:4711"; "" = not yet */
    char agent_uid[64];   /* pod UID, or keeper identity locally */
    char launch_ref[128]; /* the launcher's own handle */
    char psk_id[ID_SIZE];
    uint8_t psk_sealed[SEALED_KEY_BYTES]; /* wiped when ended */
    struct store_stage stages[STORE_STAGES_MAX];
    int stage_count;
    /* changes of the list of viewers since the agent was told one; lies in
   * what was padding, and zero, before it was there */
    uint32_t viewers_untold;
    /* grows with every change, over all rows; a store that begins empty
   * begins at the wall clock's microseconds, so that it grows on over a
   * store that was lost */
    int64_t rev;
};

struct store;

/* Open (and make) the SQLite store at path: WAL, secure_delete; a schema of
 * the version before is brought up, others are refused with a sentence.
 * ERR_SYSTEM if it cannot be written. */
struct store *store_sqlite_open(const char *path, struct err *e);

struct store_conf {
    const char *where; /* a path, redis://HOST:PORT[/DB] or rediss://… */
    /* of a Redis; borrowed until store_free. NULL = none */
    const char *user, *password_file, *ca;
    int connect_ms, command_ms; /* 0 = base/redis.h's */
};
/* Open the store that the text names. A Redis need not be there yet: calls
 * fail with ERR_SYSTEM while it is not, and succeed when it is. ERR_INPUT:
 * an address of no Redis; else as store_sqlite_open. */
struct store *store_open(const struct store_conf *conf, struct err *e);
void store_free(struct store *s);

enum store_create {
    STORE_CREATED,
    STORE_REPLAYED, /* same idempotency key and body: row is filled */
};

/*
 * Write a new session if the owner has fewer than quota sessions that have
 * not ended. key/body_hash: idempotency (key "" = none), per owner.
 * launch: sealed bytes from which the session can be started, kept beside
 * the row until they are dropped or it ends; NULL, 0 = none.
 *
 * returns an enum store_create with *row as stored; -1: ERR_BUSY quota,
 *         ERR_CONFLICT same key with another body, ERR_TOO_LARGE launch
 */
int store_create_checked(struct store *s, struct store_session *row, int quota,
                         const char *key, const uint8_t body_hash[32],
                         const void *launch, size_t launch_len, int64_t now_s,
                         struct err *e);

/* Append the session's launch blob to out (as much room as it may need:
 * STORE_LAUNCH_MAX). -1: ERR_ABSENT there is none (any more). */
int store_launch_get(struct store *s, const char *id, struct buf *out,
                     struct err *e);
/* Forget it, from the log beside the file too; 0 also where there is none. */
int store_launch_drop(struct store *s, const char *id, struct err *e);

/* Write a row that the store has lost, as it is given, whatever the quota;
 * only its rev is new. ERR_CONFLICT when there is one of that id: then
 * nothing changes. */
int store_restore(struct store *s, struct store_session *row, struct err *e);

/* ERR_ABSENT when there is none. */
int store_get(struct store *s, const char *id, struct store_session *out,
              struct err *e);

/*
 * Read the row, let change() alter it, write it if change returned 0: one
 * transaction. change() may be called again after a collision; it must not
 * block. An ended row's state, reason, exit and times never change again
 * (the first written stands): such a write is dropped silently for those
 * fields. Ending wipes psk_sealed and the launch blob, from the log beside
 * the file too.
 * -1: ERR_ABSENT, or change()'s own *e.
 */
int store_update_if(struct store *s, const char *id,
                    int (*change)(void *arg, struct store_session *row,
                                  struct err *e),
                    void *arg, struct store_session *out, struct err *e);

/* Newest first. cursor "" = from the newest; limit 1..100; *next_cursor ""
 * when done. owner NULL = all (the controller's own use). only_live leaves
 * ended ones out. Returns the count, *out owned by the caller. */
int store_list(struct store *s, const char *owner_iss, const char *owner_sub,
               bool only_live, const char *cursor, int limit,
               struct store_session **out, char next_cursor[64], struct err *e);

/* Remove ended rows older than before_ms. Returns how many. */
int store_prune(struct store *s, int64_t before_ms, struct err *e);

/* Spend a token id until expires_s. 0, or -1: ERR_TOKEN it was spent. */
int store_spend(struct store *s, const char *jti, int64_t expires_s,
                int64_t now_s, struct err *e);

/* Give out what has this name, once until expires_s: 0, or -1: ERR_TOKEN it
 * was. Like a spent id, but no gateway's to write. */
int store_give_out(struct store *s, const char *name, int64_t expires_s,
                   int64_t now_s, struct err *e);

#define STORE_SPENT_S_MAX 600 /* no token's id is kept for longer */
/* Whoever may spend ids may write anything in their place, and so fill a Redis
 * that drops nothing: remove what store_spend would not have written. Returns
 * how many went. SQLite, where nobody else writes: 0. */
int store_sweep(struct store *s, struct err *e);

struct store_rev {
    char id[ID_SIZE];
    int64_t rev;
};
/* Sessions changed after rev, oldest change first, at most cap. */
int store_changed_since(struct store *s, int64_t rev, struct store_rev *out,
                        int cap, struct err *e);

/* Does it answer? For readyz. */
int store_ping(struct store *s, struct err *e);
/* Would it lose what it holds? Then the sentence that says how to mend it is
 * in out; false also when it cannot be asked. */
bool store_warning(struct store *s, char out[160]);

#define STORE_DEMAND_MAX 1000
#define STORE_DEMAND_S 6
/* For KEDA: the list `podterm:demand` of a Redis is made to have exactly
 * deficit entries (0..STORE_DEMAND_MAX; cut to that). It is gone after
 * STORE_DEMAND_S unless told again: nobody may go on making what a controller
 * that is away asked for. SQLite: nothing. */
int store_demand(struct store *s, int64_t deficit, struct err *e);

/* Add a stage to a row in memory; the oldest "running" one of that name is
 * replaced; past STORE_STAGES_MAX the last is overwritten. */
void store_stage_add(struct store_session *row, const char *stage,
                     const char *state, const char *detail, int64_t now_ms);

#endif
