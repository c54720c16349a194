#include "base/vocab.h"

#include <stddef.h>
#include <string.h>

#define X(n, s) s,
static const char *const states[] = {SESSION_STATES(X)};
static const char *const reasons[] = {"", END_REASONS(X)};
static const char *const roles[] = {ROLES(X)};
static const char *const egress_modes[] = {EGRESS_MODES(X)};
static const char *const cage_modes[] = {CAGE_MODES(X)};
static const char *const broker_apis[] = {BROKER_APIS(X)};
#undef X

static int vocab_find(const char *const *names, int count, const char *name)
{
    for (int i = 0; name && i < count; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

const char *session_state_name(enum session_state s)
{
    return s < STATE_COUNT ? states[s] : "?";
}

const char *end_reason_name(enum end_reason r)
{
    return r < REASON_COUNT ? reasons[r] : "?";
}

const char *role_name(enum role r)
{
    return r < ROLE_COUNT ? roles[r] : "?";
}

const char *egress_mode_name(enum egress_mode m)
{
    return m < EGRESS_COUNT ? egress_modes[m] : "?";
}

const char *broker_api_name(enum broker_api a)
{
    return a < BROKER_API_COUNT ? broker_apis[a] : "?";
}

int session_state_of(const char *name)
{
    return vocab_find(states, STATE_COUNT, name);
}

int end_reason_of(const char *name)
{
    return vocab_find(reasons, REASON_COUNT, name);
}

int role_of(const char *name)
{
    return vocab_find(roles, ROLE_COUNT, name);
}

int egress_mode_of(const char *name)
{
    return vocab_find(egress_modes, EGRESS_COUNT, name);
}

int cage_mode_of(const char *name)
{
    return vocab_find(cage_modes, CAGE_COUNT, name);
}

int broker_api_of(const char *name)
{
    return vocab_find(broker_apis, BROKER_API_COUNT, name);
}
