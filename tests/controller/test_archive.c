/* What agents leave for the cache is theirs to forge: only the right bytes
 * are taken, and nothing is followed, waited for or left behind. */
#include "controller/archive.h"

#include "base/digest.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "tests/lib/programs.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define BODY "the bytes of an archive"

static struct settings set;
static struct launch what;
static struct loop *loop;
static char *dir, *session, *keep, *cached;

static int setup(void **state)
{
    own_mem char *cache = NULL, *agent = NULL;
    uint8_t sum[SHA256_BYTES];

    (void)state;
    dir = scratch_new();
    session = mem_printf("%s/session", dir);
    keep = mem_printf("%s/" ARCHIVE_KEEP, session);
    cached = mem_printf("%s/" ARCHIVE_CACHED, session);
    cache = mem_printf("%s/cache", dir);
    agent = mem_printf("%s/agent", session);
    assert_int_equal(mkdir(cache, 0700), 0);
    assert_int_equal(mkdir(session, 0700), 0);
    assert_int_equal(mkdir(agent, 0700), 0);
    set = (struct settings){.state_dir = dir, .bundle_max_bytes = 100};
    what = (struct launch){.cache_owner = "iss\nann"};
    sha256(BODY, strlen(BODY), sum);
    hex_encode(sum, sizeof sum, what.bundle_sha256);
    loop = loop_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    loop_free(loop);
    scratch_remove(dir);
    free(session);
    free(keep);
    free(cached);
    return 0;
}

static void leave(const char *bytes, size_t len)
{
    own_fd int fd = open(keep, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_int_equal(write(fd, bytes, len), len);
}

static void take(void)
{
    struct worker *w = worker_new(loop, 1, 4);

    archive_take(archive_new(&set, session, &what), w);
    worker_free(w); /* waits for it */
}

/* Would the next session be given one? */
static bool is_kept(void)
{
    struct archive *a = archive_new(&set, session, &what);
    bool is;

    archive_give(a);
    archive_free(a);
    is = access(cached, F_OK) == 0;
    unlink(cached);
    return is;
}

static void assert_refused(void)
{
    struct stat st;

    take();
    assert_false(is_kept());
    assert_int_not_equal(lstat(keep, &st), 0);
}

static void the_right_bytes_are_taken_once(void **state)
{
    (void)state;
    assert_false(is_kept());
    take(); /* nothing there: fine */
    leave(BODY, strlen(BODY));
    take();
    assert_true(is_kept());
    assert_int_equal(access(keep, F_OK), -1);
    what.cache_owner = "iss\nzoe"; /* and are ann's */
    assert_false(is_kept());
}

static void other_bytes_are_not(void **state)
{
    char large[200] = "";

    (void)state;
    leave("evil", 4);
    assert_refused();
    leave("", 0);
    assert_refused();
    leave(large, sizeof large);
    assert_refused();
}

static void what_is_no_file_is_not(void **state)
{
    own_mem char *right = mem_printf("%s/right", dir);

    (void)state;
    leave(BODY, strlen(BODY));
    assert_int_equal(rename(keep, right), 0);
    assert_int_equal(symlink(right, keep), 0);
    take();
    assert_false(is_kept());
    assert_int_equal(unlink(keep), 0);
    assert_int_equal(mkfifo(keep, 0600), 0);
    assert_refused(); /* and nobody waits for its writer */
    assert_int_equal(mkdir(keep, 0700), 0);
    take();
    assert_false(is_kept());
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_right_bytes_are_taken_once),
        T(other_bytes_are_not),
        T(what_is_no_file_is_not),
    };

    seal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
