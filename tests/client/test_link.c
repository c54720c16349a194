/* The two streams of a terminal over any number of connections. */
#include "client/link.h"

#include "base/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define WINDOW 1000
#define INPUT_WINDOW 100

static struct link the_link;

static int setup(void **arg)
{
    *arg = &the_link;
    link_init(&the_link, ROLE_OWNER);
    return 0;
}

static int teardown(void **arg)
{
    link_fini(*arg);
    return 0;
}

static void ready(struct link *l, uint64_t from, uint64_t received)
{
    const struct reply_ready r = {.output_from = from,
                                  .input_received = received,
                                  .window = WINDOW,
                                  .input_window = INPUT_WINDOW};

    link_ready(l, &r);
}

static void type(struct link *l, const char *text)
{
    link_type(l, (const uint8_t *)text, strlen(text));
}

/* Send all that may go; the text of it, and where it began. */
static const char *sent(struct link *l, uint64_t *from)
{
    static char text[LINK_TYPED_MAX];
    size_t len = 0, n;
    uint64_t offset;
    const uint8_t *bytes;

    *from = UINT64_MAX;
    while ((n = link_input(l, &offset, &bytes)) > 0) {
        if (len == 0)
            *from = offset;
        assert_int_equal(offset, *from + len);
        memcpy(text + len, bytes, n);
        len += n;
        link_input_sent(l, n);
    }
    text[len] = 0;
    return text;
}

/* --- output --- */

static void the_first_connection_asks_for_the_oldest_byte(void **arg)
{
    uint64_t from = 77;

    assert_false(link_hello(*arg, &from));
    assert_int_equal(from, 77);
}

static void another_connection_asks_for_what_was_not_written(void **arg)
{
    struct link *l = *arg;
    uint64_t from;

    ready(l, 0, 0);
    assert_int_equal(link_output(l, 0, 300), 0);
    link_written(l, 100);
    link_lost(l);
    assert_true(link_hello(l, &from));
    assert_int_equal(from, 100);
}

static void bytes_that_come_twice_are_dropped(void **arg)
{
    struct link *l = *arg;

    ready(l, 0, 0);
    assert_int_equal(link_output(l, 0, 300), 0);
    link_written(l, 100);
    link_lost(l);
    ready(l, 100, 0);
    assert_int_equal(link_output(l, 100, 150), 150);
    assert_int_equal(link_output(l, 250, 100), 50);
    assert_int_equal(l->next, 350);
    assert_int_equal(l->queued, 250);
}

static void an_owner_takes_no_gap(void **arg)
{
    struct link *l = *arg;

    ready(l, 0, 0);
    assert_int_equal(link_output(l, 0, 10), 0);
    assert_int_equal(link_output(l, 11, 10), -1);
    assert_int_equal(l->next, 10);
}

static void a_viewer_jumps_and_knows_how_far(void **arg)
{
    struct link *l = *arg;

    l->role = ROLE_VIEWER;
    ready(l, 0, 0);
    assert_int_equal(link_output(l, 0, 10), 0);
    assert_int_equal(link_output(l, 500, 10), 0);
    assert_int_equal(link_skipped(l), 490);
    assert_int_equal(link_skipped(l), 0);
    assert_int_equal(l->next, 510);
    assert_int_equal(l->queued, 20);
}

static void more_than_the_window_is_refused(void **arg)
{
    struct link *l = *arg;

    ready(l, 0, 0);
    assert_int_equal(link_output(l, 0, WINDOW), 0);
    assert_int_equal(link_output(l, WINDOW, 1), -1);
}

static void only_what_was_written_is_acknowledged(void **arg)
{
    struct link *l = *arg;
    uint64_t offset = 0;

    ready(l, 0, 0);
    assert_int_equal(link_output(l, 0, WINDOW), 0);
    assert_false(link_ack(l, &offset));
    link_written(l, WINDOW / 4 - 1);
    assert_false(link_ack(l, &offset)); /* not worth a message yet */
    link_written(l, 1);
    assert_true(link_ack(l, &offset));
    assert_int_equal(offset, WINDOW / 4);
    assert_false(link_ack(l, &offset)); /* once */
    link_written(l, WINDOW - WINDOW / 4);
    assert_true(link_ack(l, &offset)); /* all of it */
    assert_int_equal(offset, WINDOW);
}

