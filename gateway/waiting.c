#include "gateway/waiting.h"

#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define POLL_CHANGES_MAX 256 /* rows a poll hears of; more come at once */
#define POLL_ROWS_MAX 64     /* rows a poll reads */
#define STAGE_PEND_MAX 16384 /* bytes unsent above which stages wait */

static int64_t wall_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* --- the list --- */

void waiting_join(struct pair *p)
{
    struct waiting *w = &p->gw->waiting;

    p->row_due = true;
    w->next_ms = p->gw->now_ms;
    if (p->is_polled)
        return;
    p->is_polled = true;
    p->wait_prev = NULL;
    p->wait_next = w->first;
    if (w->first)
        w->first->wait_prev = p;
    w->first = p;
    metric_set(&counters[COUNT_WAITING], ++w->count);
}

void waiting_leave(struct pair *p)
{
    struct waiting *w = &p->gw->waiting;

    if (!p->is_polled)
        return;
    p->is_polled = false;
    if (p->wait_prev)
        p->wait_prev->wait_next = p->wait_next;
    else
        w->first = p->wait_next;
    if (p->wait_next)
        p->wait_next->wait_prev = p->wait_prev;
    metric_set(&counters[COUNT_WAITING], --w->count);
}

/* --- what a row says --- */

static uint32_t stage_hash(const struct store_stage *s)
{
    const struct {
        const char *text;
    } parts[] = {{s->stage}, {s->state}, {s->detail}};
    uint32_t h = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < 3; i++)
        for (const char *c = parts[i].text;; c++) {
            h = (h ^ (uint8_t)*c) * 16777619u;
            if (!*c)
                break;
        }
    return h ? h : 1;
}

/* Tell the stages that are new or have changed. */
static void stages_tell(struct pair *p, const struct store_session *row)
{
    struct greeting *g = p->greeting;

    for (int i = 0; i < row->stage_count && i < GATEWAY_STAGES_MAX; i++) {
        const struct store_stage *s = &row->stages[i];
        uint32_t hash = stage_hash(s);
        struct buf out;

        if (g->stage_hash[i] == hash || p->client.pend_len > STAGE_PEND_MAX)
            continue;
        g->stage_hash[i] = hash;
        buf_init(&out, SAY_MAX);
        say_stage(&out, s->stage, s->state, s->ms, s->detail);
        leg_send(&p->client, out.data, out.len);
        buf_fini(&out);
    }
}

static void dial_record(struct pair *p, const struct store_session *row)
{
    struct greeting *g = p->greeting;

    memcpy(g->agent_addr, row->agent_addr, sizeof(g->agent_addr));
    memcpy(g->psk_id, row->psk_id, sizeof(g->psk_id));
    memcpy(g->psk_sealed, row->psk_sealed, sizeof(g->psk_sealed));
}

/*
 * A token is never held past exp minus the margin, and a session not waited
 * for past its time to start: whichever comes first is the deadline.
 */
static int64_t wait_deadline_ms(struct pair *p)
{
    const struct settings *s = &p->gw->set;
    int64_t ahead = p->gw->now_ms - wall_ms();
    int64_t token =
        (p->greeting->token_exp_s - s->token_margin_s) * 1000 + ahead;
    int64_t start = p->greeting->created_ms + s->start_ms + ahead;

    p->is_token_wait = token < start;
    return p->is_token_wait ? token : start;
}

void waiting_deadline(struct pair *p)
{
    struct refusal token = {
        .kind = ERR_TOKEN,
        .message = "The session is still starting; attach again with a "
                   "fresh token."};
    struct refusal late = {.kind = ERR_TIMEOUT,
                           .message = "The session did not start in time."};

    pair_refuse(p, SESSION_ON_DEADLINE, p->is_token_wait ? &token : &late);
}

void waiting_admitted(struct pair *p, const struct session_claims *claims,
                      const struct store_session *row)
{
    struct greeting *g = p->greeting;
    int64_t until;

    g->token_exp_s = claims->exp;
    g->created_ms = row->created_ms;
    if (row->state != STATE_RUNNING)
        stages_tell(p, row);
    if (row->agent_addr[0]) {
        dial_record(p, row);
        pair_on(p, SESSION_ON_ADDRESS, CLOSE_NONE);
        return;
    }
    until = wait_deadline_ms(p);
    pair_on(p, SESSION_ON_PENDING, CLOSE_NONE);
    if (p->phase != SESSION_WAITING)
        return;
    p->deadline_ms = until > p->gw->now_ms ? until : p->gw->now_ms;
    if (until <= p->gw->now_ms)
        waiting_deadline(p);
    else
        pair_arm(p);
}

static void row_apply(struct pair *p, const struct store_session *row)
{
    if (row->state == STATE_ENDED) {
        pair_ended(p, row);
    } else if (p->phase == SESSION_WAITING) {
        stages_tell(p, row);
        if (!row->agent_addr[0])
            return;
        dial_record(p, row);
        pair_on(p, SESSION_ON_ADDRESS, CLOSE_NONE);
    }
}

/* --- the poll, on a worker thread --- */

