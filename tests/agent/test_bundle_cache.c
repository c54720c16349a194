/*
 * From a URL to a tree: archives kept for the next session, and full disks.
 * This binary is its own unpacker when called with --unpack.
 */
#include "agent/bundle.h"

#include "agent/unpack.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/bundlebed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* --- the cache --- */

static void serve_good(struct bundlebed *f)
{
    static const struct fileserver_reply plain[] = {{0}};
    static char *bytes;
    size_t len;
    own_mem char *path = mem_printf("%s/good.tar.gz", bundlebed_archives);

    free(bytes);
    bytes = bundlebed_slurp(path, &len);
    bundlebed_want(f, "good.tar.gz");
    f->server = fileserver_start(bytes, len, plain, 1, NULL);
    snprintf(f->spec.bundle_url, URL_MAX, "http://127.0.0.1:%d/x?k=hunter2",
             fileserver_port(f->server));
    f->conf.cache_dir = f->cache_dir;
}

static void a_second_time_it_comes_from_the_cache(void **state)
{
    struct bundlebed *f = *state;

    serve_good(f);
    bundlebed_ready(f, ROOT_SEEN "/bin/prog");
    bundlebed_ready(f, ROOT_SEEN "/bin/prog");
    assert_int_equal(fileserver_requests(f->server), 1);
    assert_string_equal(f->stages[0].detail, "from the cache");
}

/* As root on one machine: the launcher links, and takes what is left. */
static void what_was_left_can_be_given_to_the_next(void **state)
{
    struct bundlebed *f = *state;
    own_mem char *keep = mem_printf("%s/archive", f->dir);
    own_mem char *given = mem_printf("%s/cached", f->dir);
    struct stat st;

    serve_good(f);
    f->conf.cache_dir = NULL;
    f->conf.cached_path = given; /* not there yet */
    f->conf.keep_path = keep;
    bundlebed_ready(f, ROOT_SEEN "/bin/prog");
    bundlebed_ready(f, ROOT_SEEN "/bin/prog"); /* is there already: fine */
    assert_int_equal(fileserver_requests(f->server), 2);
    assert_int_equal(rename(keep, given), 0);
    assert_int_equal(chmod(given, 0444), 0);
    bundlebed_ready(f, ROOT_SEEN "/bin/prog"); /* ours, who could write it */
    assert_int_equal(fileserver_requests(f->server), 3);
    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(given, 65534, 65534), 0);
    bundlebed_ready(f, ROOT_SEEN "/bin/prog");
    assert_int_equal(fileserver_requests(f->server), 3);
    assert_string_equal(f->stages[0].detail, "from the cache");
    assert_int_equal(chmod(given, 0464), 0); /* its group could */
    bundlebed_ready(f, ROOT_SEEN "/bin/prog");
    assert_int_equal(fileserver_requests(f->server), 4);
    assert_int_equal(truncate(given, 9), 0);
    assert_int_equal(chmod(given, 0444), 0);
    bundlebed_ready(f, ROOT_SEEN "/bin/prog"); /* other bytes */
    assert_int_equal(fileserver_requests(f->server), 5);
    assert_int_equal(stat(given, &st), 0); /* and not ours to remove */
}

static void the_cache_is_no_way_round_the_rules(void **state)
{
    struct bundlebed *f = *state;

    serve_good(f);
    bundlebed_ready(f, ROOT_SEEN "/bin/prog");
    /* another owner has nothing of it */
    snprintf(f->spec.owner_sub, TOKEN_STR_MAX, "bob");
    bundlebed_ready(f, ROOT_SEEN "/bin/prog");
    assert_int_equal(fileserver_requests(f->server), 2);
    /* the URL's rules and the size's hold on a hit too */
    f->spec.fetch.url.allow_http = false;
    assert_int_equal(bundlebed_run(f), -1);
    assert_int_equal(f->e.kind, ERR_DENIED);
    f->spec.fetch.url.allow_http = true;
    f->spec.bundle_size = 7;
    assert_int_equal(bundlebed_run(f), -1);
    assert_non_null(strstr(f->e.text, "7 were expected"));
    f->spec.bundle_size = 0;
    f->spec.fetch.max_bytes = 10;
    assert_int_equal(bundlebed_run(f), -1);
    assert_non_null(strstr(f->e.text, "larger than 10 bytes"));
    /* a signature that is demanded is not made up for by a hit */
    f->spec.fetch.max_bytes = 8 << 20;
    bundlebed_use_key(f, "ours");
    assert_int_equal(bundlebed_run(f), -1);
    assert_non_null(strstr(f->e.text, "not signed"));
}

