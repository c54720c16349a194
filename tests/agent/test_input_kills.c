/*
 * Typed bytes on their way while the agent is killed: none is lost, none comes
 * out of order, what waits in its window comes once. Only the one write(2)
 * that was under way may come twice, as one run (docs/decisions.md).
 */
#include "agent/supervisor.h"
#include "base/loop.h"
#include "base/mem.h"
#include "tests/lib/onebox.h"
#include "tests/lib/seed.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define READY "ready\n"
#define READY_LEN (sizeof(READY) - 1)
#define KILLS 15 /* of one agent: its supervisor gives up later */
#define WAITING_KILLS 6
#define GOES_AFTER 30000 /* bytes, at most, between two kills */
#define READ_MS 20000    /* the slow program is through with the rest */
#define SURE 16          /* so many bytes tell a place in the stream */
#define SEEN_MAX (16u << 20)

_Static_assert(KILLS < SUPERVISOR_RESTARTS_MAX, "the supervisor gives up");

/* They say what they read; the second takes little at a time, so that the
 * window stays full; the third nothing until it is interrupted. */
#define READS "stty raw -echo; echo ready; exec cat"
#define READS_SLOWLY                                                           \
    "stty raw -echo; echo ready; "                                             \
    "while dd bs=512 count=1 status=none; do :; done"
#define READS_LATE                                                             \
    "stty raw -echo noflsh; trap : INT; echo ready; sleep 1000; exec cat"

/* What the program read, and from where each life of the agent went on. */
static struct seen {
    uint8_t *bytes;
    size_t len;
    uint64_t from[KILLS];
    int kills;
} seen;

static int setup(void **state)
{
    (void)state;
    seen = (struct seen){.bytes = mem_zero(SEEN_MAX, 1)};
    return 0;
}

static int teardown(void **state)
{
    free(seen.bytes);
    return box_teardown(state);
}

static void seen_take(void *arg, uint64_t offset, const uint8_t *p, size_t len)
{
    size_t skip = offset < READY_LEN ? READY_LEN - (size_t)offset : 0;

    (void)arg;
    if (skip >= len)
        return;
    assert_true(seen.len + len <= SEEN_MAX);
    memcpy(seen.bytes + seen.len, p + skip, len - skip);
    seen.len += len - skip;
}

/* The stream of typed bytes: SURE of them are found nowhere else. */
static uint8_t typed_byte(uint64_t at)
{
    uint64_t x = (at + 1) * 0x9E3779B97F4A7C15u;

    x = (x ^ x >> 31) * 0xBF58476D1CE4E5B9u;
    return (uint8_t)(x >> 56);
}

static size_t typed_matches(size_t seen_at, uint64_t at)
{
    size_t n = 0;

    while (seen_at + n < seen.len &&
           seen.bytes[seen_at + n] == typed_byte(at + n))
        n++;
    return n;
}

/* As much as the window takes, at most `most`. */
static void type_on(struct agentlink *l, size_t most)
{
    uint8_t bytes[4096];
    uint64_t room = l->input_acked + l->input_window - l->typed;
    size_t n = most < sizeof(bytes) ? most : sizeof(bytes);

    if (n > room)
        n = (size_t)room;
    for (size_t i = 0; i < n; i++)
        bytes[i] = typed_byte(l->typed + i);
    if (n > 0)
        agentlink_type(l, bytes, n);
}

static struct agentlink *begin(const char *script)
{
    struct agentlink *l = box_owner(script, NULL);

    agentlink_to(l, READY_LEN, MS);
    l->take = seen_take;
    l->peer->may_die = true;
    return l;
}

/* Kill the agent, take in what was on the wire, attach again. */
static struct agentlink *kill_agent(struct agentlink *l)
{
    uint64_t had, typed = l->typed;

    assert_int_equal(kill(agentbox_main(box, 0), SIGKILL), 0);
    agentlink_run(l, MS);
    assert_true(l->is_over);
    had = l->output;
    agentlink_free(l);
    l = box_again(had);
    l->take = seen_take;
    l->peer->may_die = true;
    assert_int_equal(l->output_from, had);
    assert_true(l->typed <= typed); /* what was never typed is not counted */
    seen.from[seen.kills++] = l->typed;
    return l;
}

/* Type the rest up to `end`, until the program has said the last of it. */
static struct agentlink *finish(struct agentlink *l, uint64_t end)
{
    static const size_t tail = 2 * SURE;
    int64_t until = loop_now_ms() + READ_MS;