struct poll {
    struct gateway *gw;
    struct store *store;
    int64_t cursor; /* in and out; -1 = begin with the rows' own */
    int changed;    /* of changes; */
    bool has_failed, is_full;
    struct store_rev changes[POLL_CHANGES_MAX];
    int wanted;
    char ids[POLL_ROWS_MAX][ID_SIZE];
    bool is_there[POLL_ROWS_MAX], is_gone[POLL_ROWS_MAX];
    struct store_session *rows;
    struct err e;
};

static void poll_rows(struct poll *poll)
{
    for (int i = 0; i < poll->wanted; i++) {
        struct err e = {0};

        poll->is_there[i] =
            store_get(poll->store, poll->ids[i], &poll->rows[i], &e) == 0;
        poll->is_gone[i] = !poll->is_there[i] && e.kind == ERR_ABSENT;
        if (!poll->is_there[i] && !poll->is_gone[i]) {
            poll->has_failed = true;
            poll->e = e;
        }
    }
}

static void poll_run(void *arg)
{
    struct poll *poll = arg;
    int n = 0;

    /* changes first: one that comes after them is in the rows or in the next
     * poll's changes, never lost between */
    if (poll->cursor >= 0) {
        n = store_changed_since(poll->store, poll->cursor, poll->changes,
                                POLL_CHANGES_MAX, &poll->e);
        if (n < 0)
            poll->has_failed = true;
    }
    poll->changed = n > 0 ? n : 0;
    poll->is_full = n == POLL_CHANGES_MAX;
    if (poll->changed)
        poll->cursor = poll->changes[poll->changed - 1].rev;
    poll_rows(poll);
    for (int i = 0; poll->cursor < 0 && i < poll->wanted; i++)
        if (poll->is_there[i])
            poll->cursor = poll->rows[i].rev;
}

static void poll_give(struct gateway *gw, const struct poll *poll, int i)
{
    struct pair *p = gw->waiting.first;

    while (p) {
        struct pair *next = p->wait_next; /* p may leave the list */

        if (strcmp(p->sid, poll->ids[i]) == 0) {
            if (poll->is_there[i])
                row_apply(p, &poll->rows[i]);
            else if (poll->is_gone[i])
                pair_deny(p, ERR_DENIED, "There is no such session any more.");
            else
                p->row_due = true;
        }
        p = next;
    }
}

static void poll_done(void *arg)
{
    struct poll *poll = arg;
    struct gateway *gw = poll->gw;
    static struct log_rate rate = {.burst = 3, .interval_ms = 5000};

    gw->waiting.is_polling = false;
    gw->waiting.cursor = poll->cursor;
    if (poll->has_failed) {
        count(COUNT_STORE_ERRORS, 1);
        gw->is_store_well = false;
        if (log_rate_ok(&rate, gw->now_ms))
            log_err(&poll->e, "store.failed");
    }
    for (int i = 0; i < poll->wanted; i++)
        poll_give(gw, poll, i);
    for (struct pair *p = gw->waiting.first; p; p = p->wait_next)
        for (int i = 0; i < poll->changed; i++)
            if (strcmp(p->sid, poll->changes[i].id) == 0) {
                p->row_due = true;
                gw->waiting.again = true;
            }
    if (poll->is_full)
        gw->waiting.again = true;
    wipe(poll->rows, sizeof(*poll->rows) * (size_t)poll->wanted);
    free(poll->rows);
    free(poll);
}

/* The ids whose rows are wanted; one id once. */
static void poll_wants(struct poll *poll, struct gateway *gw)
{
    for (struct pair *p = gw->waiting.first; p; p = p->wait_next) {
        int i = 0;

        if (!p->row_due)
            continue;
        while (i < poll->wanted && strcmp(poll->ids[i], p->sid) != 0)
            i++;
        if (i == POLL_ROWS_MAX) {
            gw->waiting.again = true;
            continue;
        }
        p->row_due = false;
        if (i == poll->wanted)
            memcpy(poll->ids[poll->wanted++], p->sid, ID_SIZE);
    }
    if (poll->wanted)
        poll->rows = mem_zero((size_t)poll->wanted, sizeof(*poll->rows));
}

int waiting_tick(struct gateway *gw)
{
    struct waiting *w = &gw->waiting;
    struct poll *poll;

    if (!w->first || w->is_polling)
        return -1; /* poll_done wakes the loop */
    if (gw->now_ms < w->next_ms && !w->again)
        return (int)(w->next_ms - gw->now_ms);
    poll = mem_zero(1, sizeof(*poll));
    poll->gw = gw;
    poll->store = gw->store;
    poll->cursor = w->cursor;
    w->again = false;
    poll_wants(poll, gw);
    w->next_ms = gw->now_ms + gw->set.poll_ms;
    w->is_polling = jobs_add(gw->jobs, poll_run, poll_done, poll);
    if (w->is_polling)
        return -1;
    for (struct pair *p = w->first; p; p = p->wait_next)
        p->row_due = true; /* the queue is full: later, all anew */
    free(poll->rows);
    free(poll);
    return (int)gw->set.poll_ms;
}
