/*
 * Who does not read costs no process more than its stated buffer, loses
 * nothing, and can still be interrupted and ended.
 */
#include "base/digest.h"
#include "base/frame.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "gateway/wsframe.h"
#include "tests/lib/cost.h"
#include "tests/lib/direct.h"
#include "tests/lib/stackproc.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STALL_MS 30000
#define STALL_QUIET_MS 3000    /* no growth for so long: all buffers are full */
#define STALL_SETTLED_MS 20000 /* on a loaded machine */
#define END_MS 5000            /* Ctrl-C, or END: HUP, 2 s, KILL */
#define FLOOD_BYTES (24u << 20)
#define PASTE_BYTES (1u << 20)

/* What is stated: the agent's ring, window under way and input window; a leg
 * of the gateway holds what one read of the other gave (192 KiB). The rest is
 * room for stacks and heaps that warm up. */
#define AGENT_COST_KIB (1024 + 256 + 64 + 512)
#define GATEWAY_COST_KIB (2 * 192 + 256)
#define PASTE_COST_KIB (64 + 256) /* the input window, as stated */
#define STEADY_KIB 128            /* growth while nothing moves */

static struct stack *stack;

static int setup(void **arg)
{
    static const char *const more[] = {"--", "--quota=100", NULL};

    (void)arg;
    stack = stack_new(more);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    stack_free(stack);
    return 0;
}

/* --- the flood: numbered lines, made here and there --- */

static const char flood_script[] = "stty raw -echo\n"
                                   "printf .\n"
                                   "read -r go\n"
                                   "seq 1 100000000 | head -c 25165824\n"
                                   "read -r go\n"
                                   "exit 4\n";

/* The same, but Ctrl-C ends the flood, and silence follows. */
static const char stopped_script[] = "trap 'exec sleep 4242' INT\n"
                                     "stty -icanon -echo -ixon -opost noflsh\n"
                                     "printf .\n"
                                     "read -r go\n"
                                     "seq 1 100000000 | head -c 25165824\n"
                                     "exit 4\n";

struct flood {
    uint64_t bytes; /* checked so far */
    unsigned number;
    char line[16]; /* the rest of the line under way */
    size_t at, len;
};

static void flood_take(void *arg, const uint8_t *p, size_t len)
{
    struct flood *f = arg;

    for (size_t i = 0; i < len; i++) {
        if (f->at == f->len) {
            f->len =
                (size_t)snprintf(f->line, sizeof(f->line), "%u\n", ++f->number);
            f->at = 0;
        }
        if (p[i] != (uint8_t)f->line[f->at++])
            fail_msg("another byte than was sent at %llu",
                     (unsigned long long)(f->bytes + i));
    }
    f->bytes += len;
}

/* Type the line the script waits for, at the first or second place. */
static void go(struct stack_link *l, uint64_t place)
{
    stack_type(l, place, "\n", 1);
}

static void until_byte(struct stack_link *l, struct flood *f, uint64_t bytes)
{
    while (f->bytes < bytes)
        assert_true(stack_pump(l, flood_take, f, true));
}

static void until_exit(struct stack_link *l)
{
    while (!l->is_ended)
        assert_true(stack_pump(l, NULL, NULL, true));
}

static void start(const char *name, const char *script, const char *more,
                  struct stack_session *ss, struct stack_link *l)
{
    struct stack_bundle b;

    stack_pack(stack, name, script, &b);
    stack_create(stack, "ann", &b, more, ss);
    assert_true(stack_attach(stack, l, ss->token, 0, 80, 24));
    json_free(stack_wait(stack, "ann", ss->sid, "running", 10000));
}

/* The first byte is said by a program whose terminal is raw by now. */
static void start_flood(const char *name, const char *script, const char *more,
                        struct stack_session *ss, struct stack_link *l)
{
    start(name, script, more, ss, l);
    while (l->output < 1)
        assert_true(stack_pump(l, NULL, NULL, true));
}

