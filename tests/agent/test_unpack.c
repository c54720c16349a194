/*
 * Hostile archives, each carried to the unpacker's own process: nothing
 * leaves the tree, and the refusal names the entry. This binary is its own
 * unpacker when called with --unpack.
 */
#include "agent/unpack.h"
#include "base/err.h"

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

#define TAR_BLOCK 512
#define STAYS_DEPTH 4711 /* asks our unpacker to stay when it is done */

static char dir[64];
static int tree_fd = -1, tar_fd = -1;

static int setup(void **arg)
{
    char path[128];

    (void)arg;
    snprintf(dir, sizeof(dir), "/tmp/podterm-unpack-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/tree", dir);
    assert_int_equal(mkdir(path, 0755), 0);
    tree_fd = open(path, O_RDONLY | O_DIRECTORY);
    snprintf(path, sizeof(path), "%s/a.tar", dir);
    tar_fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    assert_true(tree_fd >= 0 && tar_fd >= 0);
    return 0;
}

static int teardown(void **arg)
{
    char cmd[128];

    (void)arg;
    close(tree_fd);
    close(tar_fd);
    snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
    return system(cmd);
}

static void tar_put(const void *p, size_t len)
{
    static const char zero[TAR_BLOCK];

    assert_int_equal(write(tar_fd, p, len), len);
    if (len % TAR_BLOCK)
        assert_true(write(tar_fd, zero, TAR_BLOCK - len % TAR_BLOCK) > 0);
}

static void tar_add(const char *name, char type, unsigned mode,
                    const char *link, const char *data)
{
    unsigned char h[TAR_BLOCK] = {0};
    size_t len = data ? strlen(data) : 0;
    unsigned sum = 0;

    snprintf((char *)h, 100, "%s", name);
    snprintf((char *)h + 100, 8, "%07o", mode);
    snprintf((char *)h + 108, 8, "%07o", 0);
    snprintf((char *)h + 116, 8, "%07o", 0);
    snprintf((char *)h + 124, 12, "%011o", (unsigned)len);
    snprintf((char *)h + 136, 12, "%011o", 0);
    memset(h + 148, ' ', 8);
    h[156] = (unsigned char)type;
    snprintf((char *)h + 157, 100, "%s", link ? link : "");
    memcpy(h + 257, "ustar\00000", 8);
    for (int i = 0; i < TAR_BLOCK; i++)
        sum += h[i];
    snprintf((char *)h + 148, 8, "%06o", sum);
    tar_put(h, sizeof(h));
    if (len)
        tar_put(data, len);
}

static void tar_end(void)
{
    static const char zero[2 * TAR_BLOCK];

    assert_true(write(tar_fd, zero, sizeof(zero)) > 0);
}

static struct spec_unpack limits_default(void)
{
    return (struct spec_unpack){.max_entries = 100,
                                .max_bytes = 4 << 20,
                                .max_ratio = 100,
                                .max_depth = 8,
                                .max_name = 200};
}

static int run_with(struct spec_unpack limits, struct err *e)
{
    struct unpack_conf conf = {
        .archive_fd = tar_fd, .dir_fd = tree_fd, .limits = limits};

    *e = (struct err){0};
    return unpack_run(&conf, e);
}

static int run(struct err *e)
{
    tar_end();
    return run_with(limits_default(), e);
}