static void a_spoilt_cache_entry_is_fetched_anew(void **state)
{
    struct bundlebed *f = *state;
    own_mem char *cmd =
        mem_printf("cd %s && f=$(ls */*) && chmod 600 $f && echo evil > $f && "
                   "chmod 400 $f",
                   f->cache_dir);
    own_mem char *loose = mem_printf("chmod 644 %s/*/*", f->cache_dir);

    serve_good(f);
    bundlebed_ready(f, ROOT_SEEN "/bin/prog");
    assert_int_equal(system(cmd), 0);
    bundlebed_ready(f, ROOT_SEEN "/bin/prog");
    assert_int_equal(fileserver_requests(f->server), 2);
    /* right bytes, but somebody may still write to them */
    assert_int_equal(system(loose), 0);
    bundlebed_ready(f, ROOT_SEEN "/bin/prog");
    assert_int_equal(fileserver_requests(f->server), 3);
}

/* --- disks --- */

static void mount_small(const char *path, const char *size)
{
    assert_int_equal(mount("none", path, "tmpfs", 0, size), 0);
}

static void a_full_disk_while_fetching_ends_it(void **state)
{
    struct bundlebed *f = *state;
    int r, left;

    if (!bundlebed_can_mount)
        skip();
    bundlebed_want(f, "big.tar");
    mount_small(f->tmp_dir, "size=64k");
    r = bundlebed_run(f);
    left = bundlebed_entries(f->tmp_dir);
    umount(f->tmp_dir);
    assert_int_equal(r, -1);
    assert_non_null(strstr(f->e.text, "disk full while fetching"));
    assert_int_equal(left, 0);
    assert_int_equal(bundlebed_entries(f->bundle_dir), 0);
}

static void a_full_disk_while_unpacking_ends_it(void **state)
{
    struct bundlebed *f = *state;
    struct stat st = {0};
    int r, left;

    if (!bundlebed_can_mount)
        skip();
    bundlebed_want(f, "big.tar");
    mount_small(f->bundle_dir, "size=64k,mode=0755");
    r = bundlebed_run(f);
    left = bundlebed_entries(f->bundle_dir);
    stat(f->bundle_dir, &st);
    umount(f->bundle_dir);
    assert_int_equal(r, -1);
    assert_non_null(strstr(f->e.text, "disk full while unpacking"));
    assert_int_equal(left, 0);
    assert_int_equal(st.st_nlink, 2);
    assert_int_equal(bundlebed_entries(f->tmp_dir), 0);
}

static void a_full_disk_of_inodes_ends_it(void **state)
{
    struct bundlebed *f = *state;
    int r, left;

    if (!bundlebed_can_mount)
        skip();
    bundlebed_want(f, "two.tar.gz");
    mount_small(f->bundle_dir, "size=1m,nr_inodes=4,mode=0755");
    r = bundlebed_run(f);
    left = bundlebed_entries(f->bundle_dir);
    umount(f->bundle_dir);
    assert_int_equal(r, -1);
    assert_non_null(strstr(f->e.text, "No space left"));
    assert_int_equal(left, 0);
}

static void a_full_cache_is_no_error_of_the_session(void **state)
{
    struct bundlebed *f = *state;
    int r;

    if (!bundlebed_can_mount)
        skip();
    bundlebed_want(f, "big.tar");
    f->conf.cache_dir = f->cache_dir;
    mount_small(f->cache_dir, "size=64k,mode=0700");
    r = bundlebed_run(f);
    umount(f->cache_dir);
    assert_int_equal(r, 0);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, bundlebed_setup, bundlebed_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(a_second_time_it_comes_from_the_cache),
        T(what_was_left_can_be_given_to_the_next),
        T(the_cache_is_no_way_round_the_rules),
        T(a_spoilt_cache_entry_is_fetched_anew),
        T(a_full_disk_while_fetching_ends_it),
        T(a_full_disk_while_unpacking_ends_it),
        T(a_full_disk_of_inodes_ends_it),
        T(a_full_cache_is_no_error_of_the_session),
    };

    if (argc > 1 && strcmp(argv[1], "--unpack") == 0)
        return unpack_child_main(argc, argv);
    return cmocka_run_group_tests(tests, bundlebed_group_setup,
                                  bundlebed_group_teardown);
}