/* After EXIT: let the agent close, and see the record closed. */
static void ended(struct stack_session *ss, struct stack_link *l,
                  const char *reason)
{
    own_json struct json *j = NULL;

    while (stack_pump(l, NULL, NULL, true))
        ;
    stack_cut(l);
    j = stack_wait(stack, "ann", ss->sid, "ended", 10000);
    assert_string_equal(json_get_str(j, "reason"), reason);
    stack_session_fini(ss);
}

/* Is a process of the session this one by now? */
static void wait_process(const struct stack_session *ss, const char *line)
{
    int64_t until = loop_now_ms() + END_MS;

    for (;;) {
        pid_t pids[64];
        int n = stackproc_session(stack, ss->sid, pids, 64);

        for (int i = 0; i < n; i++) {
            char text[512];

            if (stackproc_cmdline(pids[i], text, sizeof(text)) &&
                strcmp(text, line) == 0)
                return;
        }
        if (loop_now_ms() > until)
            fail_msg("no \"%s\" within %d ms", line, END_MS);
        poll(NULL, 0, 10);
    }
}

/* Not a byte has been read for as long; Ctrl-C and END work all the same, and
 * what was written before them comes. */
static void interrupt_and_end_unread(struct stack_session *ss,
                                     struct stack_link *l, struct flood *f)
{
    int64_t until = loop_now_ms() + END_MS;

    stack_type(l, 1, "\3", 1);
    wait_process(ss, "sleep 4242");
    wspeer_binary(l->peer, FRAME_END, "");
    while (stackproc_find(stack, ss->sid, PART_PROGRAM)) {
        if (loop_now_ms() > until)
            fail_msg("the program is there %d ms after END", END_MS);
        poll(NULL, 0, 10);
    }
    while (!l->is_ended)
        assert_true(stack_pump(l, flood_take, f, true));
    assert_string_equal(l->reason, "deleted");
    assert_true(f->bytes >= l->window && f->bytes < FLOOD_BYTES);
    ended(ss, l, "deleted");
}

static void a_client_deaf_for_30_s_costs_little_and_loses_nothing(void **arg)
{
    struct stack_session ss, other;
    struct stack_link l = {0}, l2 = {0};
    struct flood f = {0}, f2 = {0};
    struct cost all, settled;

    (void)arg;
    start_flood("stopped", stopped_script, "", &other, &l2);
    start_flood("flood", flood_script, "", &ss, &l);
    cost_begin(&all, stack, ss.sid);
    go(&l2, 0); /* of this one nothing is read at all */
    go(&l, 0);
    until_byte(&l, &f, 1 << 20);
    cost_begin(&settled, stack, ss.sid);
    cost_settle(&settled, STALL_QUIET_MS, STALL_SETTLED_MS);
    poll(NULL, 0, STALL_MS - STALL_QUIET_MS);
    cost_within(&settled, STEADY_KIB, STEADY_KIB);
    cost_within(&all, 2 * GATEWAY_COST_KIB, AGENT_COST_KIB);
    interrupt_and_end_unread(&other, &l2, &f2);

    /* the same connection goes on */
    until_byte(&l, &f, FLOOD_BYTES);
    assert_int_equal(f.bytes, FLOOD_BYTES);
    cost_within(&all, 2 * GATEWAY_COST_KIB, AGENT_COST_KIB);
    go(&l, 1);
    until_exit(&l);
    assert_int_equal(l.exit_code, 4);
    assert_int_equal(l.output, 1 + FLOOD_BYTES);
    ended(&ss, &l, "exited");
}

/* Reads nothing, but says it did, so that the window holds nobody back: then
 * the kernel's buffers fill, the gateway's, and only then the agent waits. */
