#include "agent/attach_internal.h"

#include "agent/greet.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct metric metrics[] = {
    {"podterm_agent_attachments_total", "", METRIC_COUNTER,
     "Attachments accepted.", 0},
    {"podterm_agent_refusals_total", "", METRIC_COUNTER, "Attachments refused.",
     0},
    {"podterm_agent_output_bytes_total", "", METRIC_COUNTER,
     "Terminal bytes sent to attachments.", 0},
};
enum { M_ATTACHED, M_REFUSED, M_OUTPUT };

struct metric *attach_metrics(size_t *count)
{
    *count = sizeof(metrics) / sizeof(metrics[0]);
    return metrics;
}

void attach_count_output(size_t len)
{
    metric_add(&metrics[M_OUTPUT], (int64_t)len);
}

static void attach_ack(void *arg);

struct attach_set *attach_set_new(struct life *life, struct loop *loop)
{
    struct attach_set *set = mem_zero(1, sizeof(*set));

    set->life = life;
    set->loop = loop;
    set->ack_timer = loop_timer_start(loop, INT32_MAX, 0, attach_ack, set);
    return set;
}

struct life *attach_life(const struct attach_set *set)
{
    return set->life;
}

void attach_set_free(struct attach_set *set)
{
    if (set)
        loop_timer_stop(set->ack_timer);
    while (set && set->all) {
        struct attach *a = set->all;

        set->all = a->next;
        free(a);
    }
    free(set);
}

static int attach_count_of(const struct attach_set *set,
                           enum attach_phase phase, int role)
{
    int n = 0;

    for (const struct attach *a = set->all; a; a = a->next)
        if (a->phase == phase && (role < 0 || (int)a->role == role))
            n++;
    return n;
}

/* Attachments of one viewer, all windows together. */
static int attach_count_viewer(const struct attach_set *set, int viewer)
{
    int n = 0;

    for (const struct attach *a = set->all; a; a = a->next)
        if (a->phase == ATTACH_OPEN && a->role == ROLE_VIEWER &&
            a->viewer == viewer)
            n++;
    return n;
}

int attach_count(const struct attach_set *set)
{
    int n = 0;

    for (const struct attach *a = set->all; a; a = a->next)
        n++;
    return n;
}

/* --- refusing and closing --- */

static void attach_close(struct attach *a, int code, const char *reason)
{
    struct attach_set *set = a->set;

    if (a->phase == ATTACH_CLOSING)
        return;
    a->phase = ATTACH_CLOSING;
    if (set->owner == a) {
        set->owner = NULL;
        life_owner(set->life, false);
    }
    ws_close(a->conn, code, reason);
}

/* ERROR and the close that goes with it. text is for the user. */
static void attach_refuse(struct attach *a, enum err_kind kind,
                          const char *text)
{
    own_json struct json *j = json_object();
    uint8_t msg[1024];

    json_set_str(j, "code", err_word(kind));
    json_set_str(j, "message", text);
    if (kind == ERR_BUSY)
        json_set_int(j, "retry_after_ms", 1000);
    ws_send(a->conn, msg, greet_json(msg, sizeof(msg), FRAME_ERROR, j));
    metric_add(&metrics[M_REFUSED], 1);
    attach_close(a, err_ws_code(kind), err_word(kind));
}

/* The error's own text goes to our log; the peer gets a fixed sentence. */
static void attach_refuse_err(struct attach *a, const struct err *e)
{
    static struct log_rate rate = {.burst = 20, .interval_ms = 1000};

    if (log_rate_ok(&rate, loop_now_ms()))
        log_err(e, "attach.refused");
    attach_refuse(a, e->kind, greet_sentence(e->kind));
}

/* --- receiving --- */

static void attach_replace_owner(struct attach *a)
{
    struct attach_set *set = a->set;
    struct attach *old = set->owner;

    /* the new one first, so that the session is never without an owner and
     * nothing is let go between the two */
    set->owner = a;
    if (old)
        attach_refuse(old, ERR_REPLACED,
                      "This session was opened in another window, which has "
                      "taken over. The program runs on there.");
}

