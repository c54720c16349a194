/*
 * The bytes of a session: stdin to INPUT, OUTPUT to stdout, and what goes
 * beside them (acknowledgements, signals, the size).
 *
 * Streaming: at the end of stdin the program gets the end-of-file character
 * of a terminal, once all before it was acknowledged; twice when the last line
 * was not ended, as the first only hands that line over.
 *
 * Interrupt characters go to the program in order like any other. One that
 * does not fit into the window would wait for a program that does not read:
 * it is left out and sent as SIGNAL instead, with a PING behind it. SIGNAL has
 * no offset: if the connection ends before that PING is answered it is sent
 * once more, so it may then be delivered twice but is never lost.
 */
#include "client/attach_internal.h"
#include "client/aside.h"
#include "client/command.h"
#include "client/tty.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CHAR_EOF 0x04
#define ATTACH_PROBE_MS 1000 /* nothing came for so long: ask */
#define ATTACH_SLOW_MS 4000  /* and for so long: tell */
#define ATTACH_NARROW_MS 100 /* a program looks at its size meanwhile */

void attach_want(struct attach *a)
{
    if (a->leg && a->link.is_ready)
        leg_want(a->leg);
}

/* --- is it answered? --- */

void attach_heard(struct attach *a)
{
    a->heard_ms = loop_now_ms();
    if (a->is_slow_told && !a->is_lost_told)
        attach_aside_over(a);
    a->is_slow_told = false;
}

/* Something is typed and not acknowledged: a program that does not read keeps
 * it waiting too, but then a PING is answered. */
static void attach_probe(void *arg)
{
    struct attach *a = arg;
    const int64_t quiet_ms = loop_now_ms() - a->heard_ms;

    attach_timer_off(&a->probe);
    if (!a->leg || !a->link.is_ready || link_is_idle(&a->link) ||
        a->is_leaving || a->has_end)
        return;
    attach_after(a, &a->probe, ATTACH_PROBE_MS, attach_probe);
    if (quiet_ms >= ATTACH_PROBE_MS && a->ping == a->ping_sent) {
        a->ping++;
        attach_want(a);
    }
    if (quiet_ms < ATTACH_SLOW_MS || !sink_is_at_rest(a->sink))
        return;
    a->is_slow_told = true;
    progress_slow(a->conf->progress, quiet_ms, a->escape.key);
    attach_aside(a);
}

static void attach_probe_on(struct attach *a)
{
    if (a->probe || !a->is_tty)
        return;
    a->heard_ms = loop_now_ms(); /* before that nobody was to answer */
    attach_after(a, &a->probe, ATTACH_PROBE_MS, attach_probe);
}

/* --- what is sent --- */

static bool attach_write(struct attach *a, size_t len)
{
    ws_write(a->leg->conn, a->out + WS_PRE, len);
    return true;
}

static bool attach_write_signal(struct attach *a)
{
    uint8_t *at = a->out + WS_PRE;

    for (unsigned s = FRAME_SIG_INT; s <= FRAME_SIG_KILL; s++)
        if (a->signals_due & 1u << s) {
            a->signals_due &= ~(1u << s);
            a->signals_sent |= 1u << s;
            a->ping++;
            at[frame_head(at, FRAME_SIGNAL)] = (uint8_t)s;
            return attach_write(a, 2);
        }
    if (a->ping_sent != a->ping) {
        a->ping_sent = a->ping;
        return attach_write(a, frame_head_offset(at, FRAME_PING, a->ping));
    }
    return false;
}

static bool attach_write_small(struct attach *a)
{
    uint8_t *at = a->out + WS_PRE;
    uint64_t offset;

    if (a->is_size_due) {
        a->is_size_due = false;
        return attach_write(
            a,
            frame_size(at, FRAME_RESIZE,
                       (uint16_t)(a->cols - (a->is_narrow ? 1 : 0)), a->rows));
    }
    if (link_ack(&a->link, &offset))
        return attach_write(a, frame_head_offset(at, FRAME_OUTPUT_ACK, offset));
    return false;
}

