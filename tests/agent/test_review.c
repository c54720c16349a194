/* docs/agent-review.md says what the code does. */
#include "agent/attach.h"
#include "agent/health.h"
#include "agent/stall.h"
#include "agent/state.h"
#include "agent/supervisor.h"
#include "agent/warm.h"
#include "base/frame.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/token_activate.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

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
    has("| interrupted after %d s, killed after %d s |", STALL_NUDGE_MS / 1000,
        STALL_KILL_MS / 1000);
}

/* What a session gets where nobody says otherwise: a row of the controller's
 * settings. */
static int default_of(const char *name)
{
    size_t len;
    own_mem char *text = tree_get("controller/settings.c", &len);
    own_mem char *row = mem_printf("NUMBER(\"%s\",", name);
    char *at = strstr(text, row);
    int value = 0;

    at = at ? strstr(at + strlen(row), "\"") : NULL;
    if (!at || sscanf(at, "\"%d\"", &value) != 1)
        fail_msg("no setting %s with a default", name);
    return value;
}

static void the_settings_are_told_with_their_defaults(void **arg)
{
    (void)arg;
    has("| %d MiB; %d KiB (settings) |", default_of("ring-bytes") >> 20,
        default_of("window-bytes") >> 10);
    has("| %d KiB (setting) |", default_of("input-window-bytes") >> 10);
    has("| %d s (setting), then MOVE |", default_of("attach-max-s"));
}

/* Each path that main.c names is on the page, and no other. */
static void the_routes_are_those_of_main(void **arg)
{
    size_t len;
    own_mem char *code = tree_get("agent/main.c", &len);
    int rows = 0;

    (void)arg;
    for (char *at = code; (at = strstr(at, "\"/")); at++) {
        char path[64] = "";

        if (sscanf(at, "\"%63[^\"]\"", path) != 1 || strlen(path) < 2)
            continue;
        has("`GET %s`", path);
        rows++;
    }
    assert_true(rows > 0);
    for (char *at = page; (at = strstr(at, "`GET /")); at++)
        rows--;
    assert_int_equal(rows, 0);
    has("`POST %s`", ACTIVATE_PATH);
    has("| %d bytes |", TOKEN_ACTIVATE_MAX);
    has("within %d s |", WARM_REQUEST_MS / 1000);
}

static void the_processes_are_those_of_the_command_line(void **arg)
{
    static const struct {
        const char *row, *file, *code;
    } each[] = {
        {"| supervisor | descriptor", "agent/supervisor.c", "\"--key-fd\""},
        {"| main | session key", "agent/supervisor.c", "\"--main\""},
        {"| unpacker | none", "agent/unpack.c", "\"--unpack\""},
        {"others answer EPERM", "agent/lockdown.c", "SCMP_ACT_ERRNO(EPERM)"},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
        size_t len;
        own_mem char *code = tree_get(each[i].file, &len);

        has("%s", each[i].row);
        if (!strstr(code, each[i].code))
            fail_msg("%s has no %s any more", each[i].file, each[i].code);
    }
}

/* --- libraries --- */

static const struct {
    const char *soname, *told; /* NULL: the C library needs no word */
} libraries[] = {
    {"libwebsockets.", "libwebsockets"},
    {"libuv.", "libuv"},
    {"libssl.", "OpenSSL"},
    {"libcrypto.", "OpenSSL"},
    {"libcjson.", "cJSON"},
    {"libsodium.", "libsodium"},
    {"libseccomp.", "libseccomp"},
    {"libc.", NULL},
    {"libm.", NULL},
    {"ld-linux", NULL},
};

static const char *told_as(const char *soname)
{
    for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++)
        if (strncmp(soname, libraries[i].soname, strlen(libraries[i].soname)) ==
            0)
            return libraries[i].told;
    fail_msg("podterm-agent is linked to %s, which the page does not tell",
             soname);
    return NULL;
}

static void the_libraries_are_those_the_program_is_linked_to(void **arg)
{
    own_mem char *exe = program_path("podterm-agent");
    own_mem char *cmd = mem_printf("readelf -d %s", exe);
    char *section = strstr(page, "## Libraries");
    char line[512], name[128];
    FILE *f = popen(cmd, "r");
    int n = 0;

    (void)arg;
    assert_non_null(section);
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        const char *at = strstr(line, "(NEEDED)"), *told;

        if (!at || sscanf(at, "%*[^[][%127[^]]", name) != 1)
            continue;
        if (strncmp(name, "libasan", 7) == 0 ||
            strncmp(name, "libubsan", 8) == 0 ||
            strncmp(name, "libtsan", 7) == 0)
            continue;
        told = told_as(name);
        if (told && !strstr(section, told))
            fail_msg("%s is not among the libraries", told);
        n++;
    }
    assert_int_equal(pclose(f), 0);
    assert_true(n > 5);
    /* told_as would not have let them pass */
    has("libcurl and libarchive are loaded late");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_message_stands_with_who_may_send_it),
        cmocka_unit_test(the_limits_are_the_codes_own),
        cmocka_unit_test(the_settings_are_told_with_their_defaults),
        cmocka_unit_test(the_routes_are_those_of_main),
        cmocka_unit_test(the_processes_are_those_of_the_command_line),
        cmocka_unit_test(the_libraries_are_those_the_program_is_linked_to),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