static void
a_client_that_acknowledges_what_it_does_not_read_costs_no_more(void **arg)
{
    struct stack_session ss;
    struct stack_link l = {0};
    struct flood f = {0};
    struct direct d;
    struct cost all;
    uint64_t sent = 0, before;
    int still = 0;

    (void)arg;
    start_flood("blind", flood_script, "", &ss, &l);
    direct_find(stack, ss.sid, &d);
    cost_begin(&all, stack, ss.sid);
    go(&l, 0);
    while (still < 20) {
        struct stack_link ahead = {.peer = l.peer};

        before = sent;
        sent = ahead.output =
            direct_metric(&d, "podterm_agent_output_bytes_total");
        stack_ack(&ahead);
        poll(NULL, 0, 20);
        still = sent == before ? still + 1 : 0;
    }
    assert_true(sent < FLOOD_BYTES); /* the program waits */
    assert_true(sent > 2 * l.window);
    cost_within(&all, GATEWAY_COST_KIB, AGENT_COST_KIB);
    while (f.bytes < FLOOD_BYTES)
        assert_true(
            stack_pump(&l, flood_take, &f, l.output + l.window >= sent));
    go(&l, 1);
    until_exit(&l);
    ended(&ss, &l, "exited");
}

/* How long an owner needs for a flood, milliseconds. */
static int64_t read_flood(struct stack_link *l)
{
    struct flood f = {0};
    int64_t from = loop_now_ms();

    go(l, 0);
    until_byte(l, &f, FLOOD_BYTES);
    return loop_now_ms() - from;
}

/* A viewer reads until it has seen the stream to this end. Returns how often
 * it jumped. */
static int view_to(struct stack_link *l, uint64_t end)
{
    int jumps = 0;

    while (l->output < end) {
        struct wsmsg m;
        struct frame f;

        assert_true(wspeer_recv(l->peer, &m));
        if (m.opcode != WSFRAME_BINARY)
            continue;
        assert_int_equal(frame_parse(m.bytes, m.len, false, &f), 0);
        if (f.type != FRAME_OUTPUT)
            continue;
        assert_true(f.offset >= l->output);
        jumps += f.offset > l->output;
        l->output = f.offset + f.body_len;
        stack_ack(l);
    }
    return jumps;
}

static void a_stalled_viewer_does_not_slow_the_owner(void **arg)
{
    struct stack_session ss;
    struct stack_link l = {0}, viewer = {0};
    own_mem char *token = NULL;
    struct cost all;
    int64_t alone, beside;

    (void)arg;
    start_flood("alone", flood_script, "", &ss, &l);
    alone = read_flood(&l);
    go(&l, 1);
    until_exit(&l);
    ended(&ss, &l, "exited");

    memset(&l, 0, sizeof(l));
    start_flood("beside", flood_script, ",\"viewers\":[\"vic\"]", &ss, &l);
    token = stack_token(stack, "vic", ss.sid, "viewer", NULL);
    assert_non_null(token);
    assert_true(stack_attach(stack, &viewer, token, 0, 0, 0));
    cost_begin(&all, stack, ss.sid);
    beside = read_flood(&l); /* the viewer reads nothing at all */
    cost_within(&all, 2 * GATEWAY_COST_KIB, AGENT_COST_KIB);
    if (beside > 2 * alone + 1000)
        fail_msg("%lld ms beside a stalled viewer, %lld ms without",
                 (long long)beside, (long long)alone);

    assert_true(view_to(&viewer, 1 + FLOOD_BYTES) > 0);
    assert_int_equal(viewer.output, 1 + FLOOD_BYTES);
    stack_cut(&viewer);
    go(&l, 1);
    until_exit(&l);
    ended(&ss, &l, "exited");
}

/* --- a program that does not read --- */

/* Reads what was pasted only when Ctrl-C has come twice. */
static const char deaf[] = "n=0\n"
                           "trap 'n=$((n + 1)); echo interrupted' INT\n"
                           "stty -icanon -echo -ixon -icrnl noflsh\n"
                           "echo ready\n"
                           "while [ $n -lt 2 ]; do sleep 0.1; done\n"
                           "head -c 1048576 | sha256sum\n"
                           "sleep 1000\n";

struct said {
    char text[4096];
    size_t len;
};