static void nothing_is_acknowledged_without_a_connection(void **arg)
{
    struct link *l = *arg;
    uint64_t offset = 0;

    ready(l, 0, 0);
    assert_int_equal(link_output(l, 0, 10), 0);
    link_lost(l);
    link_written(l, 10);
    assert_false(link_ack(l, &offset));
}

static void a_connection_is_told_only_of_what_it_brought(void **arg)
{
    struct link *l = *arg;
    uint64_t offset = 0;

    /* MOVE: the older connection went on after the newer one said where it
     * begins */
    ready(l, 0, 0);
    assert_int_equal(link_output(l, 0, 100), 0);
    link_written(l, 100);
    assert_true(link_ack(l, &offset));
    ready(l, 40, 0);
    assert_false(link_ack(l, &offset));
    assert_int_equal(link_output(l, 40, 20), 20);
    assert_true(link_ack(l, &offset));
    assert_int_equal(offset, 60);
    assert_int_equal(link_output(l, 60, 50), 40);
    link_written(l, 10);
    assert_true(link_ack(l, &offset));
    assert_int_equal(offset, 110);
}

static void a_new_connection_holds_no_more_than_the_window(void **arg)
{
    struct link *l = *arg;

    ready(l, 0, 0);
    for (int i = 0; i < 5; i++) {
        /* nothing is written out; each connection starts where that is */
        uint64_t from;

        assert_int_equal(link_output(l, 0, WINDOW) < 0, false);
        assert_int_equal(l->queued, WINDOW);
        link_lost(l);
        assert_true(link_hello(l, &from));
        ready(l, from, 0);
        assert_int_equal(link_output(l, WINDOW, 1), -1);
    }
}

static void what_the_ring_lost_is_told(void **arg)
{
    struct link *l = *arg;
    uint64_t from;

    ready(l, 0, 0);
    assert_int_equal(link_output(l, 0, 100), 0);
    link_written(l, 40);
    link_lost(l);
    ready(l, 5000, 0);
    assert_int_equal(link_skipped(l), 4900);
    assert_int_equal(link_output(l, 5000, 10), 0);
    assert_int_equal(l->queued, 70);
    link_written(l, 70);
    assert_true(link_hello(l, &from));
    assert_int_equal(from, 5010);
    assert_true(link_is_complete(l, 5010));
}

static void a_late_first_connection_skips_nothing(void **arg)
{
    struct link *l = *arg;

    ready(l, 12345, 0); /* podterm attach: what came before was never ours */
    assert_int_equal(link_skipped(l), 0);
    assert_int_equal(link_output(l, 12345, 5), 0);
}

static void complete_is_received_and_written(void **arg)
{
    struct link *l = *arg;

    ready(l, 0, 0);
    assert_int_equal(link_output(l, 0, 100), 0);
    assert_false(link_is_complete(l, 100));
    link_written(l, 100);
    assert_false(link_is_complete(l, 101));
    assert_true(link_is_complete(l, 100));
}

/* --- input --- */

static void input_waits_for_the_first_ready(void **arg)
{
    struct link *l = *arg;
    uint64_t from;

    type(l, "abc");
    assert_string_equal(sent(l, &from), "");
    ready(l, 0, 700); /* somebody typed 700 bytes before us */
    assert_string_equal(sent(l, &from), "abc");
    assert_int_equal(from, 700);
}

static void input_keeps_to_the_window(void **arg)
{
    char text[INPUT_WINDOW + 51];
    struct link *l = *arg;
    uint64_t from;

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    ready(l, 0, 0);
    type(l, text);
    assert_int_equal(strlen(sent(l, &from)), INPUT_WINDOW);
    assert_true(link_is_full(l));
    assert_int_equal(link_room(l, 0), 0);
    assert_int_equal(link_room(l, 60), 10);
    assert_int_equal(link_input_acked(l, 30), 0);
    assert_int_equal(strlen(sent(l, &from)), 30);
    assert_int_equal(from, INPUT_WINDOW);
    assert_int_equal(link_input_acked(l, 100), 0);
    assert_int_equal(strlen(sent(l, &from)), 20);
    assert_false(link_is_full(l));
}

