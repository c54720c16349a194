/*
 * The way to the gateway: a ticket, a connection, and again when it ends,
 * unless what ended it is final.
 */
#include "client/attach_internal.h"

#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "client/command.h"
#include "client/tty.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ATTACH_TELL_MS 1000    /* lost for that long: the user is told */
#define ATTACH_SETTLED_MS 5000 /* a connection that held that long was good */
#define ATTACH_VERDICT_MS 5000 /* for the record to say how it ended */
#define ATTACH_ASK_MS 500      /* between two looks at it */
#define ATTACH_FIRST_MS 60000  /* the gateway must answer once within this */

static void attach_failed(struct attach *a, const struct reply_error *error,
                          int code, const char *why, bool is_by_us);

/* --- connections --- */

void attach_drop_token(struct attach *a)
{
    identity_free(a->token);
    a->token = NULL;
}

static char *attach_hello(void *arg, struct leg *l)
{
    struct attach *a = arg;
    own_json struct json *j = json_object();
    uint64_t from;

    (void)l;
    json_set_str(j, "token", a->token ? a->token : "");
    if (a->is_tty && a->link.role == ROLE_OWNER) {
        json_set_int(j, "cols", a->cols);
        json_set_int(j, "rows", a->rows);
        a->is_resized = false;
        if (!a->leg) /* else that may go on alone */
            a->is_size_due = false;
    }
    a->has_rival |= a->leg != NULL;
    if (link_hello(&a->link, &from))
        json_set_int(j, "output_from", (int64_t)from);
    attach_drop_token(a); /* it is used once */
    return json_text(j);
}

static void attach_closed(void *arg, struct leg *l, int code, const char *why)
{
    struct attach *a = arg;
    const bool was_leg = l == a->leg, was_next = l == a->next;
    const bool is_settled =
        l->opened_ms && loop_now_ms() - l->opened_ms >= ATTACH_SETTLED_MS;
    struct leg **at;

    for (at = &a->legs; *at && *at != l; at = &(*at)->next)
        ;
    if (*at)
        *at = l->next;
    if (was_leg) {
        a->leg = NULL;
        link_lost(&a->link);
    }
    if (was_next) {
        a->next = NULL;
        attach_drop_token(a);
    }
    if (a->is_leaving) {
        if (!a->legs && !a->ticket)
            loop_stop(a->loop);
        return;
    }
    if (!was_leg && !was_next)
        return; /* it had been replaced by a newer one of ours */
    if (is_settled)
        retry_reset(&a->retry);
    if (was_leg && a->has_end) { /* after EXIT there is nothing to come */
        attach_check(a);
        return;
    }
    attach_failed(a, l->has_error ? &l->error : NULL, code, why,
                  was_leg && a->has_rival);
}

static const struct leg_verbs attach_leg_verbs = {
    .hello = attach_hello,
    .frame = attach_frame,
    .drained = attach_drained,
    .closed = attach_closed,
};

/* --- trying again --- */

static void attach_tell_lost(void *arg)
{
    struct attach *a = arg;

    attach_timer_off(&a->notice);
    if (!sink_is_at_rest(a->sink)) {
        attach_after(a, &a->notice, ATTACH_TELL_MS / 4, attach_tell_lost);
        return;
    }
    a->is_lost_told = true;
    progress_lost(a->conf->progress, a->last, a->is_begun && a->is_tty);
}

static void attach_give_up(struct attach *a)
{
    char text[REPLY_TEXT_MAX];
    own_mem char *flags = remote_flags(a->conf->remote);

    snprintf(text, sizeof(text),
             "no connection for %" PRId64 " s (%.150s); the session may go "
             "on. Attach again with: podterm attach %s%s%.200s",
             (loop_now_ms() - a->lost_ms) / 1000, a->last, a->conf->sid,
             a->conf->role == ROLE_VIEWER ? " --view" : "", flags);
    attach_leave(a, EXIT_PODTERM, text);
}

/* asked_ms: what the server wants us to wait */
static void attach_again(struct attach *a, int64_t asked_ms, const char *why)
{
    const int64_t now = loop_now_ms();
    int64_t limit = a->conf->retry_ms;
    uint32_t random;

    if (!a->was_alive && limit > ATTACH_FIRST_MS)
        limit = ATTACH_FIRST_MS;
    snprintf(a->last, sizeof(a->last), "%.200s",
             why[0] ? why : "the connection ended");
    if (!a->leg && !a->lost_ms) {
        a->lost_ms = now;
        attach_after(a, &a->notice, ATTACH_TELL_MS, attach_tell_lost);
    }
    if (!a->leg && now - a->lost_ms >= limit) {
        attach_give_up(a);
        return;
    }
    if (a->next || a->ticket || a->pause)
        return; /* one is under way */
    random_bytes(&random, sizeof(random));
    attach_after(a, &a->pause, retry_next(&a->retry, asked_ms, random),
                 attach_fetch);
}

static void attach_ended(struct attach *a, const struct reply_end *end)
{
    a->end = *end;
    a->has_end = a->is_recorded = true;
    if (a->link.was_ready && end->output_end > 0 &&
        (uint64_t)end->output_end > a->link.next)
        a->missing = (uint64_t)end->output_end - a->link.next;
    attach_flow(a);
    attach_check(a);
}

