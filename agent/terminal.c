#include "agent/terminal.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

struct terminal {
    struct state *state;
    struct loop *loop;
    struct loop_fd *watch;
    int master_fd;
    int events; /* what watch is armed for */
    bool hold;
    bool is_at_end;
    bool is_foul;          /* the master was made to block, and is closed */
    int interrupts;        /* of calls on the master, since we were asked */
    bool is_input_blocked; /* the last write(2) took less than offered */

    uint8_t *in; /* circular would save a memmove of at most 64 KiB */
    size_t in_len, in_cap;
    uint64_t intr_at[TERMINAL_INTR_MAX]; /* offsets already delivered */
    int intr_count;

    const struct terminal_verbs *verbs;
    void *arg;
};

/* An interrupt may hit a call that does not wait; so many hit one that does. */
#define TERMINAL_INTERRUPTS_MAX 3
/* So few bytes are an echo, which waits for no second read(2). */
#define TERMINAL_ECHO_BYTES 64

static void terminal_ready(void *arg, int events);

struct terminal *terminal_new(struct loop *l, struct state *s,
                              size_t input_bytes,
                              const struct terminal_verbs *verbs, void *arg)
{
    struct terminal *t = mem_zero(1, sizeof(*t));

    t->state = s;
    t->loop = l;
    t->master_fd = -1;
    t->hold = true;
    t->in_cap = input_bytes;
    t->verbs = verbs;
    t->arg = arg;
    return t;
}

static void terminal_drop_master(struct terminal *t)
{
    loop_fd_stop(t->watch);
    t->watch = NULL;
    t->events = 0;
    if (t->master_fd >= 0)
        close(t->master_fd);
    t->master_fd = -1;
}

void terminal_free(struct terminal *t)
{
    if (!t)
        return;
    terminal_drop_master(t);
    free(t->in);
    free(t);
}

static bool terminal_does_block(const struct terminal *t)
{
    return t->master_fd >= 0 && !(fcntl(t->master_fd, F_GETFL) & O_NONBLOCK);
}

/* A call on the master was interrupted (agent/stall.h). May it be made again?
 * O_NONBLOCK may be there again by now. */
static bool terminal_interrupted(struct terminal *t)
{
    if (++t->interrupts < TERMINAL_INTERRUPTS_MAX && !terminal_does_block(t))
        return true;
    t->is_foul = true;
    terminal_drop_master(t);
    return false;
}

bool terminal_is_foul(struct terminal *t)
{
    t->interrupts = 0;
    if (terminal_does_block(t)) {
        t->is_foul = true;
        terminal_drop_master(t);
    }
    return t->is_foul;
}

static uint64_t terminal_keep_from(const struct terminal *t)
{
    const struct state_head *h = t->state->head;

    return t->hold ? h->output_acked : h->output_end;
}

static bool terminal_has_room(const struct terminal *t)
{
    return t->state->head->output_end - terminal_keep_from(t) <
           t->state->ring_bytes;
}

/* The one place that decides what the master is watched for. */
static void terminal_rearm(struct terminal *t)
{
    int want = 0;

    if (!t->watch)
        return;
    if (!t->is_at_end && terminal_has_room(t))
        want |= LOOP_READ;
    if (t->in_len > 0 && !t->is_at_end)
        want |= LOOP_WRITE;
    if (want != t->events) {
        t->events = want;
        loop_fd_events(t->watch, want);
    }
}

void terminal_adopt(struct terminal *t, int master_fd)
{
    terminal_drop_master(t);
    if (t->is_foul) { /* once is enough */
        close(master_fd);
        return;
    }
    t->master_fd = master_fd;
    t->is_at_end = false;
    t->events = LOOP_READ;
    t->watch = loop_fd_start(t->loop, master_fd, LOOP_READ, terminal_ready, t);
    terminal_resize(t, t->state->head->cols, t->state->head->rows);
    terminal_rearm(t);
}

bool terminal_has_master(const struct terminal *t)
{
    return t->master_fd >= 0;
}

bool terminal_is_at_end(const struct terminal *t)
{
    return t->is_at_end;
}

/*
 * Read one turn's worth. Returns bytes read; *blocked when the master has no
 * more at this moment. A PTY gives 4 KB a read, and more while its other side
 * goes on writing.
 */
static size_t terminal_read_turn(struct terminal *t, bool *blocked)
{
    size_t got = 0;

    *blocked = false;
    while (got < TERMINAL_TURN_BYTES) {
        size_t room = STATE_GUARD_BYTES;
        uint8_t *at = state_ring_tail(t->state, terminal_keep_from(t), &room);
        ssize_t n;

        if (!at)
            break;
        state_ring_guard(t->state, room);
        n = read(t->master_fd, at, room);
        if (n > 0) {
            state_ring_advance(t->state, (size_t)n);
            got += (size_t)n;
            if (got <= TERMINAL_ECHO_BYTES)
                break;
            continue;
        }
        if (n < 0 && errno == EINTR && terminal_interrupted(t))
            continue;
        *blocked = true;
        if (t->is_foul)
            break;
        /* EIO: the last holder of the other side has closed it */
        if (n == 0 || errno != EAGAIN)
            t->is_at_end = true;
        break;
    }
    return got;
}

static void terminal_read(struct terminal *t)
{
    bool blocked, was_at_end = t->is_at_end;
    size_t got = terminal_read_turn(t, &blocked);

    if (got > 0)
        t->verbs->output(t->arg);
    if (t->is_at_end && !was_at_end)
        t->verbs->ended(t->arg);
}

