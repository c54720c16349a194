#include "agent/unpack.h"

#include "agent/lockdown.h"
#include "agent/unpack_lib.h"
#include "agent/unpack_tree.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define UNPACK_CHUNK_BYTES 65536
#define UNPACK_POLL_MS 200
#define UNPACK_FILTERS 2 /* one compression, and the file itself */
/* of the child; xz needs 65 MiB at its highest preset */
#define UNPACK_MEMORY_BYTES (512ul << 20)

/* --- extraction --- */

struct unpack_job {
    const struct unpack_conf *conf;
    struct unpack_tree tree;
    struct archive *archive;
};

/* libarchive's own word, which may quote a hostile name. */
static int unpack_archive_err(struct unpack_job *j, struct err *e)
{
    char shown[UNPACK_SHOWN_MAX];
    const char *text = archive_error_string(j->archive);

    unpack_show(text ? text : "unknown format", shown);
    return err_set(e, ERR_INPUT,
                   "not a whole archive of those that are read (tar, plain or "
                   "with gzip, xz or zstd, and zip): %s",
                   shown);
}

static void unpack_tell(struct unpack_job *j)
{
    if (j->conf->progress)
        j->conf->progress(j->conf->arg, archive_filter_bytes(j->archive, -1),
                          j->tree.archive_bytes);
}

static int unpack_write(int fd, const uint8_t *p, size_t len, int64_t at,
                        const char *name, struct err *e)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, p, len, at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            char shown[UNPACK_SHOWN_MAX];
            int saved = errno;

            unpack_show(name, shown);
            errno = saved;
            return err_sys(e, "%swrite \"%s\"",
                           errno == ENOSPC ? "disk full while unpacking: " : "",
                           shown);
        }
        p += n;
        len -= (size_t)n;
        at += n;
    }
    return 0;
}

/* A hole at the end, which comes with no block of data: `size` is the whole
 * file's, `end` where its data end. The last byte is written, not the size set:
 * that needs no system call more of the unpacker. */
static int unpack_tail(struct unpack_job *j, int fd, int64_t end, int64_t size,
                       const char *name, struct err *e)
{
    if (size <= end)
        return 0;
    if (unpack_tree_bytes(&j->tree, size - end, name, e) < 0)
        return -1;
    return unpack_write(fd, (const uint8_t *)"", 1, size - 1, name, e);
}

/* The bytes of one file. Holes count as bytes: a sparse file of a terabyte
 * is one to whoever reads it. */
static int unpack_data(struct unpack_job *j, int fd, int64_t size,
                       const char *name, struct err *e)
{
    int64_t end = 0;

    for (;;) {
        const void *block;
        size_t len;
        int64_t at;
        int r = archive_read_data_block(j->archive, &block, &len, &at);

        if (r == ARCHIVE_EOF)
            return unpack_tail(j, fd, end, size, name, e);
        if (r != ARCHIVE_OK)
            return unpack_archive_err(j, e);
        if (at < end || at > INT64_MAX - (int64_t)len)
            return err_set(e, ERR_INPUT, "a file's parts overlap");
        if (unpack_tree_bytes(&j->tree, at + (int64_t)len - end, name, e) < 0 ||
            unpack_write(fd, block, len, at, name, e) < 0)
            return -1;
        end = at + (int64_t)len;
        unpack_tell(j);
    }
}

static int unpack_file(struct unpack_job *j, struct archive_entry *entry,
                       const char *name, struct err *e)
{
    bool is_executable = (archive_entry_perm(entry) & 0111) != 0;
    own_fd int fd = unpack_tree_file(&j->tree, name, is_executable, e);

    if (fd < 0 || unpack_data(j, fd, archive_entry_size(entry), name, e) < 0)
        return -1;
    /* the umask of whoever started us does not count. Nothing is synced:
     * a session does not outlive the machine's boot, nor does its tree */
    if (fchmod(fd, is_executable ? 0755 : 0644) < 0)
        return err_sys(e, "finish a file");
    return 0;
}

static int unpack_refuse_type(const char *name, mode_t type, struct err *e)
{
    char shown[UNPACK_SHOWN_MAX];

    unpack_show(name, shown);
    return err_set(e, ERR_INPUT,
                   "entry \"%s\" is a %s; only files, directories and links "
                   "are unpacked",
                   shown,
                   type == AE_IFIFO                       ? "fifo"
                   : type == AE_IFCHR || type == AE_IFBLK ? "device"
                   : type == AE_IFSOCK                    ? "socket"
                                                          : "thing");
}

static int unpack_entry(struct unpack_job *j, struct archive_entry *entry,
                        struct err *e)
{
    const char *raw = archive_entry_pathname(entry);
    const char *hard = archive_entry_hardlink(entry);
    const char *soft = archive_entry_symlink(entry);
    mode_t type = archive_entry_filetype(entry);
    char name[4097], shown[UNPACK_SHOWN_MAX];
    int r;