static int attach_admit(struct attach *a, const struct greet *g, struct err *e)
{
    struct attach_set *set = a->set;
    int limit =
        g->role == ROLE_VIEWER ? ATTACH_VIEWERS_MAX : ATTACH_CONTROLS_MAX;

    if (g->role != ROLE_OWNER &&
        attach_count_of(set, ATTACH_OPEN, (int)g->role) >= limit)
        return err_set(e, ERR_BUSY, "%d %ss are attached", limit,
                       role_name(g->role));
    if (g->role == ROLE_VIEWER &&
        attach_count_viewer(set, g->viewer) >= ATTACH_VIEWER_SEATS)
        return err_set(e, ERR_BUSY, "this viewer is attached %d times",
                       ATTACH_VIEWER_SEATS);
    return 0;
}

static void attach_open(struct attach *a, const struct greet *g)
{
    struct attach_set *set = a->set;
    struct state_head *h = life_state(set->life)->head;
    uint8_t msg[FRAME_HELLO_MAX];
    own_json struct json *j = NULL;

    a->role = g->role;
    a->viewer = g->viewer;
    a->phase = ATTACH_OPEN;
    a->sent = a->acked = g->output_from;
    if (a->role == ROLE_OWNER) {
        attach_replace_owner(a);
        life_input_forget(set->life);
        h->output_acked = g->output_from;
        set->input_told = h->input_received; /* by READY */
        life_owner(set->life, true);
        if (g->cols)
            life_resize(set->life, g->cols, g->rows);
    }
    j = greet_ready(life_spec(set->life), h, a->role, a->sent);
    ws_send(a->conn, msg, greet_json(msg, sizeof(msg), FRAME_READY, j));
    a->stages_due = a->role == ROLE_CONTROL ? 0 : (1u << h->stage_count) - 1;
    metric_add(&metrics[M_ATTACHED], 1);
    log_info("attach.open", "role", "s", role_name(a->role), "from", "i",
             (int64_t)a->sent, NULL);
    attach_want(a);
}

static void attach_hello(struct attach *a, const struct frame *f)
{
    struct err e = {0};
    struct greet g;

    if (greet_hello(life_spec(a->set->life), life_state(a->set->life), f,
                    loop_wall_s(), &g, &e) < 0 ||
        attach_admit(a, &g, &e) < 0) {
        attach_refuse_err(a, &e);
        return;
    }
    attach_open(a, &g);
}

static void attach_input(struct attach *a, const struct frame *f)
{
    struct err e = {0};

    if (life_input(a->set->life, f->offset, f->body, f->body_len, &e) < 0)
        attach_refuse_err(a, &e);
}

static void attach_resize(struct attach *a, const struct frame *f)
{
    life_resize(a->set->life, f->cols, f->rows);
}

static void attach_output_ack(struct attach *a, const struct frame *f)
{
    struct state_head *h = life_state(a->set->life)->head;
    uint64_t offset = f->offset;

    if (offset > a->sent) {
        attach_refuse(a, ERR_INPUT,
                      "The client acknowledged output it was not sent.");
        return;
    }
    if (offset <= a->jump_from)
        offset += a->jump_bytes;
    if (offset <= a->acked)
        return;
    a->acked = offset;
    if (a == a->set->owner) {
        h->output_acked = offset;
        if (offset > h->output_seen)
            h->output_seen = offset;
        life_acked(a->set->life);
    }
    if (attach_flows(a))
        attach_want(a);
}

static void attach_signal(struct attach *a, const struct frame *f)
{
    life_signal(a->set->life, f->signal);
}

static void attach_ping(struct attach *a, const struct frame *f)
{
    a->pong = f->offset;
    a->due |= DUE_PONG;
    attach_want(a);
}

static void attach_end(struct attach *a, const struct frame *f)
{
    (void)f;
    log_info("attach.end", "role", "s", role_name(a->role), NULL);
    life_end(a->set->life, REASON_DELETED, "ended by its owner");
}

/* Closed once it holds: that is how the controller knows. */
static void attach_take_viewers(struct attach *a, const struct frame *f)
{
    struct frame_viewers viewers;
    struct err e = {0};

    if (frame_viewers_read(f, &viewers) < 0)
        err_set(&e, ERR_INPUT, "VIEWERS: not a list of subjects");
    else
        life_viewers(a->set->life, &viewers, &e);
    if (e.kind)
        attach_refuse_err(a, &e);
    else
        attach_close(a, 1000, "these are the viewers");
}

