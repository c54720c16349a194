#include "controller/webdir.h"

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/own.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define WEBDIR_TAG_BYTES 16 /* of the digest: nobody makes two alike */
#define WEBDIR_HASH_MIN 8   /* characters of a hash in a name */
#define GZIP_LEAST 18       /* bytes of a gzip file: head and trailer */

struct webdir {
    struct webdir_file *files; /* by path */
    size_t count, room;
    int64_t bytes;
};

struct walk { /* while it is read */
    struct webdir *w;
    const char *dir; /* as it was given, for errors */
    const struct webdir_limits *limits;
    int depth;
};

static const struct {
    const char *ending, *type;
} kinds[] = {
    {"html", "text/html; charset=utf-8"},
    {"js", "text/javascript; charset=utf-8"},
    {"mjs", "text/javascript; charset=utf-8"},
    {"css", "text/css; charset=utf-8"},
    {"json", "application/json"},
    {"map", "application/json"},
    {"webmanifest", "application/manifest+json"},
    {"svg", "image/svg+xml"},
    {"png", "image/png"},
    {"ico", "image/x-icon"},
    {"woff2", "font/woff2"},
    {"wasm", "application/wasm"},
    {"txt", "text/plain; charset=utf-8"},
};

static const char *ending_of(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot ? dot + 1 : "";
}

static const char *type_of(const char *path)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].ending, ending_of(path)) == 0)
            return kinds[i].type;
    return NULL;
}

static enum coding coding_of(const char *path)
{
    if (strcmp(ending_of(path), "br") == 0)
        return CODING_BR;
    return strcmp(ending_of(path), "gz") == 0 ? CODING_GZIP : CODING_IDENTITY;
}

/* "/assets/page-0A1B2C3D.js": below /assets/, and the name's last part is a
 * hash as builders write them, base 32 or hex. "-settings" is none. */
static bool has_hash(const char *path)
{
    static const char *const digits[] = {"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
                                         "0123456789abcdef",
                                         "0123456789ABCDEF"};
    const char *dash = strrchr(path, '-'), *slash = strrchr(path, '/');

    if (strncmp(path, "/assets/", 8) != 0 || !dash || dash < slash)
        return false;
    for (size_t i = 0; i < sizeof digits / sizeof *digits; i++) {
        size_t n = strspn(dash + 1, digits[i]);

        if (n >= WEBDIR_HASH_MIN && dash[1 + n] == '.')
            return true;
    }
    return false;
}

/* --- reading --- */

static int refuse(const struct walk *k, const char *path, const char *what,
                  struct err *e)
{
    return err_set(e, ERR_INPUT, "--web-dir %.100s: %.100s %s", k->dir,
                   *path ? path + 1 : "it", what);
}

/* Names that need no spelling in a URL and hide nothing. */
static bool is_plain(const char *name)
{
    return name[0] != '.' &&
           name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                             "abcdefghijklmnopqrstuvwxyz0123456789._-")] ==
               '\0';
}

static int check_entry(const struct walk *k, const char *path,
                       const struct stat *st, struct err *e)
{
    if (S_ISLNK(st->st_mode))
        return refuse(k, path,
                      "is a link: put the file itself there, links may lead "
                      "anywhere",
                      e);
    if (!S_ISDIR(st->st_mode) && !S_ISREG(st->st_mode))
        return refuse(k, path, "is no file: take it away", e);
    if (st->st_mode & S_IWOTH)
        return refuse(k, path,
                      "may be written by everybody on this machine, and what "
                      "it says is run in browsers: chmod o-w",
                      e);
    return 0;
}

static struct webdir_file *add_file(struct webdir *w, const char *path)
{
    if (w->count == w->room) {
        w->room = w->room ? 2 * w->room : 32;
        w->files = mem_resize(w->files, w->room, sizeof *w->files);
    }
    memset(&w->files[w->count], 0, sizeof *w->files);
    w->files[w->count].path = mem_str(path);
    return &w->files[w->count++];
}

static void set_tag(struct webdir_copy *c)
{
    uint8_t hash[SHA256_BYTES];
    char hex[2 * WEBDIR_TAG_BYTES + 1];

    sha256(c->bytes, c->len, hash);
    hex_encode(hash, WEBDIR_TAG_BYTES, hex);
    snprintf(c->etag, sizeof c->etag, "\"%s\"", hex);
}

