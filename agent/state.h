/*
 * All that must outlive the agent's process, in one mapped file: output ring,
 * offsets both ways, the owner's acknowledgement, accepted token ids, the
 * session's spec, its viewers where they were changed, the shim's cookie, how
 * far the session has come, and the session key where an activation brought it.
 *
 * The file is written through the mapping alone. A value that another depends
 * on is stored after what it speaks of: bytes are in the ring before
 * output_end covers them, and output_oldest leaves them before they are
 * overwritten, so a kill at any instruction leaves a state that is true but
 * for the one write(2) to the terminal that was under way. A read(2) that was
 * under way is found again: before it, the place it goes to is covered with a
 * guard of bytes that no UTF-8 text holds, and who resumes the file sees how
 * much of the guard was overwritten.
 *
 * Layout: struct state_head | spec text (STATE_SPEC_MAX) | env (STATE_ENV_MAX)
 * | ring. The ring is mapped twice in a row, so any run of at most ring_bytes
 * is contiguous.
 * Single-threaded.
 */
#ifndef PODTERM_AGENT_STATE_H
#define PODTERM_AGENT_STATE_H

#include "base/err.h"
#include "base/digest.h"
#include "base/frame.h"
#include "base/seal.h"
#include "base/vocab.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATE_SPEC_MAX (192 * 1024)         /* bytes of spec text */
#define STATE_ENV_MAX (64 * 1024)           /* bytes of the env's JSON */
#define STATE_RING_MIN (64 * 1024)          /* bytes */
#define STATE_RING_MAX (64 * 1024 * 1024)   /* bytes */
#define STATE_GUARD_BYTES 32768             /* one read(2) takes no more */
#define STATE_GUARD_PERIOD 169              /* bytes after which it repeats */
#define STATE_JTIS 256                      /* token ids remembered at once */
#define STATE_JTIS_VIEWERS (STATE_JTIS / 2) /* of them, by all viewers */
#define STATE_STAGES 12
#define STATE_COOKIE_BYTES 32

enum state_phase {
    PHASE_NEW,      /* spec taken, bundle not ready */
    PHASE_UNPACKED, /* bundle ready, program not started */
    PHASE_STARTING, /* START sent to the shim */
    PHASE_RUNNING,  /* STARTED seen */
    PHASE_ENDED,    /* end reason known, output complete */
};

struct state_jti {
    char id[ID_SIZE];
    bool is_viewer;
    int64_t forget_s; /* wall clock; 0 = free */
};

struct state_stage {
    char stage[16];
    char state[12];
    char detail[200];
    int64_t ms; /* since the session was created */
    int64_t done, total;
};

struct state_head {
    char magic[8]; /* stored last: makes the file one to resume */
    uint32_t version;
    uint32_t head_bytes;
    uint64_t ring_bytes;
    uint32_t spec_len;
    uint32_t env_len;  /* 0 = none, or wiped */
    uint32_t phase;    /* enum state_phase */
    uint32_t restarts; /* starts of the agent with this file */
    uint8_t cookie[STATE_COOKIE_BYTES];
    uint32_t cookie_used; /* 1: the file in the ipc directory is gone */

    uint64_t output_end;     /* bytes read from the PTY */
    uint64_t output_oldest;  /* oldest byte still in the ring */
    uint64_t output_acked;   /* by the owner */
    uint64_t output_seen;    /* the most that any owner acknowledged */
    uint64_t guard_end;      /* the guard lies from output_end up to here */
    uint64_t input_received; /* bytes write(2) to the PTY took */

    uint32_t end_wanted; /* enum end_reason of an end we began, 0 = none */
    uint32_t reason;     /* enum end_reason, once ended */
    int32_t exit_kind;   /* -1 unknown, else enum shim_end */
    int32_t exit_value;
    int32_t leave_code; /* the shim's exit status, once ended */
    uint8_t layers;     /* enum cage_layer: what holds, once it started */
    uint8_t landlock;   /* ABI */
    char detail[256];
    int64_t created_ms; /* wall clock */
    int64_t started_ms; /* wall clock, 0 = not yet */
    int64_t started_mono_ms;
    int64_t ended_ms; /* wall clock */
    int64_t ended_mono_ms;
    int64_t owner_gone_mono_ms; /* when the last owner left; 0 = it is here */
    int64_t active_mono_ms;     /* last activity that counts against idle */
    uint16_t cols, rows;
    uint32_t stage_count;
    struct state_stage stages[STATE_STAGES];
    struct state_jti jtis[STATE_JTIS];
    uint32_t viewers_at;             /* which of the two is in force */
    struct frame_viewers viewers[2]; /* version 0 = the spec's own hold */

