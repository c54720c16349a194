/*
 * The whole of podterm on loopback for end-to-end tests: `podterm dev` with
 * its real controller, gateway, keepers, agents, shims and programs, in a
 * directory of its own. Every function fails the test when something does
 * not do in time what it is asked for, unless it says otherwise.
 */
#ifndef PODTERM_TESTS_LIB_STACK_H
#define PODTERM_TESTS_LIB_STACK_H

#include "base/json.h"
#include "base/vocab.h"
#include "tests/lib/rest.h"
#include "tests/lib/wspeer.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define STACK_READY_MS 15000
#define STACK_STOP_MS 15000

struct stack {
    pid_t pid;       /* podterm dev */
    int port;        /* controller */
    int attach_port; /* gateway */
    char *dir;       /* scratch: state/, bundles/, dev.log */
    char *log_path;
    off_t log_from;    /* of the log: what the dev that runs has said */
    char *const *more; /* borrowed */
    /* Whose identity tokens are taken: NULL = dev's own. The caller's. */
    char *(*identity)(const struct stack *s, const char *who);
};

/* A running stack. more: further flags for dev, NULL-terminated, which stay
 * the caller's and outlive the stack; or NULL. */
struct stack *stack_new(const char *const *more);
/* SIGTERM to dev; then nothing of it may be left: no process, socket,
 * session directory. Removes the directory (keeps it when the test failed:
 * its path is told). */
void stack_free(struct stack *s);
/* kill -9 to dev alone. */
void stack_kill(struct stack *s);
/* dev again on the same directory and ports, once it has gone. */
void stack_start(struct stack *s);
/* Wait until its controller answers, started anew perhaps; fails after ms. */
void stack_wait_api(const struct stack *s, int ms);
/* The processes whose command line names this stack's directory and whose
 * program is `name` ("podterm-agent"), with `flag` in the command line when
 * it is not NULL. tests/lib/stackproc.h knows the others. */
int stack_pids(const struct stack *s, const char *name, const char *flag,
               pid_t *out, int cap);

/* Pack a bundle whose bin/prog is this script; its URL and digest are kept
 * for stack_create under the name. */
struct stack_bundle {
    char url[256];
    char sha256[65];
};
void stack_pack(struct stack *s, const char *name, const char *script,
                struct stack_bundle *out);
/* The same of a program that is there. */
void stack_pack_file(struct stack *s, const char *name, const char *path,
                     struct stack_bundle *out);
/* An archive that is there, copied to where bundles lie. */
void stack_take(struct stack *s, const char *name, const char *path,
                struct stack_bundle *out);

struct stack_session {
    char sid[ID_SIZE];
    char who[32];
    char *token; /* the first, from create; owned */
};
/* more: further members of the request with a leading comma, or "". */
void stack_create(struct stack *s, const char *who,
                  const struct stack_bundle *b, const char *more,
                  struct stack_session *out);
/* The same in two halves, for many at once: ask gives the descriptor that
 * created takes. */
int stack_ask(struct stack *s, const char *identity,
              const struct stack_bundle *b, const char *more);
void stack_created(const char *who, int fd, struct stack_session *out);
void stack_session_fini(struct stack_session *ss);
/* "Authorization: Bearer …\r\n", freed by the caller. */
char *stack_identity(struct stack *s, const char *who);
/* A fresh session token; NULL when the answer is not 200 (status in *status
 * if given). Freed by the caller. */
char *stack_token(struct stack *s, const char *who, const char *sid,
                  const char *role, int *status);
/* The session as its owner sees it, the caller's. */
struct json *stack_get(struct stack *s, const char *who, const char *sid);
struct json *stack_wait(struct stack *s, const char *who, const char *sid,
                        const char *state, int ms);
int stack_delete(struct stack *s, const char *who, const char *sid);
/* PATCH: who may watch, a JSON list of subjects. The status, and the answer
 * (the caller's) when out is not NULL. */
int stack_viewers(struct stack *s, const char *who, const char *sid,
                  const char *list, struct json **out);

/* One attachment of a raw client that keeps offsets. */
struct stack_link {
    struct wspeer *peer; /* NULL = cut */
    uint64_t output;     /* next byte expected */
    uint64_t input_acked;
    uint64_t window, input_window;
    bool is_ended; /* EXIT was seen */
    int exit_code; /* -1 = none */
    char reason[32];
    char error[32]; /* code of an ERROR that was seen */
    char said[128]; /* its sentence */
    char last_stage[32];
    /* Told each stage as it comes; NULL = nobody wants to know. */
    void (*staged)(void *arg, const struct json *stage);
    void *staged_arg;
};
/* Dial, HELLO with this token, and wait for READY. from < 0: as kept.
 * false: refused; l->error says how. */
bool stack_attach(struct stack *s, struct stack_link *l, const char *token,
                  int64_t from, int cols, int rows);
/* The next message. OUTPUT is given to take(), acknowledged when ack; other
 * messages change l. false: the connection has ended. */
bool stack_pump(struct stack_link *l,
                void (*take)(void *arg, const uint8_t *p, size_t len),
                void *arg, bool ack);
void stack_ack(struct stack_link *l);
void stack_type(struct stack_link *l, uint64_t offset, const void *bytes,
                size_t len);
void stack_cut(struct stack_link *l); /* with a reset */

#endif
