/*
 * A gateway under test: the real program with a store, keys and a fake agent
 * of the test's own.
 */
#ifndef PODTERM_TESTS_LIB_GWBENCH_H
#define PODTERM_TESTS_LIB_GWBENCH_H

#include "base/store.h"
#include "base/token.h"
#include "tests/lib/wspeer.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_ISS "https://podterm.test"
#define BENCH_AUD "gateway-test"
#define BENCH_BND                                                              \
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define BENCH_OWNER "user-1"

struct bench {
    char *dir; /* scratch */
    struct store *store;
    struct token_signer *signer; /* shared by all benches of a process */
    uint8_t seal_key[32];
    uint8_t agent_key[32]; /* every session's */
    struct ssl_ctx_st *agent_ctx;
    int agent_fd; /* the fake agent listens here */
    char agent_addr[64];
    pid_t pid;     /* of the gateway, 0 = none */
    char addr[64]; /* it listens here */
    char *log_path;
};

extern struct bench *bench; /* the running test's, by bench_setup */

/* A cmocka setup and teardown around one test's bench. */
int bench_setup(void **state);
int bench_teardown(void **state);
/* bench_start with at most three settings, the first NULL ends them. */
void bench_run(const char *a1, const char *a2, const char *a3);
/* A session that runs, its client and its agent (out) attached. */
struct wspeer *bench_pair(struct wspeer **agent, char sid[ID_SIZE]);

/* An upgraded client that has said nothing. */
struct wspeer *bench_client(void);
/* Its HELLO, with this token and nothing more. */
void bench_attach_token(struct wspeer *c, const char *token);
/* Attach with these claims and expect to be refused; the ERROR's text. */
char *bench_refused(const struct session_claims *claims, const char *word,
                    int code);

/* A store, key files and a listening fake agent. */
struct bench *bench_new(void);
/* Start the gateway with these settings more (NULL-terminated), wait until
 * it is ready. Options said twice: the later wins only where conf allows, so
 * name each once. */
void bench_start(struct bench *b, const char *const *more);
/* SIGTERM and its exit status, -1 when it does not leave within ms. */
int bench_stop(struct bench *b, int ms);
/* Its exit status without a signal; -1 as above. */
int bench_wait(struct bench *b, int ms);
/* Ends what is left. false: it did not leave in time, or a sanitizer had
 * something to say (printed). */
bool bench_free(struct bench *b);
/* Does anybody accept connections at b->addr? */
bool bench_listens(const struct bench *b);
/* Does the gateway's log hold this text, within ms? */
bool bench_logged(struct bench *b, const char *text, int ms);
/* Resident memory of the gateway in KiB. */
long bench_memory_kb(const struct bench *b);
/* CPU time of the gateway's loop in microseconds. */
int64_t bench_cpu_us(const struct bench *b);

/* A session's row: state, and agent_addr unless it is pending. sid: out. */
void bench_session(struct bench *b, enum session_state state,
                   char sid[ID_SIZE]);
void bench_row(struct bench *b, const char *sid,
               void (*change)(struct store_session *row, void *arg), void *arg);
/* Give a pending session the fake agent's address. */
void bench_address(struct bench *b, const char *sid, const char *addr);
/* End it: reason exited, code 7, 1234 bytes of output. */
void bench_end(struct bench *b, const char *sid);

/* A token's right claims for sid; change and sign with bench_token. */
struct session_claims bench_claims(const char *sid, enum role role);
char *bench_token(struct bench *b, const struct session_claims *c);
/* HELLO's JSON with a fresh owner token; freed by the caller. */
char *bench_hello(struct bench *b, const char *sid);

/* A client that has upgraded and sent HELLO for sid. */
struct wspeer *bench_attach(struct bench *b, const char *sid);
/* Accept the gateway's dial: TCP alone (NULL when none comes within ms). */
struct wspeer *bench_accept_tcp(struct bench *b, int ms);
/* Accept it wholly: TLS, upgrade, HELLO (its JSON, freed by the caller, when
 * hello is given). */
struct wspeer *bench_accept(struct bench *b, char **hello);
/* attach + accept. */
struct wspeer *bench_open(struct bench *b, const char *sid,
                          struct wspeer **agent);

#endif