static const struct {
    uint8_t type;
    void (*take)(struct attach *a, const struct frame *f);
} takers[] = {
    {FRAME_INPUT, attach_input},
    {FRAME_RESIZE, attach_resize},
    {FRAME_SIGNAL, attach_signal},
    {FRAME_OUTPUT_ACK, attach_output_ack},
    {FRAME_PING, attach_ping},
    {FRAME_END, attach_end},
    {FRAME_VIEWERS, attach_take_viewers},
};

static void attach_take(struct attach *a, const struct frame *f)
{
    if (f->type == FRAME_HELLO) {
        attach_refuse(a, ERR_INPUT, "HELLO is sent once only.");
        return;
    }
    if (!frame_is_allowed(a->role, f->type)) {
        attach_refuse(a, ERR_DENIED,
                      "This attachment may not send that message.");
        return;
    }
    for (size_t i = 0; i < sizeof(takers) / sizeof(takers[0]); i++)
        if (takers[i].type == f->type) {
            takers[i].take(a, f);
            return;
        }
}

static void attach_message(void *user, const uint8_t *bytes, size_t len,
                           bool is_text)
{
    struct attach *a = user;
    struct frame f;

    if (a->phase == ATTACH_CLOSING)
        return;
    if (is_text) {
        attach_close(a, 1003, "binary messages only");
        return;
    }
    if (frame_parse(bytes, len, true, &f) < 0) {
        attach_refuse(a, ERR_INPUT, greet_sentence(ERR_INPUT));
        return;
    }
    if (a->phase != ATTACH_HELLO)
        attach_take(a, &f);
    else if (f.type == FRAME_HELLO)
        attach_hello(a, &f);
    else
        attach_refuse(a, ERR_INPUT, "HELLO must come first.");
}

/* --- birth and death --- */

/* Who has waited longest without a HELLO makes room. */
static void attach_drop_oldest(struct attach_set *set)
{
    struct attach *oldest = NULL;

    for (struct attach *a = set->all; a; a = a->next)
        if (a->phase == ATTACH_HELLO)
            oldest = a;
    if (oldest)
        attach_refuse(oldest, ERR_BUSY, greet_sentence(ERR_BUSY));
}

static void *attach_opened(void *server_arg, struct ws_conn *c)
{
    struct attach_set *set = server_arg;
    struct attach *a;

    if (attach_count_of(set, ATTACH_HELLO, -1) >= ATTACH_WAITING_MAX)
        attach_drop_oldest(set);
    a = mem_zero(1, sizeof(*a));
    a->set = set;
    a->conn = c;
    a->opened_ms = loop_now_ms() - ws_conn_age_ms(c);
    a->next = set->all;
    set->all = a;
    return a;
}

static void attach_closed(void *user, int code, const char *reason)
{
    struct attach *a = user, **at;
    struct attach_set *set = a->set;

    (void)reason;
    for (at = &set->all; *at && *at != a; at = &(*at)->next)
        ;
    if (*at)
        *at = a->next;
    if (a->phase != ATTACH_HELLO)
        log_info("attach.closed", "role", "s", role_name(a->role), "code", "i",
                 (int64_t)code, NULL);
    if (set->owner == a) {
        set->owner = NULL;
        life_owner(set->life, false);
    }
    free(a);
}

const struct ws_verbs attach_verbs = {
    .opened = attach_opened,
    .message = attach_message,
    .drained = attach_drained,
    .closed = attach_closed,
};

/* --- news for everybody --- */

static void attach_due(struct attach_set *set, unsigned due, bool owner_only)
{
    for (struct attach *a = set->all; a; a = a->next) {
        if (a->phase == ATTACH_HELLO || a->role == ROLE_CONTROL ||
            (owner_only && a != set->owner))
            continue;
        a->due |= due;
        attach_want(a);
    }
}

/* At once where the sockets take it: a turn of the loop is what a person
 * would wait for. */
void attach_output(struct attach_set *set)
{
    for (struct attach *a = set->all; a; a = a->next)
        if (a->role != ROLE_CONTROL &&
            (a->phase == ATTACH_OPEN || a->phase == ATTACH_MOVING))
            ws_want_write_now(a->conn);
}

