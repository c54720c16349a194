#include "gateway/session.h"

struct step {
    enum session_phase next;
    enum session_action action;
};

#define TO(phase, action)                                                      \
    {                                                                          \
        SESSION_##phase, SESSION_DO_##action                                   \
    }
#define DROP TO(DEAD, DROP)
#define REFUSE TO(CLOSING, REFUSE)

/* columns: UPGRADED, GREETED, PENDING, ADDRESS, AGENT_UP, AGENT_GONE, ENDED,
 * REFUSED, CLIENT_GONE, DEADLINE */
static const struct step steps[SESSION_PHASE_COUNT][SESSION_EVENT_COUNT] = {
    [SESSION_HEAD] = {TO(HELLO, GREET), DROP, DROP, DROP, DROP, DROP, DROP,
                      REFUSE, DROP, DROP},
    [SESSION_HELLO] = {DROP, TO(CHECKING, CHECK), DROP, DROP, DROP, DROP, DROP,
                       REFUSE, DROP, REFUSE},
    [SESSION_CHECKING] = {DROP, DROP, TO(WAITING, WAIT), TO(DIALING, DIAL),
                          DROP, DROP, REFUSE, REFUSE, DROP, REFUSE},
    [SESSION_WAITING] = {DROP, DROP, DROP, TO(DIALING, DIAL), DROP, DROP,
                         REFUSE, REFUSE, DROP, REFUSE},
    [SESSION_DIALING] = {DROP, DROP, DROP, DROP, TO(OPEN, RELAY),
                         TO(ENDING, ASK_END), DROP, REFUSE, DROP,
                         TO(ENDING, ASK_END)},
    [SESSION_OPEN] = {DROP, DROP, DROP, DROP, DROP, TO(ENDING, ASK_END), DROP,
                      REFUSE, DROP, DROP},
    [SESSION_ENDING] = {DROP, DROP, DROP, DROP, DROP, DROP, REFUSE, REFUSE,
                        DROP, REFUSE},
#define SAME TO(CLOSING, NOTHING)
    [SESSION_CLOSING] = {SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME, DROP,
                         DROP},
#undef SAME
#define SAME TO(DEAD, NOTHING)
    [SESSION_DEAD] = {SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME,
                      SAME},
#undef SAME
};

enum session_action session_step(enum session_phase *phase,
                                 enum session_event event)
{
    const struct step *s = &steps[*phase][event];

    *phase = s->next;
    return s->action;
}

const char *session_phase_name(enum session_phase p)
{
    static const char *const names[] = {
#define X(n) #n,
        SESSION_PHASES(X)
#undef X
    };

    return p >= 0 && p < SESSION_PHASE_COUNT ? names[p] : "?";
}
