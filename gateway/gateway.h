/*
 * The gateway's one process-wide object, and a client's connection. Only the
 * loop's thread touches either; jobs work on copies (gateway/jobs.h).
 */
#ifndef PODTERM_GATEWAY_GATEWAY_H
#define PODTERM_GATEWAY_GATEWAY_H

#include "base/addr.h"
#include "base/seal.h"
#include "base/store.h"
#include "base/tls_files.h"
#include "gateway/counters.h"
#include "gateway/jobs.h"
#include "gateway/keyset.h"
#include "gateway/leg.h"
#include "gateway/limits.h"
#include "gateway/say.h"
#include "gateway/session.h"
#include "gateway/settings.h"
#include "gateway/track.h"
#include "gateway/upgrade.h"
#include "gateway/wheel.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GATEWAY_TURN_FAIR 16384  /* bytes of a turn in company */
#define GATEWAY_TURN_ALONE 65536 /* bytes of a turn alone */
#define GATEWAY_BULK_BYTES 8192  /* a turn that moved so many is no typing */
#define GATEWAY_BULK_TURNS 2     /* of such, then keys are looked for again */
#define GATEWAY_STAGES_MAX STORE_STAGES_MAX
#define GATEWAY_QUEUE_MAX 2048 /* bytes of ours that wait for a message end */

struct pair;

/* What a connection needs until it is open, and no longer. */
struct greeting {
    struct limits_node unproven;
    struct pair *pair; /* whose it is */

    /* where the client comes from */
    uint8_t addr_key[LIMITS_KEY_BYTES]; /* its address, to count */
    struct sockaddr_storage peer;       /* of its socket */
    bool is_metrics;                    /* came by --metrics-listen */
    bool is_loopback;                   /* the peer is this machine */

    /* what it said */
    struct buf in;             /* bytes not yet understood */
    size_t seen;               /* of in, by http_head_end */
    char key[UPGRADE_KEY_LEN]; /* Sec-WebSocket-Key, its own then ours */
    bool is_fragmented;        /* HELLO has begun and goes on */
    struct buf hello;          /* unmasked: holds the token */
    int64_t token_exp_s;

    /* the session, by its row */
    int64_t created_ms;                      /* wall clock */
    uint32_t stage_hash[GATEWAY_STAGES_MAX]; /* told already */
    char agent_addr[64];
    char psk_id[ID_SIZE];
    uint8_t psk_sealed[SEALED_KEY_BYTES];

    /* the agent */
    struct buf answer; /* its 101, as far as it came */
    int64_t began_ms;  /* of the check, then of the dial */
};

struct pair {
    struct leg client, agent;
    struct track up, down; /* while OPEN */
    struct gateway *gw;

    enum role role;
    enum session_phase phase;
    enum close_why why;        /* first cause of its end */
    int jobs;                  /* that point here */
    struct greeting *greeting; /* owned; NULL once OPEN */
    struct buf queue;          /* ours for the client, until a message ends */

    struct wheel_timer timer;
    int64_t deadline_ms; /* of the phase, 0 = none */
    int64_t opened_ms;

    bool is_ready;      /* in a ready list */
    bool is_told;       /* last words are said */
    bool is_bulk;       /* its last turn moved GATEWAY_BULK_BYTES */
    bool is_polled;     /* in waiting's list */
    bool row_due;       /* its row must be read at the next poll */
    bool is_token_wait; /* WAITING: the deadline is the token's */

    struct limits_entry *addr, *user; /* counted as attachment */

    struct pair *next, *prev;           /* all */
    struct pair *wait_next, *wait_prev; /* waiting's list */
    struct pair *ready_next, *doomed_next;

    uint64_t bytes_up, bytes_down;
    char sid[ID_SIZE];
    char ip[INET6_ADDRSTRLEN];
};

/* Pairs with something to do, first come first served. */
struct ready {
    struct pair *first, *last;
    int count;
};

struct waiting { /* gateway/waiting.h */
    struct pair *first;
    int count;
    int64_t cursor;  /* rev up to which changes are known, -1 = none yet */
    int64_t next_ms; /* of the next poll */
    bool is_polling, again;
};

struct gateway {
    struct settings set;
    int epoll_fd, listen_fd, metrics_fd, signal_fd;
    struct source listen_source, metrics_source, jobs_source, signal_source;
    int64_t now_ms; /* monotonic, at the batch's beginning */

    struct pair *pairs, *doomed;
    int pair_count, attached;
    struct ready keys, bulk; /* who moves little goes before who floods */
    struct wheel wheel;
    struct limits limits;
    struct waiting waiting;

    struct jobs *jobs;
    struct store *store;
    struct keyset *keyset;
    struct ssl_ctx_st *psk_ctx, *server_ctx;
    struct tls_files tls_files; /* of server_ctx */
    uint8_t seal_key[SEAL_KEY_BYTES];

    bool is_store_well;
    bool are_keys_told; /* that there are some */
    bool is_chore_running;
    bool is_chore_asked; /* once more, at once */
    bool is_draining, is_over;
    int64_t chores_ms, keys_ms;        /* next due */
    int64_t drain_ms, listen_again_ms; /* due, 0 = none */

    uint8_t shared[GATEWAY_TURN_ALONE]; /* every read goes through here */
};

/* --- pairs --- */

/* A connection accepted on fd. */
struct pair *pair_new(struct gateway *gw, int fd,
                      const struct sockaddr_storage *peer, bool is_metrics);
/* The pair whose node it is. */
struct pair *pair_of_node(struct limits_node *n);
/* Its client's address, for counting and logs. */
void pair_address(struct pair *p, const struct sockaddr_storage *client);
/* Put it into its ready list. */
void pair_ready(struct pair *p);
/* Take the first out of the list; NULL when it is empty. */
struct pair *pair_next_ready(struct ready *r);
/* One turn. Returns true when there is more to do at once. */
bool pair_turn(struct pair *p);
/* Arm the timer: the phase's deadline, and pings once upgraded. */
void pair_arm(struct pair *p);
void pair_timer(struct pair *p);

/* An event without words of ours. */
void pair_on(struct pair *p, enum session_event event, enum close_why why);
/* An event that may end in REFUSE. */
void pair_refuse(struct pair *p, enum session_event event,
                 const struct refusal *r);
/* The same with a kind and a sentence. */
void pair_deny(struct pair *p, enum err_kind kind, const char *message);
/* The row says it has ended. */
void pair_ended(struct pair *p, const struct store_session *row);
/* Shut down after what was said, and wait for the client's end. */
void pair_finish(struct pair *p, enum close_why why);
/* Drop it now; it is freed after the batch, when no job points to it. */
void pair_doom(struct pair *p, enum close_why why);
/* Free what the batch left doomed. */
void pairs_bury(struct gateway *gw);
void greeting_free(struct greeting *g);

#endif