static void attach_ack(void *arg)
{
    struct attach_set *set = arg;

    set->is_ack_waiting = false;
    attach_due(set, DUE_INPUT_ACK, true);
}

/* Nobody waits for it as a person does for an echo: that goes first, and is
 * not shared out among the wake-ups of everybody behind. */
void attach_input_acked(struct attach_set *set)
{
    uint64_t received = life_state(set->life)->head->input_received;
    uint64_t window = (uint64_t)life_spec(set->life)->input_window_bytes;

    if (received - set->input_told >= window / ATTACH_ACK_SHARE) {
        attach_ack(set);
    } else if (!set->is_ack_waiting) {
        set->is_ack_waiting = true;
        loop_timer_again(set->ack_timer, ATTACH_ACK_MS, 0);
    }
}

void attach_resized(struct attach_set *set)
{
    attach_due(set, DUE_RESIZED, false);
}

void attach_notice(struct attach_set *set, const char *detail)
{
    snprintf(set->notice, sizeof(set->notice), "%s", detail);
    attach_due(set, DUE_NOTICE, true);
}

void attach_stage(struct attach_set *set, const struct state_stage *st)
{
    const struct state_head *h = life_state(set->life)->head;

    for (struct attach *a = set->all; a; a = a->next) {
        if (a->role == ROLE_CONTROL)
            continue;
        a->stages_due |= 1u << (st - h->stages);
        attach_want(a);
    }
}

void attach_ended(struct attach_set *set)
{
    set->is_ended = true;
    attach_due(set, 0, false);
}

/* Who stays may have another place on the list now. */
void attach_viewers(struct attach_set *set, const struct frame_viewers *next)
{
    const struct frame_viewers *now = &life_spec(set->life)->viewers;

    for (struct attach *a = set->all; a; a = a->next) {
        if (a->role != ROLE_VIEWER ||
            (a->phase != ATTACH_OPEN && a->phase != ATTACH_MOVING))
            continue;
        a->viewer = frame_viewers_find(next, now->subjects[a->viewer]);
        if (a->viewer < 0)
            attach_refuse(a, ERR_DENIED,
                          "You are not a viewer of this session any more.");
    }
}

bool attach_has_owner(const struct attach_set *set)
{
    return set->owner != NULL;
}

bool attach_owner_is_done(const struct attach_set *set)
{
    const struct attach *a = set->owner;

    return a && a->is_exit_sent &&
           a->acked == life_state(set->life)->head->output_end;
}

bool attach_all_told(const struct attach_set *set)
{
    for (const struct attach *a = set->all; a; a = a->next)
        if ((a->phase == ATTACH_OPEN || a->phase == ATTACH_MOVING) &&
            a->role != ROLE_CONTROL && !a->is_exit_sent)
            return false;
    return true;
}

void attach_close_all(struct attach_set *set, enum err_kind kind,
                      const char *reason)
{
    for (struct attach *a = set->all, *next; a; a = next) {
        next = a->next; /* ws_close frees nothing before the loop's turn */
        if (a->phase == ATTACH_CLOSING)
            continue;
        if (reason)
            attach_refuse(a, kind, reason);
        else
            attach_close(a, 1000, "the session has ended");
    }
}

void attach_tick(struct attach_set *set, int64_t now_ms)
{
    static const uint8_t move[1] = {FRAME_MOVE};
    int64_t max_ms = life_spec(set->life)->attach_max_s * 1000;

    for (struct attach *a = set->all, *next; a; a = next) {
        next = a->next;
        if (a->phase == ATTACH_HELLO &&
            now_ms - a->opened_ms > ATTACH_HELLO_MS - LIFE_TICK_MS) {
            attach_refuse(a, ERR_SYSTEM, "HELLO did not come in time.");
        } else if (a->phase == ATTACH_OPEN && now_ms - a->opened_ms >= max_ms) {
            a->phase = ATTACH_MOVING;
            a->moved_ms = now_ms;
            ws_send(a->conn, move, sizeof(move));
        } else if (a->phase == ATTACH_MOVING &&
                   now_ms - a->moved_ms >= ATTACH_MOVE_MS) {
            attach_refuse(a, ERR_TOKEN, greet_sentence(ERR_TOKEN));
        }
    }
}