static void a_plain_tree_comes_out_with_plain_modes(void **arg)
{
    struct err e;
    struct stat st;
    char buf[16] = "";
    int fd;

    (void)arg;
    tar_add("./", '5', 0755, NULL, NULL);
    tar_add("bin/prog", '0', 0700, NULL, "#!x");
    tar_add("share/doc/a.txt", '0', 0600, NULL, "hello");
    tar_add("lib", '5', 0700, NULL, NULL);
    tar_add("lib/l.so.1", '0', 0644, NULL, "so");
    tar_add("lib/l.so", '2', 0777, "l.so.1", NULL);
    tar_add("lib/hard", '1', 0644, "share/doc/a.txt", NULL);
    tar_add("up", '2', 0777, "lib/../bin/prog", NULL);
    assert_int_equal(run(&e), 0);
    assert_int_equal(fstatat(tree_fd, "bin/prog", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_int_equal(fstatat(tree_fd, "share/doc/a.txt", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    assert_int_equal(st.st_nlink, 2);
    fd = openat(tree_fd, "lib/l.so", O_RDONLY);
    assert_int_equal(read(fd, buf, sizeof(buf)), 2);
    close(fd);
}

static const struct trick {
    const char *what;
    struct {
        const char *name;
        char type;
        unsigned mode;
        const char *link;
    } entries[4];
    const char *told; /* part of the refusal */
} tricks[] = {
    {"absolute", {{"/etc/x", '0', 0644, NULL}}, "absolute"},
    {"dotdot", {{"../x", '0', 0644, NULL}}, "goes up"},
    {"inner dotdot", {{"a/../../x", '0', 0644, NULL}}, "goes up"},
    {"outward symlink", {{"l", '2', 0777, "../x"}}, "leaves the tree"},
    {"absolute symlink", {{"l", '2', 0777, "/etc/passwd"}}, "stay"},
    {"through a symlink",
     {{"l", '2', 0777, "."}, {"l/x", '0', 0644, NULL}},
     "twice"},
    {"symlink chain",
     {{"d/e/x", '0', 0644, NULL},
      {"d/e/f", '2', 0777, "../.."},
      {"g", '2', 0777, "d/e/f/.."}},
     "leaves the tree"},
    {"dangling", {{"l", '2', 0777, "nothing"}}, "nothing"},
    {"circle", {{"a", '2', 0777, "b"}, {"b", '2', 0777, "a"}}, "circle"},
    {"hard link out", {{"h", '1', 0644, "../../etc/passwd"}}, "out of"},
    {"hard link to a symlink",
     {{"a", '0', 0644, NULL}, {"s", '2', 0777, "a"}, {"h", '1', 0644, "s"}},
     "no file"},
    {"hard link to a directory",
     {{"d", '5', 0755, NULL}, {"h", '1', 0644, "d"}},
     "no file"},
    {"character device", {{"dev", '3', 0644, NULL}}, "device"},
    {"block device", {{"dev", '4', 0644, NULL}}, "device"},
    {"fifo", {{"f", '6', 0644, NULL}}, "fifo"},
    {"set-uid", {{"s", '0', 04755, NULL}}, "set-id"},
    {"set-gid", {{"s", '0', 02755, NULL}}, "set-id"},
    {"set-uid, by a name that is no ASCII",
     {{"\xc3\xa4", '0', 04755, NULL}},
     "\"\\xc3\\xa4\" has a set-id"},
    {"twice", {{"x", '0', 0644, NULL}, {"x", '0', 0644, NULL}}, "twice"},
    {"twice in two spellings",
     {{"x", '0', 0644, NULL}, {"./x", '0', 0644, NULL}},
     "twice"},
    {"file, then a directory of its name",
     {{"x", '0', 0644, NULL}, {"x/y", '0', 0644, NULL}},
     "no directory"},
    {"directory, then a file of its name",
     {{"x", '5', 0755, NULL}, {"x", '0', 0644, NULL}},
     "twice"},
    {"not UTF-8", {{"a\xff", '0', 0644, NULL}}, "UTF-8"},
    {"control character", {{"a\nb", '0', 0644, NULL}}, "UTF-8"},
    {"backslash", {{"a\\b", '0', 0644, NULL}}, "backslash"},
    {"too deep", {{"1/2/3/4/5/6/7/8/9", '0', 0644, NULL}}, "deeper"},
};

static void each_hostile_archive_is_refused_and_named(void **arg)
{
    for (size_t i = 0; i < sizeof(tricks) / sizeof(tricks[0]); i++) {
        struct err e;
        char out[256];

        setup(arg);
        for (int n = 0; n < 4 && tricks[i].entries[n].name; n++)
            tar_add(tricks[i].entries[n].name, tricks[i].entries[n].type,
                    tricks[i].entries[n].mode, tricks[i].entries[n].link, NULL);
        if (run(&e) != -1 || e.kind != ERR_INPUT ||
            !strstr(e.text, tricks[i].told))
            fail_msg("%s: kind %d \"%s\"", tricks[i].what, e.kind, e.text);
        /* nothing beside the tree */
        snprintf(out, sizeof(out), "%s/x", dir);
        assert_int_equal(access(out, F_OK), -1);
        teardown(arg);
    }
}

static void every_limit_is_kept(void **arg)
{
    struct spec_unpack l;
    struct err e;
    char *big = calloc(1, 3 << 20);

    (void)arg;
    memset(big, 'x', (3 << 20) - 1);
    for (int i = 0; i < 5; i++) {
        char name[16];

        snprintf(name, sizeof(name), "f%d", i);
        tar_add(name, '0', 0644, NULL, "x");
    }
    tar_add("big", '0', 0644, NULL, big);
    tar_end();
    free(big);

    l = limits_default();
    l.max_entries = 5;
    assert_int_equal(run_with(l, &e), -1);
    assert_non_null(strstr(e.text, "more than 5 entries"));
    l = limits_default();
    l.max_bytes = 1 << 20;
    teardown(NULL);
    setup(NULL);
    big = calloc(1, 3 << 20);
    memset(big, 'x', (3 << 20) - 1);
    tar_add("big", '0', 0644, NULL, big);
    tar_end();
    free(big);
    assert_int_equal(run_with(l, &e), -1);
    assert_non_null(strstr(e.text, "more than 1048576 bytes"));
    assert_non_null(strstr(e.text, "\"big\""));
}

static void a_name_over_its_limit_is_refused(void **arg)
{
    struct spec_unpack l = limits_default();
    struct err e;

    (void)arg;
    l.max_name = 10;
    tar_add("abcdefghijk", '0', 0644, NULL, "x");
    tar_end();
    assert_int_equal(run_with(l, &e), -1);
    assert_non_null(strstr(e.text, "too long"));
}

static void a_bomb_stops_at_its_ratio(void **arg)
{
    struct spec_unpack l = limits_default();
    struct err e;
    char cmd[256];

    (void)arg;
    l.max_bytes = 1 << 30;
    snprintf(cmd, sizeof(cmd),
             "cd %s && head -c 50000000 /dev/zero >z && tar czf b.tgz z && "
             "cat b.tgz >a.tar",
             dir);
    assert_int_equal(system(cmd), 0);
    assert_int_equal(run_with(l, &e), -1);
    assert_non_null(strstr(e.text, "times its size"));
}

/* `count` empty files N/d/d/…/f, of which the archive spells out no
 * directory. */
static void tar_add_deep(int count, int depth)
{
    for (int i = 0; i < count; i++) {
        char name[100];
        int n = snprintf(name, sizeof(name), "%d/", i);

        for (int d = 2; d < depth; d++)
            n += snprintf(name + n, sizeof(name) - (size_t)n, "d/");
        snprintf(name + n, sizeof(name) - (size_t)n, "f");
        tar_add(name, '0', 0644, NULL, NULL);
    }
    tar_end();
}

/* A shell command in the test's directory. Its output as a number. */
static int shell_number(const char *command)
{
    char cmd[512];
    int number = -1;
    FILE *out;

    snprintf(cmd, sizeof(cmd), "cd %s && %s", dir, command);
    out = popen(cmd, "r");
    assert_non_null(out);
    assert_int_equal(fscanf(out, "%d", &number), 1);
    assert_int_equal(pclose(out), 0);
    return number;
}

static struct spec_unpack limits_of_the_controller(void)
{
    return (struct spec_unpack){.max_entries = 100000,
                                .max_bytes = INT64_C(1) << 32,
                                .max_ratio = 200,
                                .max_depth = 40,
                                .max_name = 1024};
}

static void directories_made_unasked_count_as_entries(void **arg)
{
    struct spec_unpack l = limits_of_the_controller();
    struct err e;

    (void)arg;
    tar_add_deep(8000, 40);
    l.max_entries = 50;
    assert_int_equal(run_with(l, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    assert_string_equal(e.text, "more than 50 entries");
    assert_true(shell_number("find tree | wc -l") <= 52);

    assert_int_equal(shell_number("rm -r tree/* && echo 0"), 0);
    l.max_entries = 8100; /* more than the archive spells out */
    assert_int_equal(run_with(l, &e), -1);
    assert_string_equal(e.text, "more than 8100 entries");
}

static void directories_made_unasked_count_for_the_ratio(void **arg)
{
    struct spec_unpack l = limits_of_the_controller();
    struct err e;

    (void)arg;
    tar_add_deep(8000, 40);
    assert_int_equal(
        shell_number("gzip -9 <a.tar >z && cat z >a.tar && "
                     "truncate -s $(stat -c %s z) a.tar && stat -c %s z") <
            100000,
        true);
    assert_int_equal(run_with(l, &e), -1);
    assert_non_null(strstr(e.text, "more than 200 times its size"));
    assert_true(shell_number("find tree | wc -l") < 10000);
}

static void only_one_compression_is_taken(void **arg)
{
    struct err e = {0};

    (void)arg;
    tar_add("f", '0', 0644, NULL, "x");
    assert_int_equal(shell_number("gzip <a.tar >z && cat z >a.tar && "
                                  "truncate -s $(stat -c %s z) a.tar; echo 0"),
                     0);
    assert_int_equal(run_with(limits_default(), &e), 0);
    assert_int_equal(shell_number("rm -r tree/*; xz <a.tar >z && cat z >a.tar "
                                  "&& truncate -s $(stat -c %s z) a.tar; "
                                  "echo 0"),
                     0);
    assert_int_equal(run_with(limits_default(), &e), -1);
    assert_string_equal(e.text, "the archive is compressed more than once");
    assert_int_equal(shell_number("find tree -mindepth 1 | wc -l"), 0);
}

static void each_entry_counts_a_block(void **arg)
{
    struct spec_unpack l = limits_default();
    struct err e;

    (void)arg;
    tar_add("d", '5', 0755, NULL, NULL);
    tar_add("d/f", '0', 0644, NULL, NULL);
    tar_add("d/s", '2', 0777, "f", NULL);
    tar_add("e/h", '1', 0644, "d/f", NULL); /* and e, made with the links */
    tar_end();
    l.max_bytes = 5 * 4096 - 1;
    assert_int_equal(run_with(l, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    assert_string_equal(e.text,
                        "with \"e\" it unpacks to more than 20479 bytes");
    assert_int_equal(shell_number("rm -r tree/* && echo 0"), 0);
    l.max_bytes = 5 * 4096;
    assert_int_equal(run_with(l, &e), 0);
}

/* As a package manager leaves it: small files by the thousand that pack well,
 * with and without their directories spelt out. */
static void an_ordinary_deep_tree_is_no_bomb(void **arg)
{
    static const char *const makers[] = {
        "tar czf x src", "find src -type f | tar czf x --no-recursion -T -"};

    for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
        struct err e;
        char cmd[512];

        setup(arg);
        snprintf(cmd, sizeof(cmd),
                 "cd %s && mkdir -p $(seq -f "
                 "src/node_modules/p%%g/lib/util 200) && "
                 "for p in src/*/*/*/*; do for f in a b c d e f g h; do "
                 "echo \"exports.$f = '$p'\" >$p/$f.js; done; done && "
                 "%s && cat x >a.tar",
                 dir, makers[i]);
        assert_int_equal(system(cmd), 0);
        if (run_with(limits_of_the_controller(), &e) != 0)
            fail_msg("%s: %s", makers[i], e.text);
        assert_int_equal(shell_number("diff -r src tree/src && echo 0"), 0);
        teardown(arg);
    }
}

/* Behind a first file of some bytes, one that says it ends just below 2^63:
 * the sum is no number of bytes any more. */
static void a_sparse_file_of_all_bytes_there_are_is_too_large(void **arg)
{
    struct err e;

    (void)arg;
    tar_add("first", '0', 0644, NULL, "0123456789");
    tar_add("pax", 'x', 0644, NULL,
            "39 GNU.sparse.size=9223372036854775807\n"
            "26 GNU.sparse.numblocks=1\n"
            "40 GNU.sparse.map=9223372036854775806,1\n");
    tar_add("vast", '0', 0644, NULL, "x");
    assert_int_equal(run(&e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    if (!strstr(e.text, "vast") || !strstr(e.text, "more than 4194304 bytes"))
        fail_msg("%s", e.text);
}

/* 8000 bytes, then a hole to the end: what the archive calls the size. */
static void a_hole_at_the_end_is_part_of_its_file(void **arg)
{
    char *data = calloc(1, 8001);
    struct stat st;
    struct err e;

    (void)arg;
    memset(data, 'x', 8000);
    tar_add("pax", 'x', 0644, NULL,
            "27 GNU.sparse.size=1048576\n"
            "26 GNU.sparse.numblocks=1\n"
            "25 GNU.sparse.map=0,8000\n");
    tar_add("holed", '0', 0644, NULL, data);
    assert_int_equal(run(&e), 0);
    assert_int_equal(fstatat(tree_fd, "holed", &st, 0), 0);
    assert_int_equal(st.st_size, 1 << 20);
    assert_int_equal(shell_number("tr -d 'x\\000' <tree/holed | wc -c"), 0);
    assert_int_equal(shell_number("tr -d '\\000' <tree/holed | wc -c"), 8000);

    teardown(NULL);
    setup(NULL);
    tar_add("pax", 'x', 0644, NULL,
            "33 GNU.sparse.size=1099511627776\n"
            "26 GNU.sparse.numblocks=1\n"
            "25 GNU.sparse.map=0,8000\n");
    tar_add("vast", '0', 0644, NULL, data);
    free(data);
    assert_int_equal(run(&e), -1);
    assert_string_equal(e.text,
                        "with \"vast\" it unpacks to more than 4194304 bytes");
}

/* One that was taken over by what it unpacked. */
static void an_unpacker_that_says_done_and_stays_is_killed(void **arg)
{
    struct spec_unpack l = limits_default();
    struct err e;

    (void)arg;
    l.max_depth = STAYS_DEPTH;
    tar_add("f", '0', 0644, NULL, "x");
    tar_end();
    alarm(20); /* ends this test where the parent waits */
    assert_int_equal(run_with(l, &e), 0);
    alarm(0);
}

/* As deep as a spec may say, and a link there that leads all the way down:
 * where the kernel has no openat2 it takes a descriptor for each directory. */
static void the_deepest_tree_comes_out(void **arg)
{
    struct spec_unpack limits = limits_default();
    char name[2 * 256 + 8] = "";
    struct err e;

    (void)arg;
    limits.max_depth = 256;
    limits.max_entries = 1000;
    limits.max_name = sizeof(name);
    for (int i = 0; i < 255; i++)
        memcpy(name + 2 * i, "x/", 2);
    memcpy(name + 2 * 255, "f", 2);
    tar_add("././@LongLink", 'L', 0, NULL, name);
    tar_add("x", '0', 0644, NULL, "deep");
    name[2 * 255] = 'l';
    tar_add("././@LongLink", 'L', 0, NULL, name);
    tar_add("x", '2', 0777, "f", NULL);
    tar_end();
    if (run_with(limits, &e) != 0)
        fail_msg("%s", e.text);
}

static void noise_truncation_and_emptiness_are_refused(void **arg)
{
    static const char noise[] = "this is no archive at all, not a bit of it";
    struct err e;

    (void)arg;
    assert_int_equal(run_with(limits_default(), &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    assert_true(write(tar_fd, noise, sizeof(noise)) > 0);
    assert_int_equal(run_with(limits_default(), &e), -1);
    assert_non_null(strstr(e.text, "not a whole archive"));
    assert_non_null(strstr(e.text, "gzip, xz or zstd, and zip"));

    teardown(NULL);
    setup(NULL);
    tar_add("f", '0', 0644, NULL, "0123456789");
    assert_int_equal(ftruncate(tar_fd, TAR_BLOCK + 4), 0);
    assert_int_equal(run_with(limits_default(), &e), -1);
    assert_non_null(strstr(e.text, "not a whole archive"));
}

static void every_format_is_read(void **arg)
{
    static const char *const makers[] = {
        "tar cf a.tar src", "tar czf x src && cat x >a.tar",
        "tar cJf x src && cat x >a.tar",
        "tar c src | zstd -q -c >x && cat x >a.tar",
        "zip -qr x.zip src && cat x.zip >a.tar"};

    for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
        struct err e = {0};
        struct stat st;
        char cmd[256];

        setup(arg);
        snprintf(cmd, sizeof(cmd),
                 "cd %s && mkdir -p src/bin && echo hi >src/bin/p && "
                 "chmod 755 src/bin/p && %s",
                 dir, makers[i]);
        assert_int_equal(system(cmd), 0);
        if (run_with(limits_default(), &e) != 0)
            fail_msg("%s: %s", makers[i], e.text);
        assert_int_equal(fstatat(tree_fd, "src/bin/p", &st, 0), 0);
        assert_int_equal(st.st_mode & 07777, 0755);
        teardown(arg);
    }
}

static void a_full_disk_is_said_to_be_one(void **arg)
{
    struct err e;
    char cmd[200], *big;

    if (geteuid() != 0) {
        print_message("needs root to mount a small file system\n");
        skip();
    }
    snprintf(cmd, sizeof(cmd), "mount -t tmpfs -o size=64k none %s/tree", dir);
    (void)arg;
    if (system(cmd) != 0)
        skip();
    close(tree_fd);
    snprintf(cmd, sizeof(cmd), "%s/tree", dir);
    tree_fd = open(cmd, O_RDONLY | O_DIRECTORY);
    big = calloc(1, 1 << 20);
    memset(big, 'x', (1 << 20) - 1);
    tar_add("big", '0', 0644, NULL, big);
    free(big);
    assert_int_equal(run(&e), -1);
    close(tree_fd);
    tree_fd = -1;
    snprintf(cmd, sizeof(cmd), "umount %s/tree", dir);
    assert_int_equal(system(cmd), 0);
    assert_int_equal(e.kind, ERR_SYSTEM);
    assert_non_null(strstr(e.text, "disk full"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(a_plain_tree_comes_out_with_plain_modes),
        cmocka_unit_test(each_hostile_archive_is_refused_and_named),
        T(every_limit_is_kept),
        T(a_name_over_its_limit_is_refused),
        T(a_bomb_stops_at_its_ratio),
        T(directories_made_unasked_count_as_entries),
        T(directories_made_unasked_count_for_the_ratio),
        T(only_one_compression_is_taken),
        T(each_entry_counts_a_block),
        cmocka_unit_test(an_ordinary_deep_tree_is_no_bomb),
        T(a_sparse_file_of_all_bytes_there_are_is_too_large),
        T(a_hole_at_the_end_is_part_of_its_file),
        T(an_unpacker_that_says_done_and_stays_is_killed),
        T(the_deepest_tree_comes_out),
        T(noise_truncation_and_emptiness_are_refused),
        cmocka_unit_test(every_format_is_read),
        T(a_full_disk_is_said_to_be_one),
    };

    if (argc > 1 && strcmp(argv[1], "--unpack") == 0) {
        int r = unpack_child_main(argc, argv);
        volatile bool stays = argc > 5 && atoi(argv[5]) == STAYS_DEPTH;

        while (stays) /* its filter of system calls allows no sleep */
            ;
        return r;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