/* Each copy has an entry of its own until all are there; fd is open on it. */
static int read_file(struct walk *k, int fd, const char *path,
                     const struct stat *st, struct err *e)
{
    const int64_t left = k->limits->bytes - k->w->bytes;
    struct webdir_copy *c;
    struct buf bytes;

    if (k->w->count == (size_t)k->limits->files)
        return err_set(e, ERR_INPUT,
                       "--web-dir %.100s: more than %lld files; is it the "
                       "page's? Else raise --web-max-files",
                       k->dir, (long long)k->limits->files);
    if (st->st_size > left)
        return err_set(e, ERR_INPUT,
                       "--web-dir %.100s: more than %lld bytes, with "
                       "%.60s; is it the page's? Else raise --web-max-bytes",
                       k->dir, (long long)k->limits->bytes, path + 1);
    buf_init(&bytes, (size_t)left);
    if (file_take(fd, path + 1, &bytes, e) < 0) {
        buf_fini(&bytes);
        return err_wrap(e, "--web-dir %.100s", k->dir);
    }
    c = &add_file(k->w, path)->copies[CODING_IDENTITY];
    c->len = bytes.len; /* the buffer's bytes, which is given up */
    c->bytes = mem_resize(bytes.data, c->len + 1, 1);
    k->w->bytes += (int64_t)c->len;
    set_tag(c);
    return 0;
}

static int read_dir(struct walk *k, int dir_fd, const char *path,
                    struct err *e);

/* path: of the entry below the directory, "/assets/a.js". */
static int read_entry(struct walk *k, int dir_fd, const char *path,
                      struct err *e)
{
    const char *name = strrchr(path, '/') + 1;
    struct stat st;
    own_fd int fd = -1;

    if (!is_plain(name))
        return refuse(k, path,
                      "has an odd name: letters, digits, dot, dash and "
                      "underscore are served, and no dot at the beginning",
                      e);
    if (strlen(path) - 1 > (size_t)k->limits->name)
        return refuse(k, path, "has too long a name: see --web-max-name", e);
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_sys(e, "--web-dir %.100s: %.100s", k->dir, path + 1);
    if (check_entry(k, path, &st, e) < 0)
        return -1;
    /* judged again by what was opened: it may have been replaced */
    fd = openat(dir_fd, name,
                O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys(e, "--web-dir %.100s: %.100s", k->dir, path + 1);
    if (check_entry(k, path, &st, e) < 0)
        return -1;
    return S_ISDIR(st.st_mode) ? read_dir(k, own_fd_give(&fd), path, e)
                               : read_file(k, fd, path, &st, e);
}

/* Takes dir_fd. */
static int read_dir(struct walk *k, int dir_fd, const char *path, struct err *e)
{
    DIR *d = fdopendir(dir_fd);
    struct dirent *de;
    int rc = 0;

    if (!d) {
        close(dir_fd);
        return err_sys(e, "--web-dir %.100s: %.100s", k->dir, path);
    }
    if (++k->depth > WEBDIR_DEPTH_MAX)
        rc = err_set(e, ERR_INPUT,
                     "--web-dir %.100s: %.100s: at most %d directories inside "
                     "each other are served",
                     k->dir, path + 1, WEBDIR_DEPTH_MAX);
    while (rc == 0 && (de = readdir(d))) {
        own_mem char *below = mem_printf("%s/%s", path, de->d_name);

        if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
            rc = read_entry(k, dirfd(d), below, e);
    }
    k->depth--;
    closedir(d);
    return rc;
}

/* --- copies to their files --- */

static int by_path(const void *a, const void *b)
{
    const struct webdir_file *x = a, *y = b;

    return strcmp(x->path, y->path);
}

static struct webdir_file *find(const struct webdir *w, const char *path)
{
    const struct webdir_file key = {.path = (char *)(uintptr_t)path};