static void said_take(void *arg, const uint8_t *p, size_t len)
{
    struct said *s = arg;

    assert_true(s->len + len < sizeof(s->text));
    memcpy(s->text + s->len, p, len);
    s->len += len;
    s->text[s->len] = 0;
}

/* Read on until the program has said it, this many times. */
static void until_said(struct stack_link *l, struct said *s, const char *what,
                       int times)
{
    for (;;) {
        int n = 0;

        for (const char *at = s->text; (at = strstr(at, what)); at++)
            n++;
        if (n >= times)
            return;
        assert_true(stack_pump(l, said_take, s, true));
    }
}

static uint8_t pasted_byte(uint64_t at)
{
    return (uint8_t)('a' + (at * 17 + at / 251) % 26);
}

/* Type from *typed on as far as the window goes, `spare` bytes less. */
static void paste_on(struct stack_link *l, uint64_t *typed, uint64_t end,
                     uint64_t spare)
{
    static uint8_t bytes[FRAME_INPUT_BYTES_MAX];
    uint64_t limit = l->input_acked + l->input_window - spare;

    if (limit > end)
        limit = end;
    while (*typed < limit) {
        size_t n = 0;

        while (n < sizeof(bytes) && *typed + n < limit) {
            bytes[n] = pasted_byte(*typed + n);
            n++;
        }
        stack_type(l, *typed, bytes, n);
        *typed += n;
    }
}

/* Messages until none comes for a while. */
static void pump_quiet(struct stack_link *l, struct said *s, uint64_t *typed,
                       uint64_t spare)
{
    while (l->peer->in_len > 0 || wspeer_more(l->peer, 500) > 0) {
        assert_true(stack_pump(l, said_take, s, true));
        paste_on(l, typed, PASTE_BYTES, spare);
    }
}

static void expect_digest(const struct said *s)
{
    uint8_t *all = mem_zero(PASTE_BYTES, 1), sum[SHA256_BYTES];
    char hex[65];

    for (uint64_t i = 0; i < PASTE_BYTES; i++)
        all[i] = pasted_byte(i);
    sha256(all, PASTE_BYTES, sum);
    free(all);
    hex_encode(sum, sizeof(sum), hex);
    if (!strstr(s->text, hex))
        fail_msg("not %s but: %s", hex, s->text);
}

static void
a_paste_nobody_reads_is_bounded_interruptible_and_arrives_once(void **arg)
{
    static const uint8_t interrupt[2] = {FRAME_SIGNAL, FRAME_SIG_INT};
    struct stack_session ss;
    struct stack_link l = {0};
    struct said said = {0};
    uint64_t typed = 0, accepted;
    struct cost all;

    (void)arg;
    start("deaf", deaf, "", &ss, &l);
    until_said(&l, &said, "ready", 1);
    cost_begin(&all, stack, ss.sid);
    /* one byte of the window is kept for Ctrl-C */
    paste_on(&l, &typed, PASTE_BYTES, 1);
    pump_quiet(&l, &said, &typed, 1);
    assert_true(typed < PASTE_BYTES / 2);
    assert_int_equal(typed, l.input_acked + l.input_window - 1);
    cost_within(&all, GATEWAY_COST_KIB, PASTE_COST_KIB);

    wspeer_send(l.peer, WSFRAME_BINARY, interrupt, sizeof(interrupt));
    until_said(&l, &said, "interrupted", 1);
    accepted = l.input_acked;
    stack_type(&l, typed, "\3", 1); /* behind all that waits */
    until_said(&l, &said, "interrupted", 2);

    /* the program reads now; what was typed is one byte further on, since
     * Ctrl-C counted as input */
    assert_true(typed >= accepted);
    while (!strstr(said.text, "  -")) {
        static uint8_t bytes[FRAME_INPUT_BYTES_MAX];
        uint64_t limit = l.input_acked + l.input_window, n = 0;

        while (typed + n < PASTE_BYTES && typed + 1 + n < limit &&
               n < sizeof(bytes)) {
            bytes[n] = pasted_byte(typed + n);
            n++;
        }
        if (n > 0)
            stack_type(&l, typed + 1, bytes, n);
        typed += n;
        assert_true(stack_pump(&l, said_take, &said, true));
    }
    expect_digest(&said);
    cost_within(&all, GATEWAY_COST_KIB, PASTE_COST_KIB);

    wspeer_binary(l.peer, FRAME_END, "");
    until_exit(&l);
    assert_string_equal(l.reason, "deleted");
    ended(&ss, &l, "deleted");
}

