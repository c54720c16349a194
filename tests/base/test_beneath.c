/*
 * One tree, opened both ways: by openat2, and by the walk that takes its place
 * where a filter refuses that. Every answer is the same, errno too, and
 * nothing outside the tree is ever opened. The walk is done by a child, for a
 * filter does not come off again.
 */
#include "base/beneath.h"

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/nocall.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define NOBODY 65534

static char *dir;
static int root_fd = -1;

/* --- what opening a path came to --- */

struct look {
    int error; /* 0 = opened */
    dev_t dev;
    ino_t ino;
    int flags;
};

static struct look look_at(int at, const char *path, int flags,
                           enum beneath_links links)
{
    own_fd int fd =
        beneath_open(at, path, flags, flags & O_CREAT ? 0640 : 0, links);
    struct look l = {.error = fd < 0 ? errno : 0};
    struct stat st;

    if (fd < 0)
        return l;
    assert_int_equal(fstat(fd, &st), 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    l.dev = st.st_dev;
    l.ino = st.st_ino;
    /* the walk asked for a directory and for no link by itself */
    l.flags = fcntl(fd, F_GETFL) & ~(O_DIRECTORY | O_NOFOLLOW);
    return l;
}

static bool same(const struct look *a, const struct look *b)
{
    return a->error == b->error && a->dev == b->dev && a->ino == b->ino &&
           a->flags == b->flags;
}

struct question {
    int at;
    const char *path;
    int flags;
    enum beneath_links links;
};

/* Answer questions without openat2, in a child under a filter. */
static void ask_walk(const struct question *q, size_t count, struct look *out,
                     int error)
{
    int pair[2], status;
    pid_t pid;

    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        nocall(SYS_openat2, error);
        for (size_t i = 0; i < count; i++) {
            struct look l = look_at(q[i].at, q[i].path, q[i].flags, q[i].links);

            if (write(pair[1], &l, sizeof(l)) != sizeof(l))
                _exit(1);
        }
        /* every descriptor of the way was given back */
        _exit(fcntl(pair[1] + 1, F_GETFD) < 0 ? 0 : 2);
    }
    close(pair[1]);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(read(pair[0], &out[i], sizeof(out[i])),
                         sizeof(out[i]));
    close(pair[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static int differences(const struct question *q, size_t count, int error)
{
    struct look *walk = mem_zero(count, sizeof(*walk));
    int bad = 0;

    ask_walk(q, count, walk, error);
    for (size_t i = 0; i < count; i++) {
        struct look kernel =
            look_at(q[i].at, q[i].path, q[i].flags, q[i].links);

        if (same(&kernel, &walk[i]))
            continue;
        bad++;
        print_error("\"%.60s\" flags %#x%s: openat2 %s, the walk %s\n",
                    q[i].path, (unsigned)q[i].flags,
                    q[i].links == BENEATH_LINKS ? " following" : "",
                    kernel.error ? strerror(kernel.error) : "opens",
                    walk[i].error ? strerror(walk[i].error) : "opens");
    }
    free(walk);
    return bad;
}

static void compare(const struct question *q, size_t count, int error)
{
    assert_int_equal(differences(q, count, error), 0);
}

/* --- the tree --- */

static void link_to(const char *target, const char *name)
{
    assert_return_code(symlinkat(target, root_fd, name), errno);
}

static void a_chain(const char *stem, int length)
{
    char name[32], target[32];

    for (int i = 0; i < length; i++) {
        snprintf(name, sizeof(name), "%s%d", stem, i);
        snprintf(target, sizeof(target), "%s%d", stem, i + 1);
        link_to(i + 1 < length ? target : "d/file", name);
    }
}

static int setup(void **arg)
{
    own_mem char *root = NULL;

    (void)arg;
    dir = scratch_new();
    root = mem_printf("%s/root", dir);
    assert_return_code(mkdir(root, 0755), errno);
    tree_put(dir, "outside", "secret");
    tree_put(root, "d/e/file", "1");
    tree_put(root, "d/file", "2");
    tree_put(root, "top", "3");
    root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_return_code(root_fd, errno);
    link_to("../..", "d/e/f"); /* the root, and ... */
    link_to("d/e/f/..", "g");  /* ... out of it */
    link_to("d/e/f/../outside", "steal");
    link_to("..", "up");
    link_to("d/..", "round");
    link_to("/", "slash");
    link_to("/etc/passwd", "absolute");
    link_to("d/e", "dir");
    link_to("d/e/", "dirslash");
    link_to("d/file", "file");
    link_to("d/file/", "fileslash");
    link_to("nothing", "dangling");
    link_to("loop", "loop");
    link_to("pong", "ping");
    link_to("ping", "pong");
    link_to("../d/./e//file", "d/crooked");
    a_chain("forty", 40);
    a_chain("more", 41);
    assert_int_equal(mkfifoat(root_fd, "fifo", 0600), 0);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    close(root_fd);
    scratch_remove(dir);
    return 0;
}

static const char *const paths[] = {
    "",
    ".",
    "./",
    "..",
    "../",
    "../root/top",
    "../outside",
    "/",
    "//",
    "/etc/passwd",
    "top",
    "./top",
    "top/",
    "top/.",
    "top/..",
    "d",
    "d/",
    "d//",
    "d/.",
    "d/..",
    "d/../",
    "d/../..",
    "d/../../root",
    "d/../top",
    "d/e/../..",
    "d/e/../../..",
    "d/./e/.//file",
    "d//file",
    "d/file/x",
    "d/file/..",
    "d/none",
    "d/none/",
    "none/..",
    "none/../top",
    "d/e/f",
    "d/e/f/",
    "d/e/f/.",
    "d/e/f/..",
    "d/e/f/top",
    "d/e/f/d/e/f/top",
    "d/e/f/../outside",
    "g",
    "g/",
    "g/outside",
    "g/root",
    "steal",
    "up",
    "up/",
    "up/root",
    "round",
    "round/..",
    "round/top",
    "slash",
    "slash/",
    "slash/etc",
    "absolute",
    "absolute/",
    "dir",
    "dir/",
    "dir/.",
    "dir/..",
    "dir/file",
    "dir/../file",
    "dir/../../top",
    "dir/../../..",
    "dirslash",
    "dirslash/",
    "dirslash/file",
    "file",
    "file/",
    "file/x",
    "fileslash",
    "dangling",
    "dangling/",
    "dangling/x",
    "loop",
    "loop/",
    "loop/x",
    "ping",
    "ping/..",
    "d/crooked",
    "forty0",
    "forty0/",
    "more0",
    "more1",
    "fifo",
    "fifo/",
    "d/e/f/fifo",
};

static const int all_flags[] = {
    O_PATH,
    O_PATH | O_NOFOLLOW,
    O_PATH | O_DIRECTORY,
    O_PATH | O_DIRECTORY | O_NOFOLLOW,
    O_RDONLY | O_NONBLOCK,
    O_RDONLY | O_NONBLOCK | O_NOFOLLOW,
    O_RDONLY | O_DIRECTORY,
    O_WRONLY | O_NONBLOCK,
    O_RDWR | O_NONBLOCK | O_CREAT | O_EXCL | O_NOFOLLOW,
};

/* --- the tests --- */

static void all_paths_and_flags(int error)
{
    static struct question q[COUNT(paths) * COUNT(all_flags) * 2];
    size_t n = 0;

    for (size_t f = 0; f < COUNT(all_flags); f++)
        for (size_t p = 0; p < COUNT(paths); p++)
            for (int l = BENEATH_NO_LINKS; l <= BENEATH_LINKS; l++) {
                /* one that is made by the first is not by the second */
                if ((all_flags[f] & O_CREAT) && strstr(paths[p], "none"))
                    continue;
                q[n++] = (struct question){root_fd, paths[p], all_flags[f],
                                           (enum beneath_links)l};
            }
    compare(q, n, error);
}

static void both_ways_answer_alike(void **arg)
{
    (void)arg;
    if (!beneath_is_native())
        skip();
    all_paths_and_flags(ENOSYS);
}

static void a_filter_that_says_eperm_is_walked_round_too(void **arg)
{
    (void)arg;
    if (!beneath_is_native())
        skip();
    all_paths_and_flags(EPERM);
}

static void long_names_and_paths_are_refused_alike(void **arg)
{
    char name[300], *path = mem_zero(6000, 1);
    struct question q[12];
    size_t n = 0;

    (void)arg;
    if (!beneath_is_native())
        skip();
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = 0;
    for (int i = 0; i < 1400; i++)
        memcpy(path + 3 * i, "d/.", 3), path[3 * i + 2] = '/';
    for (int follow = 0; follow < 2; follow++) {
        const enum beneath_links l = (enum beneath_links)follow;

        q[n++] = (struct question){root_fd, name, O_PATH, l};
        q[n++] = (struct question){root_fd, name + 44, O_PATH, l}; /* 255 */
        q[n++] = (struct question){root_fd, name + 43, O_PATH, l}; /* 256 */
        q[n++] = (struct question){root_fd, path, O_PATH, l};
        q[n++] = (struct question){root_fd, path + 4200 - 4095, O_PATH, l};
        q[n++] = (struct question){root_fd, path + 4200 - 4096, O_PATH, l};
    }
    compare(q, n, ENOSYS);
    free(path);
}

static void descriptors_that_are_no_directory_are_refused_alike(void **arg)
{
    own_fd int file = openat(root_fd, "top", O_RDONLY | O_CLOEXEC);
    struct question q[] = {
        {file, "x", O_PATH, BENEATH_LINKS},  {file, ".", O_PATH, BENEATH_LINKS},
        {file, "..", O_PATH, BENEATH_LINKS}, {-1, "x", O_PATH, BENEATH_LINKS},
        {-1, "..", O_PATH, BENEATH_LINKS},   {-1, "", O_PATH, BENEATH_LINKS},
        {-1, "/x", O_PATH, BENEATH_LINKS},
    };

    (void)arg;
    if (!beneath_is_native())
        skip();
    compare(q, COUNT(q), ENOSYS);
}

static void magic_links_are_refused_alike(void **arg)
{
    own_fd int proc = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    own_fd int fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    char number[16];
    struct question q[] = {
        {proc, "cwd", O_PATH, BENEATH_LINKS},
        {proc, "cwd/", O_PATH, BENEATH_LINKS},
        {proc, "root/etc", O_PATH, BENEATH_LINKS},
        {proc, "exe", O_RDONLY, BENEATH_LINKS},
        {proc, "ns/mnt", O_RDONLY, BENEATH_LINKS},
        {proc, "fd/0", O_RDONLY, BENEATH_LINKS},
        {proc, "cwd", O_RDONLY, BENEATH_NO_LINKS},
        {fds, number, O_PATH, BENEATH_LINKS},
        {fds, number, O_PATH | O_DIRECTORY, BENEATH_LINKS},
    };

    (void)arg;
    if (!beneath_is_native())
        skip();
    snprintf(number, sizeof(number), "%d", root_fd);
    for (size_t i = 0; i < COUNT(q); i++)
        assert_int_equal(
            look_at(q[i].at, q[i].path, q[i].flags, q[i].links).error, ELOOP);
    compare(q, COUNT(q), ENOSYS);
}

/* Root passes every mode: the questions are those of another user. */
static void a_directory_that_may_not_be_searched_is_no_way_on(void **arg)
{
    static const char *const rows[] = {"shut",        "shut/.",  "shut/..",
                                       "shut/../top", "shut/in", "shut/none",
                                       "d/none/..",   "link/..", "link/in"};
    struct question q[COUNT(rows) * 2];
    own_mem char *root = mem_printf("%s/root", dir);
    int status;
    pid_t pid;

    (void)arg;
    if (!beneath_is_native())
        skip();
    tree_put(root, "shut/in", "4");
    link_to("shut", "link");
    assert_int_equal(fchmodat(root_fd, "shut", 0600, 0), 0);
    for (size_t i = 0; i < COUNT(q); i++)
        q[i] = (struct question){root_fd, rows[i / 2], O_PATH,
                                 (enum beneath_links)(i % 2)};
    pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && (setgid(NOBODY) < 0 || setuid(NOBODY) < 0))
            _exit(1);
        if (look_at(root_fd, "shut/..", O_PATH, BENEATH_LINKS).error != EACCES)
            _exit(2);
        _exit(differences(q, COUNT(q), ENOSYS) > 0 ? 3 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(fchmodat(root_fd, "shut", 0700, 0), 0);
}

static void a_file_is_made_with_its_mode(void **arg)
{
    struct question q = {root_fd, "d/new", O_WRONLY | O_CREAT | O_EXCL,
                         BENEATH_NO_LINKS};
    struct look l;
    struct stat st;

    (void)arg;
    umask(022);
    ask_walk(&q, 1, &l, ENOSYS);
    assert_int_equal(l.error, 0);
    assert_int_equal(fstatat(root_fd, "d/new", &st, 0), 0);
    assert_int_equal(st.st_ino, l.ino);
    assert_int_equal(st.st_mode, S_IFREG | 0640);
}

/* As many directories as there may be descriptors of the walk; one more is
 * refused, and not by running out of them. */
static void the_walk_goes_as_deep_as_it_says(void **arg)
{
    char *path = mem_zero(2 * BENEATH_DEPTH_MAX + 8, 1);
    struct question q[2];
    struct look l[2];
    own_fd int at = dup(root_fd);

    (void)arg;
    for (int i = 0; i <= BENEATH_DEPTH_MAX; i++) {
        int next;

        assert_return_code(mkdirat(at, "x", 0755), errno);
        next = openat(at, "x", O_PATH | O_DIRECTORY);
        assert_return_code(next, errno);
        close(at);
        at = next;
        memcpy(path + 2 * i, "x/", 2);
    }
    path[2 * BENEATH_DEPTH_MAX + 1] = 0; /* 257 names, 256 gone into */
    q[0] = (struct question){root_fd, path, O_PATH, BENEATH_LINKS};
    q[1] = q[0];
    q[1].path = mem_printf("%s/.", path);
    ask_walk(q, 2, l, ENOSYS);
    assert_int_equal(l[0].error, 0);
    assert_int_equal(l[1].error, ENAMETOOLONG);
    free((char *)q[1].path);
    free(path);
}

/* --- trees by chance --- */

static unsigned dice(unsigned *seed, unsigned sides)
{
    *seed = *seed * 1103515245u + 12345u;
    return (*seed >> 16) % sides;
}

/* Few names, so that what is drawn often meets what is there. */
static void draw_path(unsigned *seed, char *out)
{
    static const char *const words[] = {"a", "b",  "c",  "l", "m",
                                        "n", "..", "..", ".", ""};
    const unsigned parts = 1 + dice(seed, 6);
    size_t n = 0;

    for (unsigned i = 0; i < parts; i++)
        n += (size_t)sprintf(out + n, "%s%s", words[dice(seed, COUNT(words))],
                             i + 1 < parts || dice(seed, 5) == 0 ? "/" : "");
    out[n] = 0;
}

static void draw_tree(unsigned *seed, int at)
{
    char path[64], target[64];

    for (int i = 0; i < 40; i++) {
        draw_path(seed, path);
        draw_path(seed, target);
        if (dice(seed, 3) == 0)
            mkdirat(at, path, 0755);
        else if (dice(seed, 4) == 0)
            close(openat(at, path, O_WRONLY | O_CREAT | O_NOFOLLOW, 0644));
        else if (target[0] && symlinkat(target, at, path) < 0)
            continue;
    }
}

static void trees_by_chance_look_alike(void **arg)
{
    enum { TREES = 60, PATHS = 200 };
    static char asked[PATHS][64];
    static struct question q[PATHS];
    unsigned seed = 20;

    (void)arg;
    if (!beneath_is_native())
        skip();
    for (int t = 0; t < TREES; t++) {
        char deep[32];
        own_fd int at = -1;

        /* deep enough that what is drawn leads nowhere but into scratch */
        snprintf(deep, sizeof(deep), "%d/1/2/3/4/5/6", t);
        for (char *p = deep; (p = strchr(p, '/')); p++) {
            *p = 0;
            mkdirat(root_fd, deep, 0755);
            *p = '/';
        }
        assert_return_code(mkdirat(root_fd, deep, 0755), errno);
        at = openat(root_fd, deep, O_PATH | O_DIRECTORY | O_CLOEXEC);
        draw_tree(&seed, at);
        for (int i = 0; i < PATHS; i++) {
            draw_path(&seed, asked[i]);
            q[i] = (struct question){
                at, asked[i], all_flags[dice(&seed, COUNT(all_flags) - 1)],
                (enum beneath_links)(dice(&seed, 4) > 0)};
        }
        compare(q, PATHS, ENOSYS);
    }
}

/* --- others who rename meanwhile --- */

struct mover {
    atomic_bool stop;
    long rounds;
    int at;
};

/* A directory and a link out of the tree change places. */
static void *swap_places(void *arg)
{
    struct mover *m = arg;

    while (!atomic_load(&m->stop)) {
        syscall(SYS_renameat2, m->at, "swap", m->at, "other", 2 /* EXCHANGE */);
        m->rounds++;
    }
    return NULL;
}

/* Opens both ways a path whose middle is swapped all the time for a link to
 * what lies outside: 0, or what went wrong. */
static int race(const char *path, enum beneath_links links, int tries)
{
    struct stat secret, st;
    char *outside = mem_printf("%s/outside", dir);
    int r = stat(outside, &secret) < 0 ? 1 : 0, opened = 0;

    free(outside);
    /* (longer where a busy machine leaves the link in place all the time) */
    for (int i = 0; r == 0 && i < (opened ? tries : tries * 100); i++) {
        own_fd int fd = beneath_open(root_fd, path, O_PATH, 0, links);

        if (fd >= 0)
            opened++;
        if (fd >= 0 && (fstat(fd, &st) < 0 || (st.st_ino == secret.st_ino &&
                                               st.st_dev == secret.st_dev)))
            r = 2;
        if (fd < 0 && errno != ELOOP && errno != EXDEV && errno != ENOTDIR)
            r = 3;
    }
    return r == 0 && opened == 0 ? 4 : r;
}

static int race_walked(const char *path, enum beneath_links links, int tries)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        nocall(SYS_openat2, ENOSYS);
        _exit(race(path, links, tries));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void what_is_swapped_meanwhile_leads_nowhere(void **arg)
{
    own_mem char *root = mem_printf("%s/root", dir);
    struct mover m = {.at = root_fd};
    pthread_t thread;

    (void)arg;
    tree_put(root, "swap/outside", "mine");
    link_to("..", "other"); /* other/outside is the secret */
    assert_int_equal(pthread_create(&thread, NULL, swap_places, &m), 0);
    assert_int_equal(race_walked("swap/outside", BENEATH_NO_LINKS, 20000), 0);
    assert_int_equal(race_walked("swap/outside", BENEATH_LINKS, 20000), 0);
    assert_int_equal(race("swap/outside", BENEATH_NO_LINKS, 20000), 0);
    assert_int_equal(race("swap/outside", BENEATH_LINKS, 20000), 0);
    atomic_store(&m.stop, true);
    pthread_join(thread, NULL);
    assert_true(m.rounds > 0);
}

/* The kernel answers EAGAIN where anybody on the machine renames while it goes
 * through "..": no fault of the path's. */
static void renames_of_others_are_no_error(void **arg)
{
    struct mover m = {.at = root_fd};
    pthread_t thread;

    (void)arg;
    if (!beneath_is_native())
        skip();
    assert_int_equal(mkdirat(root_fd, "swap", 0755), 0);
    assert_int_equal(mkdirat(root_fd, "other", 0755), 0);
    assert_int_equal(pthread_create(&thread, NULL, swap_places, &m), 0);
    for (int i = 0; i < 100000; i++) {
        own_fd int fd = beneath_open(root_fd, "d/e/../e/../e/../file", O_PATH,
                                     0, BENEATH_NO_LINKS);

        if (fd < 0)
            fail_msg("try %d: %s", i, strerror(errno));
    }
    atomic_store(&m.stop, true);
    pthread_join(thread, NULL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(both_ways_answer_alike),
        T(a_filter_that_says_eperm_is_walked_round_too),
        T(long_names_and_paths_are_refused_alike),
        T(descriptors_that_are_no_directory_are_refused_alike),
        T(magic_links_are_refused_alike),
        T(a_directory_that_may_not_be_searched_is_no_way_on),
        T(a_file_is_made_with_its_mode),
        T(the_walk_goes_as_deep_as_it_says),
        T(trees_by_chance_look_alike),
        T(what_is_swapped_meanwhile_leads_nowhere),
        T(renames_of_others_are_no_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