    while (loop_now_ms() < until && !l->is_over) {
        if (l->typed < end)
            type_on(l, (size_t)(end - l->typed));
        if (l->input_acked == end && seen.len >= tail &&
            typed_matches(seen.len - tail, end - tail) == tail)
            return l;
        agentlink_next(l, 1);
    }
    fail_msg("typed %llu of %llu, the program said %zu bytes",
             (unsigned long long)l->input_acked, (unsigned long long)end,
             seen.len);
    return l;
}

/* At `at` in what was seen the stream does not go on at `typed`: a kill after
 * the `*kill`th led back to where its agent went on. How many bytes the seen
 * ones match that place already. */
static size_t led_back(size_t at, uint64_t typed, int *kill_no)
{
    for (; *kill_no < seen.kills; ++*kill_no)
        for (size_t had = 0; had < SURE && had <= at; had++)
            if (seen.from[*kill_no] < typed - had &&
                typed_matches(at - had, seen.from[*kill_no]) >= SURE)
                return had;
    fail_msg("lost or out of order: byte %zu that was read is not typed byte "
             "%llu, nor where an agent went on",
             at, (unsigned long long)typed);
    return 0;
}

/* All that was typed was read, in order; how many kills doubled a run. */
static int check(uint64_t end, uint64_t window)
{
    uint64_t typed = 0;
    size_t at = 0;
    int doubled = 0, kill_no = 0;

    for (;;) {
        size_t n = typed_matches(at, typed), back;

        at += n;
        typed += n;
        if (at == seen.len)
            break;
        back = led_back(at, typed, &kill_no);
        /* one write is of what the window held */
        assert_in_range(typed - back - seen.from[kill_no], 1, window);
        print_message("kill %d: %llu bytes came twice\n", kill_no + 1,
                      (unsigned long long)(typed - back - seen.from[kill_no]));
        at -= back;
        typed = seen.from[kill_no++];
        doubled++;
    }
    assert_int_equal(typed, end);
    return doubled;
}

/* Type without a pause, kill at any moment of that. */
static void kill_while_typing(const char *script)
{
    struct agentlink *l = begin(script);
    uint64_t end, window = l->input_window;
    int waiting = 0, doubled;

    seed_random();
    while (seen.kills < KILLS) {
        uint64_t next = l->typed + (uint64_t)(rand() % GOES_AFTER);
        int64_t until = loop_now_ms() + 1 + rand() % 200;

        while (loop_now_ms() < until && (l->typed < next || rand() % 4)) {
            type_on(l, 1 + (size_t)rand() % 4096);
            agentlink_next(l, rand() % 2);
        }
        type_on(l, 4096);
        waiting += l->input_acked < l->typed;
        l = kill_agent(l);
    }
    end = l->typed + window;
    l = finish(l, end);
    doubled = check(end, window);
    print_message("%d kills, %d with input on its way, %d with a write that "
                  "came twice\n",
                  seen.kills, waiting, doubled);
    assert_true(waiting >= KILLS / 2);
    assert_true(doubled < KILLS); /* few kills find a write under way */
    agentlink_free(l);
}

static void typing_survives_kills_in_order_and_without_loss(void **state)
{
    (void)state;
    kill_while_typing(READS);
}

static void
typing_to_a_slow_reader_survives_kills_in_order_and_without_loss(void **state)
{
    (void)state;
    kill_while_typing(READS_SLOWLY);
}

/* Type until the terminal takes no more and the window is full behind it: the
 * agent then waits, no write is under way. */
static void fill(struct agentlink *l)
{
    uint64_t acked;

    do {
        acked = l->input_acked;
        while (l->typed < l->input_acked + l->input_window)
            type_on(l, SIZE_MAX);
        agentlink_ping(l, l->typed);
        agentlink_until(l, FRAME_PONG, MS); /* it has seen all of that */
        agentlink_run(l, QUIET_MS);
    } while (l->input_acked != acked ||
             l->typed < l->input_acked + l->input_window);
}

static void what_waits_in_the_window_comes_once_over_any_kill(void **state)
{
    struct agentlink *l;
    uint64_t end;

    (void)state;
    l = begin(READS_LATE);
    for (int i = 0; i < WAITING_KILLS; i++) {
        fill(l);
        assert_int_equal(l->typed - l->input_acked, l->input_window);
        l = kill_agent(l);
    }
    fill(l);
    end = l->typed;
    agentlink_signal(l, FRAME_SIG_INT);
    l = finish(l, end);
    assert_int_equal(check(end, l->input_window), 0);
    assert_int_equal(seen.len, end);
    agentlink_free(l);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(typing_survives_kills_in_order_and_without_loss),
        T(typing_to_a_slow_reader_survives_kills_in_order_and_without_loss),
        T(what_waits_in_the_window_comes_once_over_any_kill),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
