/*
 * What happens next to one client connection: a table, no I/O.
 *
 * HEAD      TLS and the request's head are collected
 * HELLO     upgraded; HELLO is collected
 * CHECKING  the token is verified and spent by a worker
 * WAITING   the session has no address yet; stages are told
 * DIALING   TCP, TLS and upgrade towards the agent
 * OPEN      bytes are relayed
 * ENDING    the agent's leg is gone; does the row say that it ended?
 * CLOSING   our last words are on their way to the client
 * DEAD      to be freed after the event batch
 */
#ifndef PODTERM_GATEWAY_SESSION_H
#define PODTERM_GATEWAY_SESSION_H

// clang-format off
#define SESSION_PHASES(X)                                                      \
    X(HEAD) X(HELLO) X(CHECKING) X(WAITING) X(DIALING) X(OPEN) X(ENDING)       \
    X(CLOSING) X(DEAD)

#define SESSION_EVENTS(X)                                                      \
    X(UPGRADED)    /* a valid upgrade request */                               \
    X(GREETED)     /* HELLO is whole */                                        \
    X(PENDING)     /* admitted; the row has no address */                      \
    X(ADDRESS)     /* admitted or told: the row has an address */              \
    X(AGENT_UP)    /* the agent answered 101 */                                \
    X(AGENT_GONE)  /* the agent's leg failed or ended unannounced */           \
    X(ENDED)       /* the row says that the session ended */                   \
    X(REFUSED)     /* we end it, with a reason for the client */               \
    X(CLIENT_GONE) /* the client's leg failed or ended */                      \
    X(DEADLINE)    /* the phase's time is over */

#define SESSION_ACTIONS(X)                                                     \
    X(NOTHING) X(GREET) X(CHECK) X(WAIT) X(DIAL) X(RELAY) X(ASK_END)           \
    X(REFUSE) X(DROP)
// clang-format on

enum session_phase {
#define X(n) SESSION_##n,
    SESSION_PHASES(X)
#undef X
        SESSION_PHASE_COUNT
};
enum session_event {
#define X(n) SESSION_ON_##n,
    SESSION_EVENTS(X)
#undef X
        SESSION_EVENT_COUNT
};
enum session_action {
#define X(n) SESSION_DO_##n,
    SESSION_ACTIONS(X)
#undef X
        SESSION_ACTION_COUNT
};

/* Step *phase and say what to do. An event that cannot come in a phase ends
 * the connection: DEAD, DROP. */
enum session_action session_step(enum session_phase *phase,
                                 enum session_event event);
const char *session_phase_name(enum session_phase p);

#endif
