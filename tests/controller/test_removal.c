/* What a session leaves is removed beside everything else: however large it
 * is, requests are answered, ends are recorded, the controller starts and
 * stops. Other threads hold the machine's disk; these tests ask only what
 * came first, not how fast. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/loop.h"
#include "base/mem.h"
#include "tests/lib/api.h"
#include "tests/lib/fake_keeper.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SESSIONS 5  /* more than the controller has workers */
#define WIDE 2000   /* directories of each: much longer than an answer takes */
#define PROMPT 3000 /* ms, of a machine that is busy */
#define REMOVED 60000 /* ms, for all of it */

static struct api api;
static char *ann;

static void start(void)
{
    free(ann);
    api_start(&api, NULL);
    ann = api_identity(&api, "ann"); /* each start has an issuer of its own */
}

static int setup(void **state)
{
    (void)state;
    start();
    return 0;
}

/* WIDE directories below STATE/sessions/name/below. */
static void make_wide(const char *name, const char *below)
{
    char path[200], entry[16];
    int fd;

    snprintf(path, sizeof path, "%s/sessions/%s/%s", api.state, name, below);
    mkdir(path, 0700);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (int i = 0; i < WIDE; i++) {
        snprintf(entry, sizeof entry, "%d", i);
        assert_int_equal(mkdirat(fd, entry, 0700), 0);
    }
    close(fd);
}

/* Directories that are being removed or wait for it. */
static int gone_left(void)
{
    char path[96];
    struct dirent *entry;
    DIR *dir;
    int count = 0;

    snprintf(path, sizeof path, "%s/sessions", api.state);
    dir = opendir(path);
    assert_non_null(dir);
    while ((entry = readdir(dir)))
        count += strncmp(entry->d_name, ".gone-", 6) == 0;
    closedir(dir);
    return count;
}

static int teardown(void **state)
{
    int64_t until = loop_now_ms() + REMOVED;

    (void)state;
    while (gone_left() > 0 && loop_now_ms() < until)
        poll(NULL, 0, 20);
    free(ann);
    ann = NULL;
    api_finish(&api); /* fails if something is left */
    return 0;
}

static void assert_answers(void)
{
    assert_int_equal(api_status(&api, "GET", "/livez", NULL, NULL, NULL), 200);
    assert_int_equal(api_status(&api, "GET", "/api/sessions", NULL, ann, NULL),
                     200);
}

static void put_gone(void)
{
    char path[160], name[64];

    for (int i = 0; i < SESSIONS; i++) {
        snprintf(name, sizeof name, ".gone-aaaaaaaaaaaaaaaaaaaaaaaaa%c",
                 'a' + i);
        snprintf(path, sizeof path, "%s/sessions/%s", api.state, name);
        assert_int_equal(mkdir(path, 0700), 0);
        make_wide(name, "bundle");
    }
}

static void ends_are_recorded_and_requests_answered_meanwhile(void **state)
{
    char sid[SESSIONS][27];

    (void)state;
    for (int i = 0; i < SESSIONS; i++) {
        api_create(&api, ann, "", sid[i]);
        json_free(api_wait(&api, ann, sid[i], "running"));
        make_wide(sid[i], "bundle");
    }
    for (int i = 0; i < SESSIONS; i++)
        assert_int_equal(api_status(&api, "DELETE", "/api/sessions/{id}",
                                    sid[i], ann, NULL) /
                             100,
                         2);
    for (int i = 0; i < SESSIONS; i++)
        json_free(api_wait(&api, ann, sid[i], "ended"));
    assert_answers();
    /* none of which has waited for these */
    assert_true(gone_left() > 0);
}

static void a_start_does_not_wait_for_what_is_left(void **state)
{
    (void)state;
    rest_stop(&api.server, SIGTERM);
    put_gone();
    start();
    assert_answers();
    assert_true(gone_left() > 0);
}

static void a_stop_does_not_wait_and_the_next_start_goes_on(void **state)
{
    int64_t begun;

    (void)state;
    rest_stop(&api.server, SIGTERM);
    put_gone();
    start();
    begun = loop_now_ms();
    assert_int_equal(rest_stop(&api.server, SIGTERM), 0);
    assert_true(loop_now_ms() - begun < PROMPT);
    assert_true(gone_left() > 0);
    /* and when it has ended, nothing is left: teardown looks */
    start();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            ends_are_recorded_and_requests_answered_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(a_start_does_not_wait_for_what_is_left,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_stop_does_not_wait_and_the_next_start_goes_on, setup, teardown),
    };

    fake_keeper_maybe(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
