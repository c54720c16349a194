/* docs/agent-review.md says what the code does. */
#include "agent/attach.h"
#include "agent/health.h"
#include "agent/state.h"
#include "agent/supervisor.h"
#include "base/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char page[65536];

static int setup(void **arg)
{
    FILE *f = fopen("docs/agent-review.md", "r");

    (void)arg;
    assert_non_null(f); /* run from the project's root */
    page[fread(page, 1, sizeof(page) - 1, f)] = 0;
    fclose(f);
    return 0;
}

static void has(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void has(const char *fmt, ...)
{
    char want[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(want, sizeof(want), fmt, ap);
    va_end(ap);
    if (!strstr(page, want))
        fail_msg("docs/agent-review.md does not say: %s", want);
}

static void each_message_stands_with_who_may_send_it(void **arg)
{
    static const uint8_t types[] = {
#define X(name, number, min, max, roles) number,
        FRAME_UP(X)
#undef X
    };
    int rows = 0;

    (void)arg;
    for (size_t i = 0; i < sizeof(types); i++) {
        if (types[i] == FRAME_HELLO)
            continue;
        has("| %s | %s | %s | %s |\n", frame_name(types[i]),
            frame_is_allowed(ROLE_OWNER, types[i]) ? "yes" : "no",
            frame_is_allowed(ROLE_VIEWER, types[i]) ? "yes" : "no",
            frame_is_allowed(ROLE_CONTROL, types[i]) ? "yes" : "no");
        rows++;
    }
    for (const char *p = strstr(page, "<!-- frames: begin -->");
         p && p < strstr(page, "<!-- frames: end -->"); p = strchr(p, '\n') + 1)
        if (strncmp(p, "| ", 2) == 0 && strncmp(p, "| message", 9) != 0)
            rows--;
    assert_int_equal(rows, 0); /* and no other */
}

static void the_limits_are_the_codes_own(void **arg)
{
    (void)arg;
    has("at most %d bytes, within %d ms", FRAME_HELLO_MAX, ATTACH_HELLO_MS);
    has("| 1, %d, %d |", ATTACH_VIEWERS_MAX, ATTACH_CONTROLS_MAX);
    has("not said HELLO | %d |", ATTACH_WAITING_MAX);
    has("from a client | %d bytes |", FRAME_UP_MAX);
    has("ids remembered | %d |", STATE_JTIS);
    has("of one viewer | %d; %d |", STATE_JTIS_VIEWERS, ATTACH_VIEWER_SEATS);
    has("| %d within %d s |", SUPERVISOR_RESTARTS_MAX,
        SUPERVISOR_WINDOW_MS / 1000);
    has("reads at most %d bytes", HEALTH_READ_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_message_stands_with_who_may_send_it),
        cmocka_unit_test(the_limits_are_the_codes_own),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
