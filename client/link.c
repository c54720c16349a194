#include "client/link.h"

#include "base/frame.h"

#include <assert.h>

void link_init(struct link *l, enum role role)
{
    *l = (struct link){.role = role};
    buf_init(&l->kept, LINK_KEPT_MAX + LINK_TYPED_MAX);
}

void link_fini(struct link *l)
{
    buf_fini_secret(&l->kept); /* passwords are typed too */
}

static uint64_t link_end(const struct link *l)
{
    return l->base + l->kept.len;
}

/* --- connections --- */

bool link_hello(const struct link *l, uint64_t *from)
{
    if (!l->was_ready)
        return false;
    *from = l->next - l->queued;
    return true;
}

/* What had arrived when the connection began decides what is sent again. */
static void link_rebase(struct link *l, uint64_t received)
{
    if (received > l->base) {
        /* applied, or typed by somebody else meanwhile: what never left here
         * was not, and follows behind it */
        uint64_t applied = received < l->sent_max ? received : l->sent_max;

        if (applied > l->base)
            buf_drop(&l->kept, (size_t)(applied - l->base));
    }
    l->base = received;
    l->sent = received;
    if (l->sent_max < received)
        l->sent_max = received;
}

void link_ready(struct link *l, const struct reply_ready *r)
{
    l->window = r->window;
    l->input_window = r->input_window;
    if (r->output_from > l->next) {
        if (l->was_ready)
            l->skipped += r->output_from - l->next;
        l->next = r->output_from;
    }
    /* below this the server has no doubt; what is queued here is behind it */
    l->acked = l->carried = r->output_from;
    link_rebase(l, r->input_received);
    l->is_ready = l->was_ready = true;
}

void link_lost(struct link *l)
{
    l->is_ready = false;
}

uint64_t link_skipped(struct link *l)
{
    uint64_t n = l->skipped;

    l->skipped = 0;
    return n;
}

/* --- output --- */

int64_t link_output(struct link *l, uint64_t offset, size_t len)
{
    uint64_t known;

    if (offset > l->next) {
        if (l->role == ROLE_OWNER)
            return -1;
        l->skipped += offset - l->next;
        l->next = offset;
    }
    if (offset + len > l->acked + l->window && l->role == ROLE_OWNER)
        return -1;
    if (l->carried < offset + len)
        l->carried = offset + len;
    known = l->next - offset;
    if (known >= len)
        return (int64_t)len;
    l->next += len - known;
    l->queued += len - known;
    return (int64_t)known;
}

void link_written(struct link *l, uint64_t n)
{
    assert(n <= l->queued);
    l->queued -= n;
}

bool link_ack(struct link *l, uint64_t *offset)
{
    uint64_t written = l->next - l->queued;

    if (written > l->carried)
        written = l->carried;
    if (!l->is_ready || written <= l->acked ||
        (l->queued > 0 && written - l->acked < l->window / 4))
        return false;
    l->acked = written;
    *offset = written;
    return true;
}

bool link_is_complete(const struct link *l, uint64_t end)
{
    return l->queued == 0 && l->next >= end;
}

/* --- input --- */

size_t link_room(const struct link *l, size_t ahead)
{
    uint64_t most = (l->is_ready ? l->input_window : 0) + ahead;

    return l->kept.len < most ? (size_t)(most - l->kept.len) : 0;
}

void link_type(struct link *l, const uint8_t *bytes, size_t len)
{
    if (l->role != ROLE_OWNER)
        return;
    if (buf_append(&l->kept, bytes, len) < 0)
        assert(!"more typed than there is room for");
}

bool link_is_full(const struct link *l)
{
    return l->is_ready && l->kept.len >= l->input_window;
}

size_t link_input(const struct link *l, uint64_t *offset, const uint8_t **bytes)
{
    uint64_t len = link_end(l) - l->sent, room;

    if (!l->is_ready)
        return 0;
    room = l->input_window - (l->sent - l->base);
    len = len < room ? len : room;
    *offset = l->sent;
    *bytes = l->kept.data ? l->kept.data + (l->sent - l->base) : NULL;
    return len < FRAME_INPUT_BYTES_MAX ? (size_t)len : FRAME_INPUT_BYTES_MAX;
}

void link_input_sent(struct link *l, size_t len)
{
    l->sent += len;
    assert(l->sent <= link_end(l));
    if (l->sent_max < l->sent)
        l->sent_max = l->sent;
}

int link_input_acked(struct link *l, uint64_t offset)
{
    if (offset > l->sent)
        return -1;
    if (offset > l->base) {
        buf_drop(&l->kept, (size_t)(offset - l->base));
        l->base = offset;
    }
    return 0;
}

bool link_is_idle(const struct link *l)
{
    return l->kept.len == 0;
}
