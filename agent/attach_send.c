/*
 * Sending: one message each time the socket can take one, made from the
 * session's state and from what is due, never queued.
 */
#include "agent/attach_internal.h"

#include "agent/greet.h"
#include "base/json.h"

#include <assert.h>
#include <string.h>

void attach_want(struct attach *a)
{
    if (a->phase == ATTACH_OPEN || a->phase == ATTACH_MOVING)
        ws_want_write(a->conn);
}

static bool attach_write_json(struct attach *a, uint8_t type,
                              const struct json *j)
{
    uint8_t *at = a->set->out + WS_PRE;
    size_t len = greet_json(at, FRAME_HEAD_MAX + ATTACH_TURN_BYTES, type, j);

    ws_write(a->conn, at, len);
    return true;
}

static bool attach_write_due(struct attach *a)
{
    const struct state *s = life_state(a->set->life);
    uint8_t *at = a->set->out + WS_PRE;

    if (a->due & DUE_INPUT_ACK) {
        a->due &= ~(unsigned)DUE_INPUT_ACK;
        a->set->input_told = s->head->input_received;
        ws_write(
            a->conn, at,
            frame_head_offset(at, FRAME_INPUT_ACK, s->head->input_received));
        return true;
    }
    if (a->due & DUE_PONG) {
        a->due &= ~(unsigned)DUE_PONG;
        ws_write(a->conn, at, frame_head_offset(at, FRAME_PONG, a->pong));
        return true;
    }
    if (a->due & DUE_RESIZED) {
        a->due &= ~(unsigned)DUE_RESIZED;
        ws_write(a->conn, at,
                 frame_size(at, FRAME_RESIZED, s->head->cols, s->head->rows));
        return true;
    }
    if (a->due & DUE_NOTICE) {
        own_json struct json *j =
            greet_notice(s->head, a->set->notice, loop_wall_ms());

        a->due &= ~(unsigned)DUE_NOTICE;
        return attach_write_json(a, FRAME_STAGE, j);
    }
    return false;
}

static bool attach_write_stage(struct attach *a)
{
    const struct state *s = life_state(a->set->life);

    for (uint32_t i = 0; i < s->head->stage_count; i++)
        if (a->stages_due & (1u << i)) {
            own_json struct json *j = greet_stage(&s->head->stages[i]);

            a->stages_due &= ~(1u << i);
            return attach_write_json(a, FRAME_STAGE, j);
        }
    return false;
}

/* A viewer that lags goes on at the oldest kept byte. What is under way to
 * it stays under way: acked goes along. */
static void attach_jump(struct attach *a, uint64_t oldest)
{
    assert(a->role == ROLE_VIEWER); /* an owner's bytes are held for it */
    a->jump_from = a->sent;
    a->jump_bytes = oldest - a->sent;
    a->acked += a->jump_bytes;
    a->sent = oldest;
}

/* How many bytes of OUTPUT may go now; moves a viewer that lags. */
static size_t attach_output_room(struct attach *a)
{
    const struct state_head *h = life_state(a->set->life)->head;
    const struct agent_spec *spec = life_spec(a->set->life);
    uint64_t window = (uint64_t)spec->window_bytes, room;

    if (a->role == ROLE_CONTROL)
        return 0;
    if (a->sent - a->acked >= window)
        return 0;
    if (a->sent < h->output_oldest)
        attach_jump(a, h->output_oldest);
    room = window - (a->sent - a->acked);
    if (room > h->output_end - a->sent)
        room = h->output_end - a->sent;
    return room < ATTACH_TURN_BYTES ? (size_t)room : ATTACH_TURN_BYTES;
}

static bool attach_write_output(struct attach *a)
{
    size_t len = attach_output_room(a);
    uint8_t *at = a->set->out + WS_PRE;
    size_t head;

    if (len == 0)
        return false;
    head = frame_head_offset(at, FRAME_OUTPUT, a->sent);
    memcpy(at + head, state_ring_at(life_state(a->set->life), a->sent, &len),
           len);
    if (ws_write(a->conn, at, head + len) < 0)
        return false; /* closed follows */
    a->sent += len;
    attach_count_output(len);
    return true;
}

static bool attach_write_exit(struct attach *a)
{
    const struct state *s = life_state(a->set->life);
    own_json struct json *j = NULL;

    if (!a->set->is_ended || a->is_exit_sent || a->role == ROLE_CONTROL ||
        a->sent < s->head->output_end)
        return false;
    j = greet_exit(s->head);
    a->is_exit_sent = true;
    attach_write_json(a, FRAME_EXIT, j);
    life_told_exit(a->set->life);
    return true;
}

/* Is there output that could go now, or EXIT behind it? */
bool attach_flows(const struct attach *a)
{
    const struct state_head *h = life_state(a->set->life)->head;
    uint64_t window = (uint64_t)life_spec(a->set->life)->window_bytes;

    if (a->role == ROLE_CONTROL)
        return false;
    if (a->sent < h->output_end)
        return a->sent - a->acked < window;
    return a->set->is_ended && !a->is_exit_sent;
}

/* One message a call; what was typed is answered before what flows. */
void attach_drained(void *user)
{
    struct attach *a = user;

    if (a->phase != ATTACH_OPEN && a->phase != ATTACH_MOVING)
        return;
    if ((attach_write_due(a) || attach_write_stage(a) ||
         attach_write_output(a) || attach_write_exit(a)) &&
        (a->due || a->stages_due || attach_flows(a)))
        ws_want_write(a->conn);
}
