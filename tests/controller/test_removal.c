/*
 * What a session leaves is removed beside everything else: however long it
 * takes, requests are answered, ends are recorded, the controller starts and
 * stops. The controller is this binary, in which a directory's removal takes
 * as long as on a disk that is hardly moving, so that what came first is no
 * matter of the machine.
 */
// link: -Wl,--wrap=unlinkat
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define main controller_main
#include "controller/main.c"
#undef main

#include "base/loop.h"
#include "base/mem.h"
#include "tests/lib/api.h"
#include "tests/lib/fake_keeper.h"
#include "tests/lib/programs.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOW "PODTERM_TEST_SLOW" /* names a file: while it is there */
#define SLOW_MS 200              /* a directory's removal takes so long */
#define SESSIONS 5               /* more than the controller has workers */
#define WIDE 100      /* directories of each: SLOW_MS of each makes 20 s */
#define PROMPT 3000   /* ms, of a machine that is busy */
#define REMOVED 60000 /* ms, for all of it at the machine's own pace */

int __real_unlinkat(int fd, const char *name, int flags);
int __wrap_unlinkat(int fd, const char *name, int flags);

int __wrap_unlinkat(int fd, const char *name, int flags)
{
    const char *slow = getenv(SLOW);

    if ((flags & AT_REMOVEDIR) && slow && access(slow, F_OK) == 0)
        poll(NULL, 0, SLOW_MS);
    return __real_unlinkat(fd, name, flags);
}

static struct api api;
static char *ann;
static char *build, *slow; /* build/bin/podterm-controller is this binary */

static void begin_with(const char *const *more)
{
    free(ann);
    api_start(&api, more);
    ann = api_identity(&api, "ann"); /* each start has an issuer of its own */
}

static void begin(void)
{
    begin_with(NULL);
}

static int setup_group(void **state)
{
    own_mem char *bin = NULL, *path = NULL;
    char self[512] = "";

    (void)state;
    build = scratch_new();
    bin = mem_printf("%s/bin", build);
    path = mem_printf("%s/podterm-controller", bin);
    slow = mem_printf("%s/slow", build);
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    assert_int_equal(mkdir(bin, 0755), 0);
    assert_int_equal(symlink(self, path), 0);
    setenv("PODTERM_BUILD", build, 1);
    setenv(SLOW, slow, 1);
    return 0;
}

static int teardown_group(void **state)
{
    (void)state;
    scratch_remove(build);
    free(slow);
    return 0;
}

static int setup(void **state)
{
    own_fd int fd = open(slow, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    (void)state;
    assert_true(fd >= 0);
    begin();
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
    unlink(slow);
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
    /* none of which has waited for one of these */
    assert_int_equal(gone_left(), SESSIONS);
}

static void neither_a_start_nor_a_stop_waits_for_what_is_left(void **state)
{
    int64_t begun;

    (void)state;
    rest_stop(&api.server, SIGTERM);
    put_gone();
    begin();
    assert_answers();
    assert_int_equal(gone_left(), SESSIONS);
    begun = loop_now_ms();
    assert_int_equal(rest_stop(&api.server, SIGTERM), 0);
    assert_true(loop_now_ms() - begun < PROMPT);
    assert_int_equal(gone_left(), SESSIONS);
    /* and when the next has gone on, nothing is left: teardown looks */
    begin();
}

static void end_one(void)
{
    char sid[27];

    api_create(&api, ann, "", sid);
    json_free(api_wait(&api, ann, sid, "running"));
    make_wide(sid, "bundle");
    assert_int_equal(
        api_status(&api, "DELETE", "/api/sessions/{id}", sid, ann, NULL) / 100,
        2);
    json_free(api_wait(&api, ann, sid, "ended"));
}

static int create_status(const char *who)
{
    own_mem char *body = api_body("", "");

    return api_status(&api, "POST", "/api/sessions", NULL, who, body);
}

/* Who leaves more than is removed waits, and nobody else does. */
static void what_is_left_counts_for_its_owner(void **state)
{
    static const char *const quota[] = {"--quota=2", NULL};
    own_mem char *vic = NULL;
    int64_t until;

    (void)state;
    rest_stop(&api.server, SIGTERM);
    begin_with(quota);
    vic = api_identity(&api, "vic");
    for (int i = 0; i < 4; i++)
        end_one();
    assert_int_equal(create_status(ann), 429);
    assert_int_equal(create_status(vic), 201);
    unlink(slow);
    until = loop_now_ms() + REMOVED;
    while (create_status(ann) == 429 && loop_now_ms() < until)
        poll(NULL, 0, 20);
    assert_true(loop_now_ms() < until);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            ends_are_recorded_and_requests_answered_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(
            neither_a_start_nor_a_stop_waits_for_what_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_left_counts_for_its_owner,
                                        setup, teardown),
    };

    fake_keeper_maybe(argc, argv);
    if (argc > 1) /* as api_start starts it */
        return controller_main(argc, argv);
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