    if (!raw)
        return err_set(e, ERR_INPUT,
                       "an entry has a name that is not plain UTF-8");
    if (unpack_tree_count(&j->tree, raw, e) < 0)
        return -1;
    r = unpack_tree_name(&j->tree, raw, name, e);
    if (r < 0)
        return -1;
    if (r == 1) /* "./": the root, which is there */
        return type == AE_IFDIR ? 0 : unpack_refuse_type(raw, type, e);
    if (archive_entry_perm(entry) & 07000 && type != AE_IFDIR) {
        unpack_show(name, shown);
        return err_set(e, ERR_INPUT, "entry \"%s\" has a set-id or sticky bit",
                       shown);
    }
    if (hard)
        return unpack_tree_link(&j->tree, name, hard, true, e);
    if (type == AE_IFLNK)
        return unpack_tree_link(&j->tree, name, soft ? soft : "", false, e);
    if (type == AE_IFDIR)
        return unpack_tree_dir(&j->tree, name, e);
    if (type != AE_IFREG)
        return unpack_refuse_type(name, type, e);
    return unpack_file(j, entry, name, e);
}

static int unpack_open_archive(struct unpack_job *j, struct err *e)
{
    struct stat st;

    if (fstat(j->conf->archive_fd, &st) < 0 || !S_ISREG(st.st_mode))
        return err_set(e, ERR_SYSTEM, "archive is no regular file");
    j->tree.archive_bytes = st.st_size;
    if (lseek(j->conf->archive_fd, 0, SEEK_SET) < 0)
        return err_sys(e, "archive");
    j->archive = archive_read_new();
    if (!j->archive)
        abort();
    if (archive_read_support_format_tar(j->archive) < ARCHIVE_WARN ||
        archive_read_support_format_zip(j->archive) < ARCHIVE_WARN ||
        archive_read_support_filter_gzip(j->archive) < ARCHIVE_WARN ||
        archive_read_support_filter_xz(j->archive) < ARCHIVE_WARN ||
        archive_read_support_filter_zstd(j->archive) < ARCHIVE_WARN ||
        archive_read_open_fd(j->archive, j->conf->archive_fd,
                             UNPACK_CHUNK_BYTES) != ARCHIVE_OK)
        return unpack_archive_err(j, e);
    return 0;
}

static int unpack_all(struct unpack_job *j, struct err *e)
{
    struct archive_entry *entry;

    for (;;) {
        int r = archive_read_next_header(j->archive, &entry);

        if (r == ARCHIVE_EOF)
            break;
        /* a warning is a refusal: nothing is guessed */
        if (r != ARCHIVE_OK)
            return unpack_archive_err(j, e);
        if (archive_filter_count(j->archive) > UNPACK_FILTERS)
            return err_set(e, ERR_INPUT,
                           "the archive is compressed more than once");
        if (unpack_entry(j, entry, e) < 0)
            return -1;
        unpack_tell(j);
    }
    if (j->tree.entries == 0)
        return err_set(e, ERR_INPUT, "the archive is empty");
    return unpack_tree_links(&j->tree, e);
}

int unpack_extract(const struct unpack_conf *conf, struct err *e)
{
    struct unpack_job j = {
        .conf = conf,
        .tree = {.dir_fd = conf->dir_fd, .limits = conf->limits},
    };
    int r = unpack_lib_load(e);

    if (r == 0)
        r = unpack_open_archive(&j, e);
    if (r == 0)
        r = unpack_all(&j, e);
    if (j.archive)
        archive_read_free(j.archive);
    unpack_tree_fini(&j.tree);
    return r;
}

/* --- the child --- */

enum { CHILD_ARCHIVE_FD = 3, CHILD_DIR_FD = 4, CHILD_PIPE_FD = 5 };

/* What the child says on its pipe: fixed records, so that the parent parses
 * nothing of variable length from it. */
struct unpack_word {
    int32_t kind; /* -1 progress, 0 done, else an enum err_kind */
    int32_t spare;
    int64_t done;
    char text[ERR_TEXT_MAX];
};

static void unpack_say(int32_t kind, int64_t done, const char *text)
{
    struct unpack_word w = {.kind = kind, .done = done};
    ssize_t n;

    snprintf(w.text, sizeof(w.text), "%s", text);
    n = write(CHILD_PIPE_FD, &w, sizeof(w)); /* below PIPE_BUF: whole */
    (void)n;
}

static void unpack_child_progress(void *arg, int64_t done, int64_t total)
{
    int64_t *told_ms = arg, now = loop_now_ms();

    (void)total;
    if (now - *told_ms < 50)
        return;
    *told_ms = now;
    unpack_say(-1, done, "");
}

