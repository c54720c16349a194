/* What a typing person waits for goes first: an echo before the INPUT_ACK of
 * its key, which comes nevertheless. */
#include "agent/attach.h"
#include "base/loop.h"
#include "tests/lib/onebox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct agentlink *owner(const char *script)
{
    struct agentlink *l = box_owner(script, NULL);

    agentlink_expect(l, "ready", MS);
    agentlink_run(l, 50);
    return l;
}

static void an_echo_goes_before_its_input_ack(void **state)
{
    struct agentlink *l = owner("stty raw -echo; echo ready; exec cat");
    int before = 0;

    (void)state;
    for (int i = 0; i < 20; i++) {
        uint64_t at = l->output;

        agentlink_type(l, "k", 1);
        agentlink_until(l, FRAME_OUTPUT, MS);
        assert_int_equal(l->output, at + 1);
        before += l->input_acked < l->typed;
        while (l->input_acked < l->typed)
            agentlink_until(l, FRAME_INPUT_ACK, MS);
        assert_int_equal(l->input_acked, l->typed);
    }
    assert_true(before >= 10); /* a loaded machine may be late now and then */
    agentlink_free(l);
}

static void input_without_an_echo_is_acknowledged(void **state)
{
    struct agentlink *l =
        owner("stty raw -echo; echo ready; exec cat >/dev/null");

    (void)state;
    agentlink_type(l, "k", 1);
    agentlink_until(l, FRAME_INPUT_ACK, MS);
    assert_int_equal(l->input_acked, 1);
    agentlink_free(l);
}

/* Whoever pastes waits for the window, not for a clock. */
static void a_paste_is_acknowledged_as_it_goes(void **state)
{
    struct agentlink *l =
        owner("stty raw -echo; echo ready; exec cat >/dev/null");
    static uint8_t piece[16384];
    int64_t start = loop_now_ms();

    (void)state;
    for (int i = 0; i < 200; i++) {
        while (l->typed + sizeof(piece) - l->input_acked > l->input_window)
            agentlink_until(l, FRAME_INPUT_ACK, MS);
        agentlink_type(l, piece, sizeof(piece));
    }
    while (l->input_acked < l->typed)
        agentlink_until(l, FRAME_INPUT_ACK, MS);
    assert_true(loop_now_ms() - start < 20000);
    agentlink_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(an_echo_goes_before_its_input_ack,
                                  box_teardown),
        cmocka_unit_test_teardown(input_without_an_echo_is_acknowledged,
                                  box_teardown),
        cmocka_unit_test_teardown(a_paste_is_acknowledged_as_it_goes,
                                  box_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
