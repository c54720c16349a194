/*
 * The real podterm-agent with the real shim beside it (isolation none), in a
 * directory of its own, and clients that dial it as a gateway does: TLS with
 * the session key, WebSocket, podterm.v1. Every function fails the test when
 * something does not happen in time, unless it says otherwise.
 */
#ifndef PODTERM_TESTS_LIB_AGENTBOX_H
#define PODTERM_TESTS_LIB_AGENTBOX_H

#include "base/frame.h"
#include "base/json.h"
#include "base/seal.h"
#include "base/token.h"
#include "base/vocab.h"
#include "tests/lib/wspeer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define AGENTBOX_MS 10000
/* A sanitizer's own memory and time say nothing about the agent's. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define AGENTBOX_MEASURES false
#else
#define AGENTBOX_MEASURES true
#endif
#define AGENTBOX_TEXT_MAX (256 * 1024) /* of output kept as text */

/* --listen of the agents that are started; "127.0.0.1:0" at first. */
extern const char *agentbox_listen;

struct agentbox {
    char *dir;
    char sid[ID_SIZE], psk_id[ID_SIZE];
    char sha256[65];
    uint8_t key[SESSION_KEY_BYTES];
    struct token_signer *signer;
    struct ssl_ctx_st *ctx;
    char addr[128];
    pid_t agent, shim; /* 0 = not running; agent is the supervisor */
    /* of a warm one: what it waits for */
    uint8_t pool_key[SESSION_KEY_BYTES];
    char pool_id[ID_SIZE];
    char *spec; /* the session's, as text */
};
#define AGENTBOX_POD "3f1c6f0e-5a3b-4c8e-9a51-0d7b6a5e4c21"
#define AGENTBOX_ISSUER "https://podterm.test"
#define AGENTBOX_INSTALLATION "podterm-test"

/*
 * Start agent and shim on a bundle whose bin/prog is this shell script. over:
 * JSON members laid over the spec ("{\"idle_s\":2,\"fetch\":{…}}"), or NULL.
 * Returns when the agent listens.
 */
struct agentbox *agentbox_new(const char *script, const char *over);
/* The same without a shim. */
struct agentbox *agentbox_new_alone(const char *script, const char *over);
/* A warm agent without a shim; the session it may become is in spec and key,
 * and is that of sid and psk_id. */
struct agentbox *agentbox_new_warm(const char *script, const char *over,
                                   int max_age_s);
void agentbox_start_shim(struct agentbox *b);
/* Ends what still runs and removes the directory. */
void agentbox_free(struct agentbox *b);

/* The agent's main process; waits for one other than `not_this`. */
pid_t agentbox_main(struct agentbox *b, pid_t not_this);
/* Wait until the supervisor has ended; its wait status. */
int agentbox_wait(struct agentbox *b, int ms);
/* The same of the shim. */
int agentbox_wait_shim(struct agentbox *b, int ms);
/* end.json, the caller's; NULL when it is not there or empty. */
struct json *agentbox_report(struct agentbox *b);
/* Wait for the agent's end; its report has this reason. The caller's. */
struct json *agentbox_ends(struct agentbox *b, const char *reason, int ms);
/* Does status.json say so within ms? */
bool agentbox_status(struct agentbox *b, const char *state, int ms);
/* Private_Clean + Private_Dirty of a process, KiB. */
long agentbox_private_kib(pid_t pid);
/* User and system time of a process, milliseconds. */
long agentbox_cpu_ms(pid_t pid);

/* A fresh token, freed by the caller. sub NULL: the owner ("alice"); change
 * (may be NULL) alters the claims before they are signed. */
char *agentbox_token(struct agentbox *b, enum role role, const char *sub,
                     void (*change)(struct session_claims *c));

/* --- attachments --- */

struct agentlink {
    struct agentbox *box;
    struct wspeer *peer;
    bool auto_ack;   /* true at first */
    bool may_jump;   /* OUTPUT's offset need not be the next */
    uint64_t output; /* next byte expected */
    uint64_t jumped; /* bytes that were skipped */
    uint64_t typed;  /* next INPUT offset */
    uint64_t input_acked;
    uint64_t window, input_window;
    uint64_t output_from, output_seen; /* as READY said */
    uint64_t pong;
    uint16_t cols, rows; /* of RESIZED */
    int stages;          /* STAGE messages */
    char stage[32];      /* the last */
    char notice[160];    /* detail of the last stage "notice" */
    int exits;           /* EXIT messages */
    char reason[32], detail[256];
    int exit_code, exit_signal; /* -1 = not told */
    uint64_t output_end;
    char error[32]; /* code word of ERROR */
    int close_code; /* -1: no close frame came */
    bool is_over;
    char *text; /* last output, terminated; NULs become '.' */
    size_t text_len;
    /* Called with every OUTPUT, instead of keeping text, when set. */
    void (*take)(void *arg, uint64_t offset, const uint8_t *p, size_t len);
    void *take_arg;
};

/* TLS, upgrade; nothing is said. */
struct agentlink *agentlink_dial(struct agentbox *b);
/* The same; NULL when it is refused on the way. */
struct agentlink *agentlink_try(struct agentbox *b, const uint8_t *key,
                                const char *psk_id);
/* Send HELLO. from < 0: not said; cols 0: not said. */
void agentlink_hello(struct agentlink *l, const char *token, int64_t from,
                     int cols, int rows);
/* dial, HELLO with a fresh token, READY. */
struct agentlink *agentlink_new(struct agentbox *b, enum role role,
                                int64_t from);
struct agentlink *agentlink_new_as(struct agentbox *b, enum role role,
                                   const char *sub, int64_t from);
void agentlink_free(struct agentlink *l); /* closes; takes NULL */

/* The next message is taken in: its type; 0 = none within ms, -1 = over. */
int agentlink_next(struct agentlink *l, int ms);
/* Take messages in until one of this type, or fail. */
void agentlink_until(struct agentlink *l, uint8_t type, int ms);
/* Until the output has this text, or fail. */
void agentlink_expect(struct agentlink *l, const char *text, int ms);
/* Take in whatever comes within ms. */
void agentlink_run(struct agentlink *l, int ms);
/* Until it is over: ERROR with this word (NULL = none), close code. */
void agentlink_refused(struct agentlink *l, const char *word, int code);

void agentlink_type(struct agentlink *l, const void *bytes, size_t len);
void agentlink_type_at(struct agentlink *l, uint64_t offset, const void *bytes,
                       size_t len);
void agentlink_says(struct agentlink *l, const char *text);
void agentlink_ack(struct agentlink *l, uint64_t offset);
void agentlink_resize(struct agentlink *l, uint16_t cols, uint16_t rows);
void agentlink_signal(struct agentlink *l, uint8_t signal);
void agentlink_ping(struct agentlink *l, uint64_t value);
void agentlink_end(struct agentlink *l);
/* Bytes as they are: one binary message. */
void agentlink_raw(struct agentlink *l, const void *bytes, size_t len);

#endif
