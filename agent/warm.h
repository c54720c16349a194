/*
 * An agent of the warm pool: it listens under the pool key and waits to be
 * told, once, which session it is of.
 *
 *   WAITING ──activation kept──► ACTIVATED  the loop stops once the answer
 *      │                                    is out; our caller starts anew
 *      └──too old, runner gone or not new──► LEAVING   the loop stops
 *
 * Activated, no connection under the pool key is taken or made any more, and
 * the key is wiped; the process that follows has never had it. Whoever leaves
 * leaves for good: a restart does not make it warm again. Loop's thread only.
 */
#ifndef PODTERM_AGENT_WARM_H
#define PODTERM_AGENT_WARM_H

#include "base/err.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/seal.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WARM_REQUEST_MS 5000 /* accept to a whole activation */
#define WARM_ANSWER_MS 300   /* activation kept to the loop's end, at most */
#define WARM_RUNNER_MS 10000 /* for a runner that was here to come back */

struct state_head;
struct ws_context;
struct ws_request;
struct warm;

struct warm_conf {
    struct loop *loop;
    struct ws_context *ws;
    int listen_fd;       /* borrowed; stays open */
    const char *addr;    /* its name */
    const uint8_t *key;  /* of the pool; copied, the caller wipes its own */
    const char *pod_uid; /* may be NULL: then it is an error */
    const char *state_path, *ipc_dir, *report_path;
    const char *status_path; /* NULL = not wanted */
    uid_t runner_uid;
};

/* spec: the warm spec's tree, the caller's. Strings of conf are borrowed. NULL
 * with *e: ERR_INPUT (spec, pod_uid), ERR_SYSTEM. */
struct warm *warm_new(const struct warm_conf *conf, const struct json *spec,
                      struct err *e);
void warm_free(struct warm *w); /* takes NULL; wipes */
/* The platform stops this process. */
void warm_stop(struct warm *w);
/* After the loop has stopped: is there a session to go on with? */
bool warm_is_activated(const struct warm *w);
/*
 * Then this process gives way to one of the same arguments that finds the
 * session in the state file, as after a kill, and has never had the pool's
 * key. Descriptors up to last_fd stay open. Does not return.
 */
void warm_give_way(char **argv, int64_t last_fd) __attribute__((noreturn));

/* --- for the session's agent after it --- */

/* POST to ACTIVATE_PATH? arg is not used: fits as wants_body. */
bool warm_is_activation(void *arg, const struct ws_request *r);
/* Answer such a request under the session key: 200 to the very token that
 * was accepted, whose answer may have been lost, 409 to any other. */
void warm_again(struct ws_request *r, const struct state_head *h,
                const char *sid);

#endif