    uint32_t is_activated;            /* the spec came as an activation: */
    uint8_t activation[SHA256_BYTES]; /* its digest */
    uint8_t key[SESSION_KEY_BYTES];   /* the session key it brought */

    int64_t broker_requests, broker_bytes; /* spent at the key broker */
};

struct state {
    struct state_head *head; /* mapped */
    char *spec;              /* mapped, STATE_SPEC_MAX bytes */
    char *env;               /* mapped, STATE_ENV_MAX bytes */
    uint8_t *ring;           /* mapped twice, 2 * ring_bytes */
    size_t ring_bytes;
    size_t map_bytes; /* of all but the ring */
    bool is_resumed;  /* the file held a session before us */
    uint8_t guard[STATE_GUARD_PERIOD * 25]; /* private: its pattern */
};

/*
 * Open the state file, or make it (0600) with a ring of ring_bytes (a power
 * of two within STATE_RING_*). A file that is there and whole is resumed, its
 * own ring size kept; one that holds no spec yet is made anew; one that is
 * not ours, torn, or of another version is refused with ERR_SYSTEM.
 */
int state_open(struct state *s, const char *path, size_t ring_bytes,
               struct err *e);
/* Unmap; takes a half-open state. The file stays. */
void state_close(struct state *s);
/* Does the file hold a session, or what once was one? */
bool state_is_there(const char *path);

/*
 * Keep the spec's text and, apart from it, the program's environment (JSON,
 * may be empty): its values are secrets and are wiped once the program has
 * them. From now on the file can be resumed. ERR_INPUT past a maximum.
 */
int state_spec_set(struct state *s, const char *text, size_t len,
                   const char *env, size_t env_len, struct err *e);
void state_env_wipe(struct state *s);

/*
 * Where up to *room (in: bytes wanted, out: bytes there are) may be put,
 * contiguous, behind output_end. Nothing at or above keep_from is given up;
 * older bytes that lie in the way are given up at once. NULL and *room 0
 * when there is no room.
 */
uint8_t *state_ring_tail(struct state *s, uint64_t keep_from, size_t *room);
/* See that the guard lies over the first len bytes (at most STATE_GUARD_BYTES)
 * of the place state_ring_tail gave: what is left of it there still holds. */
void state_ring_guard(struct state *s, size_t len);
/* len bytes were put there. */
void state_ring_advance(struct state *s, size_t len);
/* The kept bytes at offset, contiguous; *len is cut to what there is.
 * offset must be within output_oldest..output_end. */
const uint8_t *state_ring_at(const struct state *s, uint64_t offset,
                             size_t *len);

/* Remember a token id until forget_s. 0; -1 ERR_TOKEN when it was seen
 * before; ERR_BUSY when STATE_JTIS unexpired ids are remembered, or, for a
 * viewer, STATE_JTIS_VIEWERS of viewers: who only reads never takes the
 * owner's place. */
int state_jti_add(struct state *s, const char *jti, enum role role,
                  int64_t forget_s, int64_t now_s, struct err *e);

/* The list of viewers in force; version 0 = none came after the spec's. */
const struct frame_viewers *state_viewers(const struct state *s);
/* Put a newer one in its place, whole or not at all. The same once more is
 * fine; ERR_INPUT for an older one, and for another of the same version. */
int state_viewers_set(struct state *s, const struct frame_viewers *v,
                      struct err *e);

/* Note a stage: one of the same name is replaced, else appended; past
 * STATE_STAGES the last is replaced. Returns it. */
struct state_stage *state_stage_set(struct state *s, const char *stage,
                                    const char *st, const char *detail,
                                    int64_t done, int64_t total,
                                    int64_t now_wall_ms);

#endif