static void one_input_is_at_most_what_a_frame_holds(void **arg)
{
    static uint8_t big[FRAME_INPUT_BYTES_MAX + 1000];
    const struct reply_ready r = {.window = WINDOW, .input_window = 1 << 20};
    struct link *l = *arg;
    const uint8_t *bytes;
    uint64_t offset;

    link_ready(l, &r);
    link_type(l, big, sizeof(big));
    assert_int_equal(link_input(l, &offset, &bytes), FRAME_INPUT_BYTES_MAX);
    link_input_sent(l, FRAME_INPUT_BYTES_MAX);
    assert_int_equal(link_input(l, &offset, &bytes), 1000);
    assert_int_equal(offset, FRAME_INPUT_BYTES_MAX);
}

static void what_was_not_acknowledged_is_sent_again(void **arg)
{
    struct link *l = *arg;
    uint64_t from;

    ready(l, 0, 0);
    type(l, "abcdef");
    assert_string_equal(sent(l, &from), "abcdef");
    assert_int_equal(link_input_acked(l, 2), 0);
    link_lost(l);
    type(l, "gh");
    assert_string_equal(sent(l, &from), "");
    ready(l, 0, 4); /* two more had arrived; their INPUT_ACK did not */
    assert_string_equal(sent(l, &from), "efgh");
    assert_int_equal(from, 4);
}

static void what_arrived_is_never_sent_twice(void **arg)
{
    struct link *l = *arg;
    uint64_t from;

    ready(l, 0, 0);
    type(l, "abc");
    sent(l, &from);
    link_lost(l);
    ready(l, 0, 3);
    assert_string_equal(sent(l, &from), "");
    assert_true(link_is_idle(l));
}

static void another_owners_keys_do_not_swallow_ours(void **arg)
{
    struct link *l = *arg;
    uint64_t from;

    ready(l, 0, 0);
    type(l, "ab");
    sent(l, &from);
    link_lost(l);
    type(l, "cd"); /* never left here */
    ready(l, 0, 50);
    assert_string_equal(sent(l, &from), "cd");
    assert_int_equal(from, 50);
    assert_int_equal(link_input_acked(l, 52), 0);
    assert_true(link_is_idle(l));
}

static void an_acknowledgement_ahead_of_what_was_sent_is_refused(void **arg)
{
    struct link *l = *arg;
    uint64_t from;

    ready(l, 0, 0);
    type(l, "ab");
    assert_int_equal(link_input_acked(l, 1), -1);
    sent(l, &from);
    assert_int_equal(link_input_acked(l, 3), -1);
    assert_int_equal(link_input_acked(l, 2), 0);
    assert_int_equal(link_input_acked(l, 1), 0); /* old news */
    assert_true(link_is_idle(l));
}

static void there_is_no_window_without_a_connection(void **arg)
{
    struct link *l = *arg;

    assert_int_equal(link_room(l, 0), 0);
    assert_int_equal(link_room(l, 10), 10);
    ready(l, 0, 0);
    assert_int_equal(link_room(l, 0), INPUT_WINDOW);
    link_lost(l);
    assert_int_equal(link_room(l, 0), 0);
    assert_false(link_is_full(l));
}

static void a_viewer_types_nothing(void **arg)
{
    struct link *l = *arg;
    uint64_t from;

    l->role = ROLE_VIEWER;
    ready(l, 0, 0);
    type(l, "abc");
    assert_string_equal(sent(l, &from), "");
    assert_true(link_is_idle(l));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_first_connection_asks_for_the_oldest_byte),
        T(another_connection_asks_for_what_was_not_written),
        T(bytes_that_come_twice_are_dropped),
        T(an_owner_takes_no_gap),
        T(a_viewer_jumps_and_knows_how_far),
        T(more_than_the_window_is_refused),
        T(only_what_was_written_is_acknowledged),
        T(nothing_is_acknowledged_without_a_connection),
        T(a_connection_is_told_only_of_what_it_brought),
        T(a_new_connection_holds_no_more_than_the_window),
        T(what_the_ring_lost_is_told),
        T(a_late_first_connection_skips_nothing),
        T(complete_is_received_and_written),
        T(input_waits_for_the_first_ready),
        T(input_keeps_to_the_window),
        T(one_input_is_at_most_what_a_frame_holds),
        T(what_was_not_acknowledged_is_sent_again),
        T(what_arrived_is_never_sent_twice),
        T(another_owners_keys_do_not_swallow_ours),
        T(an_acknowledgement_ahead_of_what_was_sent_is_refused),
        T(there_is_no_window_without_a_connection),
        T(a_viewer_types_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