static bool attach_write_input(struct attach *a)
{
    uint8_t *at = a->out + WS_PRE;
    const uint8_t *bytes;
    uint64_t offset;
    size_t len = link_input(&a->link, &offset, &bytes), head;

    if (len == 0)
        return false;
    head = frame_head_offset(at, FRAME_INPUT, offset);
    memcpy(at + head, bytes, len);
    link_input_sent(&a->link, len);
    attach_probe_on(a);
    return attach_write(a, head + len);
}

void attach_drained(void *arg, struct leg *l)
{
    struct attach *a = arg;

    if (l != a->leg || !a->link.is_ready || a->is_leaving)
        return;
    /* what a person waits for goes first */
    if (attach_write_signal(a) || attach_write_small(a) ||
        attach_write_input(a))
        leg_want(l);
    else
        attach_check(a);
}

/* --- input --- */

static void attach_eof_check(struct attach *a)
{
    static const uint8_t eof[2] = {CHAR_EOF, CHAR_EOF};

    if (!a->is_eof || a->is_eof_sent || !a->link.is_ready ||
        !link_is_idle(&a->link) || a->link.role != ROLE_OWNER)
        return;
    a->is_eof_sent = true;
    link_type(&a->link, eof, a->last_byte == '\n' || a->last_byte == 0 ? 1 : 2);
}

/* A key that is held back has its place. */
static size_t attach_room(const struct attach *a)
{
    size_t room = link_room(&a->link, a->is_tty ? LINK_TYPED_MAX : 0);

    return a->escape.is_held && room > 0 ? room - 1 : room;
}

void attach_flow(struct attach *a)
{
    bool on = a->is_tty ? a->is_begun : a->link.was_ready;

    attach_eof_check(a);
    attach_detach_check(a);
    if (a->source)
        source_want(a->source, on && !a->has_end && !a->is_leaving &&
                                       !a->is_detaching && !a->is_away
                                   ? attach_room(a)
                                   : 0);
    attach_want(a);
}

void attach_signal(struct attach *a, unsigned frame_signal)
{
    a->signals_due |= 1u << frame_signal;
    attach_want(a);
}

void attach_pong(struct attach *a, const struct frame *f)
{
    if (f->offset == a->ping && !a->signals_due)
        a->signals_sent = 0;
}

static void attach_typed(void *arg, const uint8_t *bytes, size_t len)
{
    struct attach *a = arg;

    a->last_byte = bytes[len - 1];
    if (a->is_tty)
        attach_keys(a, bytes, len);
    else
        link_type(&a->link, bytes, len);
    if (!a->is_leaving)
        attach_flow(a);
}

static void attach_eof(void *arg)
{
    struct attach *a = arg;

    a->is_eof = true;
    if (a->is_tty) { /* the terminal is gone */
        attach_part(a, 128 + 1, "the terminal was closed");
        return;
    }
    attach_flow(a);
}

/* --- output --- */

/* May these bytes change how a terminal behaves? An escape, a shift of the
 * character set, or one of C1, which some take as a byte and some as U+0080
 * to U+009F. (Other text has such bytes too: a reset does it no harm.) */
static bool has_controls(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (p[i] == 033 || p[i] == 016 || p[i] == 017 || (p[i] & 0xe0) == 0x80)
            return true;
    return false;
}

/* A terminal we do not read from is left as it was all the same. */
static void attach_screen(struct attach *a, const struct frame *f)
{
    struct err e = {0};

    if (!a->is_screen || !has_controls(f->body, f->body_len))
        return;
    a->is_screen = false;
    tty_screen(STDOUT_FILENO, &e);
}

void attach_output(struct attach *a, struct leg *l, const struct frame *f)
{
    int64_t known = link_output(&a->link, f->offset, f->body_len);

    a->is_started = true;
    attach_begin(a);
    if (a->is_leaving)
        return;
    attach_screen(a, f);
    if (known < 0 ||
        sink_add(a->sink, f->body + known, f->body_len - (size_t)known) < 0) {
        snprintf(l->why, sizeof(l->why), "the server broke the protocol");
        leg_close(l, 1002);
        return;
    }
    /* the credit keeps honest servers below this; a viewer that was moved
     * forward has credit anew */
    if (a->link.queued > a->link.window)
        leg_pause(l, true);
    attach_want(a);
}