static void end_works_while_a_paste_waits(void **arg)
{
    struct stack_session ss;
    struct stack_link l = {0};
    struct said said = {0};
    uint64_t typed = 0;
    int64_t from;

    (void)arg;
    start("end",
          "trap '' INT HUP TERM\nstty raw -echo\necho ready\n"
          "while :; do sleep 1000; done\n",
          "", &ss, &l);
    until_said(&l, &said, "ready", 1);
    paste_on(&l, &typed, PASTE_BYTES, 0);
    pump_quiet(&l, &said, &typed, 0);
    assert_int_equal(typed, l.input_acked + l.input_window);
    from = loop_now_ms();
    wspeer_binary(l.peer, FRAME_END, "");
    until_exit(&l);
    assert_string_equal(l.reason, "deleted");
    assert_true(loop_now_ms() - from < END_MS);
    ended(&ss, &l, "deleted");
}

/* --- clients that break the window --- */

/* Attach again and end it. */
static void end_session(struct stack_session *ss, struct stack_link *l)
{
    own_mem char *token = stack_token(stack, "ann", ss->sid, "owner", NULL);

    assert_true(stack_attach(stack, l, token, (int64_t)l->output, 0, 0));
    wspeer_binary(l->peer, FRAME_END, "");
    until_exit(l);
    ended(ss, l, "deleted");
}

static void a_client_that_breaks_the_window_is_refused(void **arg)
{
    struct stack_session ss;
    struct stack_link l = {0};
    struct said said = {0};
    own_mem char *token = NULL;
    uint64_t typed = 0;

    (void)arg;
    start("broken", deaf, "", &ss, &l);
    until_said(&l, &said, "ready", 1);
    paste_on(&l, &typed, PASTE_BYTES, 0);
    pump_quiet(&l, &said, &typed, 0);
    assert_true(typed < PASTE_BYTES);
    assert_int_equal(typed, l.input_acked + l.input_window);
    stack_type(&l, typed, "x", 1);
    direct_refused(l.peer, "bad_request", 4400);

    /* the session goes on */
    token = stack_token(stack, "ann", ss.sid, "owner", NULL);
    assert_true(stack_attach(stack, &l, token, (int64_t)l.output, 0, 0));
    assert_true(l.input_acked < typed);
    stack_type(&l, l.input_acked + 1, "x", 1); /* a gap */
    direct_refused(l.peer, "bad_request", 4400);
    end_session(&ss, &l);
}

static void a_client_that_acknowledges_what_was_not_sent_is_refused(void **arg)
{
    struct stack_session ss;
    struct stack_link l = {0};
    struct said said = {0};

    (void)arg;
    start("ahead", "stty raw -echo\necho ready\nsleep 1000\n", "", &ss, &l);
    until_said(&l, &said, "ready", 1);
    l.output++;
    stack_ack(&l);
    direct_refused(l.peer, "bad_request", 4400);
    l.output--;
    end_session(&ss, &l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_deaf_for_30_s_costs_little_and_loses_nothing),
        cmocka_unit_test(
            a_client_that_acknowledges_what_it_does_not_read_costs_no_more),
        cmocka_unit_test(a_stalled_viewer_does_not_slow_the_owner),
        cmocka_unit_test(
            a_paste_nobody_reads_is_bounded_interruptible_and_arrives_once),
        cmocka_unit_test(end_works_while_a_paste_waits),
        cmocka_unit_test(a_client_that_breaks_the_window_is_refused),
        cmocka_unit_test(
            a_client_that_acknowledges_what_was_not_sent_is_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