/* argv: --unpack entries bytes ratio depth name */
static int unpack_child_limits(int argc, char **argv, struct spec_unpack *l)
{
    int64_t *slots[] = {&l->max_entries, &l->max_bytes, &l->max_ratio,
                        &l->max_depth, &l->max_name};

    if (argc != 7)
        return -1;
    for (int i = 0; i < 5; i++) {
        char *end;

        *slots[i] = strtoll(argv[i + 2], &end, 10);
        if (*end || *slots[i] < 1)
            return -1;
    }
    return 0;
}

int unpack_child_main(int argc, char **argv)
{
    int64_t told_ms = 0;
    struct unpack_conf conf = {
        .archive_fd = CHILD_ARCHIVE_FD,
        .dir_fd = CHILD_DIR_FD,
        .progress = unpack_child_progress,
        .arg = &told_ms,
    };
    struct err e = {0};

    if (unpack_child_limits(argc, argv, &conf.limits) < 0)
        return EXIT_FAILURE;
    setlocale(LC_CTYPE, "C.UTF-8");
    umask(022);
    proc_undumpable();
    if (unpack_lib_load(&e) < 0 ||
        lockdown_unpacker(CHILD_DIR_FD, conf.limits.max_bytes,
                          UNPACK_MEMORY_BYTES, &e) < 0 ||
        unpack_extract(&conf, &e) < 0) {
        unpack_say((int32_t)e.kind, 0, e.text);
        return EXIT_FAILURE;
    }
    unpack_say(0, 0, "");
    return EXIT_SUCCESS;
}

/* --- the parent --- */

static int unpack_spawn(const struct unpack_conf *conf, int pipe_fd,
                        struct err *e)
{
    char numbers[5][24];
    char *argv[8] = {"podterm-agent", "--unpack"};
    int fds[6] = {-1, -1, 2, conf->archive_fd, conf->dir_fd, pipe_fd};
    struct proc_spawn how = {
        .path = "/proc/self/exe",
        .argv = argv,
        .fds = fds,
        .fd_count = 6,
        .death_signal = SIGKILL,
    };
    const int64_t limits[5] = {conf->limits.max_entries, conf->limits.max_bytes,
                               conf->limits.max_ratio, conf->limits.max_depth,
                               conf->limits.max_name};
    pid_t pid;

    for (int i = 0; i < 5; i++) {
        snprintf(numbers[i], sizeof(numbers[i]), "%lld", (long long)limits[i]);
        argv[i + 2] = numbers[i];
    }
    return proc_spawn(&how, &pid, e);
}

/* Take one record. 1 more may come; 0 done; -1 */
static int unpack_hear(const struct unpack_conf *conf, int pipe_fd,
                       int64_t total, struct err *e)
{
    struct unpack_word w;
    ssize_t n = read(pipe_fd, &w, sizeof(w));

    if (n != (ssize_t)sizeof(w))
        return err_set(e, ERR_INPUT,
                       "the archive could not be unpacked: the unpacker died "
                       "on it");
    w.text[sizeof(w.text) - 1] = 0;
    if (w.kind == 0)
        return 0;
    if (w.kind == -1) {
        if (conf->progress)
            conf->progress(conf->arg, w.done, total);
        return 1;
    }
    return err_set(e, w.kind == ERR_INPUT ? ERR_INPUT : ERR_SYSTEM, "%s",
                   w.text);
}

static int unpack_follow(const struct unpack_conf *conf, int pipe_fd,
                         struct err *e)
{
    int64_t until = loop_now_ms() + (int64_t)UNPACK_SECONDS_MAX * 1000;
    struct stat st = {0};
    int r = 1;

    fstat(conf->archive_fd, &st);
    while (r == 1) {
        struct pollfd p = {.fd = pipe_fd, .events = POLLIN};

        if (conf->is_cancelled && conf->is_cancelled(conf->arg))
            return err_set(e, ERR_TIMEOUT, "cancelled");
        if (loop_now_ms() > until)
            return err_set(e, ERR_INPUT, "unpacking took more than %d s",
                           UNPACK_SECONDS_MAX);
        if (poll(&p, 1, UNPACK_POLL_MS) > 0)
            r = unpack_hear(conf, pipe_fd, st.st_size, e);
    }
    return r;
}

int unpack_run(const struct unpack_conf *conf, struct err *e)
{
    own_fd int read_fd = -1;
    own_fd int child_fd = -1;
    siginfo_t info;
    int ends[2], r;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_sys(e, "pipe");
    read_fd = ends[0];
    child_fd = unpack_spawn(conf, ends[1], e);
    close(ends[1]);
    if (child_fd < 0)
        return -1;
    r = unpack_follow(conf, read_fd, e);
    /* whatever it said: one that was taken over may say "done" and stay */
    proc_signal(child_fd, SIGKILL);
    waitid(P_PIDFD, (id_t)child_fd, &info, WEXITED);
    return r;
}