static void attach_written(void *arg, size_t len)
{
    struct attach *a = arg;

    link_written(&a->link, len);
    tty_origin(modes_has_origin(sink_modes(a->sink)));
    tty_progress(modes_has_progress(sink_modes(a->sink)));
    if (a->leg && a->leg->is_paused && a->link.queued <= a->link.window / 2)
        leg_pause(a->leg, false);
    attach_want(a);
    attach_check(a);
}

/* Nobody reads stdout any more. */
static void attach_unread(void *arg, int error)
{
    static const uint8_t end[1] = {FRAME_END};
    struct attach *a = arg;
    char text[128];

    if (error == EPIPE || error == ECONNRESET) {
        /* as other programs leave, without a word; and the program that was
         * started for that reader alone ends too */
        if (a->conf->is_ours && !a->has_end) {
            a->wants_end = true;
            if (a->leg && a->link.is_ready)
                leg_send(a->leg, end, sizeof(end));
        }
        attach_leave(a, 128 + 13, NULL);
        return;
    }
    snprintf(text, sizeof(text), "standard output cannot be written (%s)",
             strerror(error));
    attach_part(a, EXIT_PODTERM, text);
}

void attach_resized(struct attach *a)
{
    uint16_t cols, rows;

    if (!a->is_tty || a->link.role != ROLE_OWNER)
        return;
    tty_size(STDOUT_FILENO, &cols, &rows);
    if (cols == a->cols && rows == a->rows)
        return;
    a->cols = cols;
    a->rows = rows;
    a->is_size_due = a->is_resized = true;
    attach_want(a);
}

/* Programs draw when their size is another one, not for being told it. */
static void attach_widen(void *arg)
{
    struct attach *a = arg;

    a->is_narrow = false;
    a->is_size_due = true;
    attach_want(a);
}

void attach_repaint(struct attach *a)
{
    if (!a->is_tty || !a->is_begun || a->link.role != ROLE_OWNER ||
        a->has_end || a->is_leaving || a->cols <= 2)
        return;
    a->is_repaint_due = !a->leg || !a->link.is_ready;
    if (a->is_repaint_due)
        return;
    a->is_narrow = a->is_size_due = true;
    attach_after(a, &a->repaint, ATTACH_NARROW_MS, attach_widen);
    attach_want(a);
}

void attach_away(struct attach *a, bool is_away)
{
    char anew[MODES_ANEW_MAX];
    size_t len = modes_anew(sink_modes(a->sink), anew);

    a->is_away = is_away;
    if (is_away) {
        attach_flow(a);
        sink_hold(a->sink, true);
        return;
    }
    anew[len] = 0;
    aside_write(STDOUT_FILENO, anew);
    sink_hold(a->sink, false);
}

/* A background job that read from its terminal would be stopped. */
static bool attach_may_read(const struct attach *a)
{
    if (a->link.role != ROLE_OWNER && !a->is_tty)
        return false;
    return !isatty(STDIN_FILENO) || tty_is_front(STDIN_FILENO);
}

void attach_source(struct attach *a)
{
    static const struct source_verbs verbs = {attach_typed, attach_eof};

    if (!a->source && attach_may_read(a))
        a->source = source_new(a->loop, STDIN_FILENO, &verbs, a);
}

int attach_streams(struct attach *a)
{
    static const struct sink_verbs sink_verbs = {attach_written, attach_unread};
    const bool is_shown = isatty(STDOUT_FILENO);
    const bool filter = is_shown && !a->conf->is_unfiltered;

    link_init(&a->link, a->conf->role);
    escape_init(&a->escape, a->conf->escape_key);
    a->is_tty = tty_is_terminal(STDIN_FILENO, STDOUT_FILENO);
    a->is_screen = is_shown && !a->is_tty;
    a->sink = sink_new(a->loop, STDOUT_FILENO, filter, &sink_verbs, a);
    attach_source(a);
    if (a->is_tty)
        tty_size(STDOUT_FILENO, &a->cols, &a->rows);
    return 0;
}

void attach_streams_free(struct attach *a)
{
    source_free(a->source);
    sink_free(a->sink);
    link_fini(&a->link);
}
