#include "client/ticket.h"

#include "base/mem.h"
#include "base/seal.h"

#include <stdlib.h>
#include <string.h>

static void ticket_drop_token(struct ticket *t)
{
    if (t->token)
        wipe(t->token, strlen(t->token));
    free(t->token);
    t->token = NULL;
}

void ticket_fini(struct ticket *t)
{
    ticket_drop_token(t);
    free(t->attach_url);
    t->attach_url = NULL;
}

static int ticket_ask(struct ticket *t)
{
    struct json *ended = NULL;
    own_json struct json *j =
        remote_token(t->remote, t->sid, t->role, &ended, &t->e);
    const char *token = json_get_str(j, "token");
    const char *url = json_get_str(j, "attach_url");

    if (!j) {
        if (!reply_record(ended, &t->end))
            t->end = (struct reply_end){.reason = -1, .code = -1};
        json_free(ended);
        return -1;
    }
    if (!token || !url)
        return err_set(&t->e, ERR_INPUT, "the server gave no session token");
    t->token = mem_str(token);
    free(t->attach_url);
    t->attach_url = mem_str(url);
    return 0;
}

void ticket_get(struct ticket *t)
{
    t->e = (struct err){0};
    if (!t->token && ticket_ask(t) < 0)
        return;
    if (target_parse(t->attach_url, &t->target, &t->e) < 0 ||
        target_resolve(&t->target, &t->e) < 0)
        ticket_drop_token(t);
}

bool ticket_is_passing(const struct ticket *t)
{
    switch (t->e.kind) {
    case ERR_PEER:
    case ERR_SYSTEM:
    case ERR_BUSY:
    case ERR_TIMEOUT:
        return true;
    default:
        return false;
    }
}