/* What a close says on its own, when no ERROR came before it. */
static enum err_kind attach_kind_of(int code)
{
    switch (code) {
    case 4400:
        return ERR_INPUT;
    case 4403:
        return ERR_DENIED;
    case 4409:
        return ERR_REPLACED;
    case 4504:
        return ERR_TIMEOUT;
    default: /* 4410 too: the controller knows how it ended */
        return ERR_PEER;
    }
}

/* is_by_us: if it was replaced */
static void attach_failed(struct attach *a, const struct reply_error *error,
                          int code, const char *why, bool is_by_us)
{
    enum err_kind kind = error ? error->kind : attach_kind_of(code);
    const char *message = error ? error->message : why;

    if (kind == ERR_REPLACED && is_by_us) {
        if (!a->next) /* else that is READY soon */
            attach_again(a, 0, "");
        return;
    }
    switch (kind) {
    case ERR_ENDED:
        attach_ended(a, &error->end);
        return;
    case ERR_REPLACED:
        attach_part(a, EXIT_PODTERM,
                    "this session was attached elsewhere, which took over");
        return;
    case ERR_INPUT:
    case ERR_DENIED:
    case ERR_ABSENT:
    case ERR_TIMEOUT:
        if (a->leg)
            return; /* the older connection carries on as long as it may */
        attach_final(a,
                     "this attachment was refused, and the session goes on "
                     "without it",
                     message);
        return;
    default: /* token, busy, agent_lost, unavailable; a close without ERROR */
        attach_again(a, error ? error->retry_after_ms : 0, message);
    }
}

static void attach_dial(struct attach *a)
{
    struct ticket *t = a->ticket;
    struct leg *l =
        leg_new(a->loop, a->ws, &t->target, a->conf->remote->server.ca_path,
                &attach_leg_verbs, a);

    attach_drop_token(a);
    a->token = own_mem_give(&t->token);
    l->next = a->legs;
    a->legs = l;
    a->next = l;
}

static void attach_refused(struct attach *a, const struct ticket *t)
{
    if (t->e.kind == ERR_ENDED)
        attach_ended(a, &t->end);
    else if (ticket_is_passing(t) && (a->conf->token || a->was_alive))
        attach_again(a, 0, t->e.text);
    else if (t->e.kind == ERR_INPUT && a->link.was_ready)
        attach_again(a, 0, t->e.text); /* an identity command offline */
    else
        attach_final(a, "cannot attach", t->e.text);
}

/* --- how it ended --- */

static void attach_verdict_over(void *arg)
{
    struct attach *a = arg;

    attach_leave(a, reply_status(&a->end), NULL);
}

/* What was asked for is a token: that there is none any more says the rest. */
static void attach_answered(struct attach *a, const struct ticket *t)
{
    if (t->e.kind == ERR_NONE || ticket_is_passing(t)) {
        attach_after(a, &a->pause, ATTACH_ASK_MS, attach_fetch);
        return;
    }
    if (t->e.kind == ERR_ENDED && t->end.reason >= 0)
        a->end = t->end;
    attach_leave(a, reply_status(&a->end), NULL);
}

/* The terminal is the user's meanwhile: an interrupt ends the waiting. */
void attach_ask_end(struct attach *a)
{
    a->is_asking = true;
    attach_timer_off(&a->pause);
    attach_timer_off(&a->notice);
    progress_finish(a->conf->progress);
    tty_restore();
    attach_after(a, &a->verdict, ATTACH_VERDICT_MS, attach_verdict_over);
    if (!a->ticket)
        attach_fetch(a);
}

static void attach_fetched(void *arg)
{
    struct attach *a = arg;
    struct ticket *t = a->ticket;

    if (a->is_leaving) {
        a->ticket = NULL;
        if (!a->legs)
            loop_stop(a->loop);
    } else if (a->is_asking) {
        a->ticket = NULL;
        attach_answered(a, t);
    } else if (t->e.kind == ERR_NONE) {
        attach_dial(a);
        a->ticket = NULL;
    } else {
        a->ticket = NULL;
        attach_refused(a, t);
    }
    ticket_fini(t);
    free(t);
}

static void attach_fetch_job(void *arg)
{
    struct attach *a = arg;

    ticket_get(a->ticket);
}

void attach_fetch(void *arg)
{
    struct attach *a = arg;
    const struct attach_conf *conf = a->conf;
    struct ticket *t = mem_zero(1, sizeof(*t));

    attach_timer_off(&a->pause);
    t->remote = conf->remote;
    t->role = conf->role;
    snprintf(t->sid, sizeof(t->sid), "%s", conf->sid);
    if (conf->token && !a->is_token_used) {
        t->token = mem_str(conf->token);
        t->attach_url = mem_str(conf->attach_url);
    }
    a->is_token_used = true;
    a->ticket = t;
    conf->remote->is_quiet = a->is_begun && a->is_tty;
    worker_add(a->worker, attach_fetch_job, attach_fetched, a);
}