    return w->count ? bsearch(&key, w->files, w->count, sizeof key, by_path)
                    : NULL;
}

/* A gzip file ends with the length of what is in it. Source: RFC 1952 2.3. */
static bool is_gzip_of(const struct webdir_copy *z, const struct webdir_copy *c)
{
    const uint8_t *end = z->bytes + z->len;

    return z->len >= GZIP_LEAST && z->bytes[0] == 0x1f && z->bytes[1] == 0x8b &&
           (uint32_t)(end[-4] | end[-3] << 8 | end[-2] << 16) +
                   ((uint32_t)end[-1] << 24) ==
               (uint32_t)c->len;
}

static int join_copy(const struct walk *k, struct webdir_file *copy,
                     enum coding coding, struct err *e)
{
    own_mem char *path = mem_strn(copy->path, strlen(copy->path) - 3);
    struct webdir_file *file = find(k->w, path);
    struct webdir_copy *from = &copy->copies[CODING_IDENTITY];

    if (!file || coding_of(path) != CODING_IDENTITY)
        return refuse(k, copy->path,
                      "is a compressed copy of a file that is not there: "
                      "build the page again",
                      e);
    if (coding == CODING_GZIP
            ? !is_gzip_of(from, &file->copies[CODING_IDENTITY])
            : from->len == 0)
        return refuse(k, copy->path,
                      "is no compressed copy of the file beside it: build "
                      "the page again",
                      e);
    file->copies[coding] = *from;
    memset(from, 0, sizeof *from);
    return 0;
}

/* What has given its copy away goes; the rest learns its kind. */
static int settle(struct walk *k, struct err *e)
{
    struct webdir *w = k->w;
    size_t kept = 0;

    for (size_t i = 0; i < w->count; i++) {
        struct webdir_file *f = &w->files[i];
        const enum coding coding = coding_of(f->path);

        if (coding != CODING_IDENTITY && join_copy(k, f, coding, e) < 0)
            return -1;
    }
    for (size_t i = 0; i < w->count; i++) {
        struct webdir_file *f = &w->files[i];

        if (!f->copies[CODING_IDENTITY].etag[0]) {
            free(f->path);
            f->path = NULL;
            continue;
        }
        f->type = type_of(f->path);
        f->is_lasting = has_hash(f->path);
        if (!f->type)
            return refuse(k, f->path,
                          "is of a kind that is not served here: take it "
                          "away",
                          e);
        if (kept != i) {
            w->files[kept] = *f;
            memset(f, 0, sizeof *f);
        }
        kept++;
    }
    w->count = kept;
    return 0;
}

/* --- all of it --- */

static int load(struct walk *k, struct err *e)
{
    own_fd int fd = open(k->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set(e, ERR_INPUT,
                       "--web-dir %.100s: %s; name the directory the page "
                       "was built into (`make web`: web/dist)",
                       k->dir, strerror(errno));
    if (check_entry(k, "", &st, e) < 0 ||
        read_dir(k, own_fd_give(&fd), "", e) < 0)
        return -1;
    if (k->w->count)
        qsort(k->w->files, k->w->count, sizeof *k->w->files, by_path);
    if (!find(k->w, WEBDIR_INDEX))
        return err_set(e, ERR_INPUT,
                       "--web-dir %.100s: there is no index.html; name the "
                       "directory the page was built into (`make web`: "
                       "web/dist)",
                       k->dir);
    return settle(k, e);
}

struct webdir *webdir_load(const char *dir, const struct webdir_limits *limits,
                           struct err *e)
{
    struct webdir *w = mem_zero(1, sizeof *w);
    struct walk k = {.w = w, .dir = dir, .limits = limits};

    if (load(&k, e) == 0)
        return w;
    webdir_free(w);
    return NULL;
}

void webdir_free(struct webdir *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->count; i++) {
        free(w->files[i].path);
        for (int c = 0; c < CODING_COUNT; c++)
            free(w->files[i].copies[c].bytes);
    }
    free(w->files);
    free(w);
}

const struct webdir_file *webdir_find(const struct webdir *w, const char *path)
{
    return find(w, strcmp(path, "/") == 0 ? WEBDIR_INDEX : path);
}

size_t webdir_count(const struct webdir *w)
{
    return w->count;
}

int64_t webdir_bytes(const struct webdir *w)
{
    return w->bytes;
}
