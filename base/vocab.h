/*
 * The closed vocabularies all parts share: states, end reasons, roles,
 * refusal words. Each is one table here; names go over wires and into the
 * store as the text given. Source: PROTOCOL.md.
 */
#ifndef PODTERM_BASE_VOCAB_H
#define PODTERM_BASE_VOCAB_H

// clang-format off
#define SESSION_STATES(X)                                                      \
    X(PENDING, "pending") X(STARTING, "starting") X(RUNNING, "running")        \
    X(ENDED, "ended")

#define END_REASONS(X)                                                         \
    X(EXITED, "exited") X(SIGNALLED, "signalled") X(DELETED, "deleted")        \
    X(IDLE, "idle") X(LIFETIME, "lifetime")                                    \
    X(BUNDLE_REFUSED, "bundle_refused") X(START_FAILED, "start_failed")        \
    X(OUT_OF_MEMORY, "out_of_memory") X(EVICTED, "evicted")                    \
    X(RUNNER_LOST, "runner_lost")

#define ROLES(X)                                                               \
    X(OWNER, "owner") X(VIEWER, "viewer") X(CONTROL, "control")

/* A program's cage, as it is asked for: whole or not started, what the kernel
 * has of it, or nothing of the kernel's. */
#define CAGE_MODES(X)                                                          \
    X(STRICT, "strict") X(BEST, "best") X(OPEN, "open")

/* A program's network: none, all there is, or the session's proxy alone. */
#define EGRESS_MODES(X)                                                        \
    X(NONE, "none") X(OPEN, "open") X(PROXY, "proxy")

/* APIs that the key broker knows; agent/broker_apis.c says what they are. */
#define BROKER_APIS(X) X(ANTHROPIC, "anthropic") X(OPENAI, "openai")
// clang-format on

enum session_state {
#define X(n, s) STATE_##n,
    SESSION_STATES(X)
#undef X
        STATE_COUNT
};
enum end_reason {
    REASON_NONE = 0,
#define X(n, s) REASON_##n,
    END_REASONS(X)
#undef X
        REASON_COUNT
};
enum egress_mode {
#define X(n, s) EGRESS_##n,
    EGRESS_MODES(X)
#undef X
        EGRESS_COUNT
};
enum broker_api {
#define X(n, s) BROKER_##n,
    BROKER_APIS(X)
#undef X
        BROKER_API_COUNT
};
enum cage_mode {
#define X(n, s) CAGE_##n,
    CAGE_MODES(X)
#undef X
        CAGE_COUNT
};
enum role {
#define X(n, s) ROLE_##n,
    ROLES(X)
#undef X
        ROLE_COUNT
};

/* Exit codes the shim leaves with when the platform, not the program, ended
 * the session (70-75; a Job fails visibly on them). */
#define LEAVE_BUNDLE_REFUSED 70
#define LEAVE_NO_AGENT 71 /* no agent for SHIM_AGENT_WAIT_MS */
#define LEAVE_STOPPED 72  /* SIGTERM from outside */
#define LEAVE_START_FAILED 73
#define LEAVE_PROTOCOL 74 /* the agent broke the shim protocol */
#define LEAVE_INTERNAL 75

/* Text of a value; never NULL ("?" out of range, "" for REASON_NONE). */
const char *session_state_name(enum session_state s);
const char *end_reason_name(enum end_reason r);
const char *role_name(enum role r);
const char *egress_mode_name(enum egress_mode m);
const char *broker_api_name(enum broker_api a);

/* Value of a text, or -1 when it is not in the table. REASON_NONE for "". */
int session_state_of(const char *name);
int end_reason_of(const char *name);
int role_of(const char *name);
int egress_mode_of(const char *name);
int cage_mode_of(const char *name);
int broker_api_of(const char *name);

/* Ids: lower-case base32 without padding of 16 random bytes: 26 characters
 * of [a-z2-7]. Used for session ids, jtis and psk ids. */
#define ID_LEN 26
#define ID_SIZE (ID_LEN + 1)

#endif