bool terminal_drain(struct terminal *t)
{
    bool blocked = false;
    size_t got, all = 0;

    if (t->master_fd < 0 || t->is_at_end)
        return true;
    do {
        got = terminal_read_turn(t, &blocked);
        all += got;
        if (got > 0)
            t->verbs->output(t->arg);
    } while (got > 0 && !blocked && all < TERMINAL_DRAIN_BYTES);
    terminal_rearm(t);
    return blocked;
}

/* Bytes from the front that may go in one write: up to an interrupt that
 * was delivered ahead. */
static size_t terminal_input_run(const struct terminal *t)
{
    uint64_t next = t->state->head->input_received;

    if (t->intr_count > 0 && t->intr_at[0] - next < t->in_len)
        return (size_t)(t->intr_at[0] - next);
    return t->in_len;
}

static void terminal_input_took(struct terminal *t, size_t n)
{
    t->state->head->input_received += n;
    t->in_len -= n;
    if (t->in_len > 0)
        memmove(t->in, t->in + n, t->in_len);
}

/* Returns whether input_received moved. */
static bool terminal_write(struct terminal *t)
{
    bool moved = false;

    while (t->in_len > 0 && t->master_fd >= 0) {
        size_t run = terminal_input_run(t);
        ssize_t n;

        if (run == 0) { /* delivered as a signal already */
            t->intr_count--;
            memmove(t->intr_at, t->intr_at + 1,
                    (size_t)t->intr_count * sizeof(t->intr_at[0]));
            terminal_input_took(t, 1);
            moved = true;
            continue;
        }
        n = write(t->master_fd, t->in, run);
        if (n < 0 && errno == EINTR && terminal_interrupted(t))
            continue;
        if (n <= 0) {
            t->is_input_blocked = true;
            break;
        }
        terminal_input_took(t, (size_t)n);
        moved = true;
    }
    if (t->in_len == 0)
        t->is_input_blocked = false;
    return moved;
}

static void terminal_ready(void *arg, int events)
{
    struct terminal *t = arg;

    /* typed bytes first: an echo is what a person waits for */
    if ((events & LOOP_WRITE) && terminal_write(t))
        t->verbs->input(t->arg);
    if (t->watch && (events & (LOOP_READ | LOOP_HANGUP)))
        terminal_read(t);
    terminal_rearm(t);
}

void terminal_hold(struct terminal *t, bool hold)
{
    t->hold = hold;
    terminal_rearm(t);
}

void terminal_acked(struct terminal *t)
{
    terminal_rearm(t);
}

/* Which signal, if any, does this byte stand for on this terminal now? */
static int terminal_intr_of(const struct termios *tio, uint8_t byte)
{
    if (byte == _POSIX_VDISABLE)
        return 0;
    if (byte == tio->c_cc[VINTR])
        return SIGINT;
    if (byte == tio->c_cc[VQUIT])
        return SIGQUIT;
    return 0;
}

/* Input is stuck: find interrupts among the new bytes, deliver each now, and
 * note where it stood so that it is not written a second time. */
static void terminal_intr_ahead(struct terminal *t, size_t new_len)
{
    struct termios tio;
    uint64_t base = t->state->head->input_received;

    if (tcgetattr(t->master_fd, &tio) < 0 || !(tio.c_lflag & ISIG))
        return;
    for (size_t i = t->in_len - new_len; i < t->in_len; i++) {
        int signum = terminal_intr_of(&tio, t->in[i]);

        if (signum && t->intr_count < TERMINAL_INTR_MAX &&
            terminal_signal(t, signum) == 0)
            t->intr_at[t->intr_count++] = base + i;
    }
}

int terminal_input(struct terminal *t, uint64_t offset, const uint8_t *bytes,
                   size_t len, struct err *e)
{
    uint64_t next = t->state->head->input_received + t->in_len;
    size_t skip;

    if (offset > next)
        return err_set(e, ERR_INPUT, "INPUT at %llu leaves a gap: %llu is next",
                       (unsigned long long)offset, (unsigned long long)next);
    if (next - offset >= len)
        return 0;
    skip = (size_t)(next - offset);
    bytes += skip;
    len -= skip;
    if (len > t->in_cap - t->in_len)
        return err_set(e, ERR_INPUT,
                       "more than %zu bytes of INPUT not acknowledged",
                       t->in_cap);
    if (!t->in)
        t->in = mem_zero(t->in_cap, 1);
    memcpy(t->in + t->in_len, bytes, len);
    t->in_len += len;
    if (t->master_fd >= 0) {
        if (terminal_write(t))
            t->verbs->input(t->arg);
        if (t->is_input_blocked)
            terminal_intr_ahead(t, len < t->in_len ? len : t->in_len);
        terminal_rearm(t);
    }
    return 0;
}

void terminal_input_forget(struct terminal *t)
{
    t->in_len = 0;
    t->intr_count = 0;
    t->is_input_blocked = false;
    terminal_rearm(t);
}

void terminal_resize(struct terminal *t, uint16_t cols, uint16_t rows)
{
    struct winsize size = {.ws_row = rows, .ws_col = cols};

    if (t->master_fd >= 0 && cols && rows)
        ioctl(t->master_fd, TIOCSWINSZ, &size);
}

int terminal_signal(struct terminal *t, int signum)
{
    if (t->master_fd < 0 || (signum != SIGINT && signum != SIGQUIT))
        return -1;
    return ioctl(t->master_fd, TIOCSIG, signum) < 0 ? -1 : 0;
}
