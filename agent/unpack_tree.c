#include "agent/unpack_tree.h"

#include "base/beneath.h"
#include "base/mem.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_COMPONENT_MAX 255 /* bytes; the kernel's own */
#define RATIO_FREE (1 << 20)   /* bytes that no ratio is asked of */
/* What an entry counts for, empty or not: an inode and a place in its
 * directory cost the disk about a block of most file systems. */
#define ENTRY_BYTES 4096

void unpack_show(const char *name, char out[UNPACK_SHOWN_MAX])
{
    size_t n = 0;

    for (const char *p = name; *p && n + 5 < UNPACK_SHOWN_MAX; p++) {
        if (*p >= 0x20 && *p < 0x7f && *p != '\\')
            out[n++] = *p;
        else
            n += (size_t)snprintf(out + n, 5, "\\x%02x",
                                  (unsigned)(unsigned char)*p);
    }
    out[n] = 0;
}

static int unpack_refuse(struct err *e, const char *name, const char *why)
{
    char shown[UNPACK_SHOWN_MAX];

    unpack_show(name, shown);
    return err_set(e, ERR_INPUT, "entry \"%s\" %s", shown, why);
}

/* A system call on an entry failed: full disk and the like. */
static int unpack_sys(struct err *e, const char *name, const char *what)
{
    char shown[UNPACK_SHOWN_MAX];
    int saved = errno;

    unpack_show(name, shown);
    errno = saved;
    if (errno == ENOSPC || errno == EDQUOT)
        return err_sys(e, "disk full while unpacking \"%s\"", shown);
    return err_sys(e, "%s \"%s\"", what, shown);
}

/* --- names --- */

/* Well-formed UTF-8 without control characters (RFC 3629). */
static bool unpack_is_utf8(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;

    while (*p) {
        unsigned c = *p++, more, min;

        if (c < 0x20 || c == 0x7f)
            return false;
        if (c < 0x80)
            continue;
        if (c >= 0xc2 && c <= 0xdf)
            more = 1, min = 0x80, c &= 0x1f;
        else if (c >= 0xe0 && c <= 0xef)
            more = 2, min = 0x800, c &= 0x0f;
        else if (c >= 0xf0 && c <= 0xf4)
            more = 3, min = 0x10000, c &= 0x07;
        else
            return false;
        for (; more > 0; more--, p++) {
            if ((*p & 0xc0) != 0x80)
                return false;
            c = c << 6 | (*p & 0x3f);
        }
        if (c < min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ||
            (c >= 0x80 && c < 0xa0))
            return false;
    }
    return true;
}

/* Copy the components of raw, judging each. */
static int unpack_components(const struct unpack_tree *t, const char *raw,
                             char *out, struct err *e)
{
    int64_t depth = 0;
    size_t n = 0;

    for (const char *p = raw; *p;) {
        size_t len = strcspn(p, "/");

        if (len > NAME_COMPONENT_MAX)
            return unpack_refuse(e, raw, "has a component over 255 bytes");
        if (len == 2 && p[0] == '.' && p[1] == '.')
            return unpack_refuse(e, raw, "goes up with \"..\"");
        if (len > 0 && !(len == 1 && p[0] == '.')) {
            if (++depth > t->limits.max_depth)
                return err_set(e, ERR_INPUT,
                               "an entry lies deeper than %lld directories",
                               (long long)t->limits.max_depth);
            if (n > 0)
                out[n++] = '/';
            memcpy(out + n, p, len);
            n += len;
        }
        p += len + (p[len] == '/');
    }
    out[n] = 0;
    return n == 0;
}

int unpack_tree_name(const struct unpack_tree *t, const char *raw, char *out,
                     struct err *e)
{
    size_t len = strlen(raw);

    if (len == 0)
        return err_set(e, ERR_INPUT, "an entry has no name");
    if (len > 4096 || (int64_t)len > t->limits.max_name)
        return unpack_refuse(e, raw, "has a name that is too long");
    if (raw[0] == '/')
        return unpack_refuse(e, raw, "has an absolute name");
    if (strchr(raw, '\\'))
        return unpack_refuse(e, raw, "has a backslash in its name");
    if (!unpack_is_utf8(raw))
        return unpack_refuse(e, raw, "has a name that is not plain UTF-8");
    return unpack_components(t, raw, out, e);
}

/* --- counting --- */

int unpack_tree_bytes(struct unpack_tree *t, int64_t more, const char *name,
                      struct err *e)
{
    const struct spec_unpack *l = &t->limits;
    char shown[UNPACK_SHOWN_MAX];
    int64_t asked;

    /* bytes are at most max_bytes: they were counted here */
    if (more > l->max_bytes - t->bytes) {
        unpack_show(name, shown);
        return err_set(e, ERR_INPUT,
                       "with \"%s\" it unpacks to more than %lld bytes", shown,
                       (long long)l->max_bytes);
    }
    t->bytes += more;
    asked = t->bytes - t->spared_bytes;
    if (asked > RATIO_FREE && asked / l->max_ratio > t->archive_bytes) {
        unpack_show(name, shown);
        return err_set(e, ERR_INPUT,
                       "with \"%s\" it unpacks to more than %lld times its "
                       "size",
                       shown, (long long)l->max_ratio);
    }
    return 0;
}

static int unpack_count(struct unpack_tree *t, const char *name, struct err *e)
{
    if (++t->entries > t->limits.max_entries)
        return err_set(e, ERR_INPUT, "more than %lld entries",
                       (long long)t->limits.max_entries);
    return unpack_tree_bytes(t, ENTRY_BYTES, name, e);
}

/* The ratio spares the block of an entry that the archive spells out: headers
 * of small files pack a hundredfold in any honest tree, and max_entries bounds
 * them. A directory made unasked is what the archive did not pay for. */
int unpack_tree_count(struct unpack_tree *t, const char *name, struct err *e)
{
    t->spared_bytes += ENTRY_BYTES;
    return unpack_count(t, name, e);
}

/* --- making --- */

static int unpack_open(int dir_fd, const char *name, int flags)
{
    return beneath_open(dir_fd, name, flags, 0, BENEATH_NO_LINKS);
}

/* Make name and what is missing above it. Each directory made counts, or a
 * deep name would bring max_depth of them for one entry; the last one does not
 * where is_entry: the archive's entry was counted. */
static int unpack_dirs(struct unpack_tree *t, const char *name, bool is_entry,
                       struct err *e)
{
    char path[4097];
    size_t len = strlen(name);

    /* from the top down, a component at a time: no recursion to feed */
    for (size_t i = 1; i <= len; i++) {
        own_fd int fd = -1;
        const char *slash;

        if (name[i] != '/' && name[i] != 0)
            continue;
        memcpy(path, name, i);
        path[i] = 0;
        slash = strrchr(path, '/');
        if (slash) {
            path[slash - path] = 0;
            fd = unpack_open(t->dir_fd, path, O_RDONLY | O_DIRECTORY);
            path[slash - path] = '/';
        } else {
            fd = unpack_open(t->dir_fd, ".", O_RDONLY | O_DIRECTORY);
        }
        if (fd < 0)
            return unpack_refuse(e, name, "has a parent that is no directory");
        if (mkdirat(fd, slash ? slash + 1 : path, 0755) == 0) {
            if (!(is_entry && name[i] == 0) && unpack_count(t, path, e) < 0)
                return -1;
            continue;
        }
        if (errno != EEXIST)
            return unpack_sys(e, name, "make directory");
        own_fd_release(&fd);
        fd = unpack_open(t->dir_fd, path, O_RDONLY | O_DIRECTORY);
        if (fd < 0)
            return unpack_refuse(e, name, "stands for two different things");
    }
    return 0;
}

/* The parent directory of name, made as needed; *last is its final
 * component. */
static int unpack_parent(struct unpack_tree *t, const char *name,
                         const char **last, struct err *e)
{
    const char *slash = strrchr(name, '/');
    char parent[4097];
    int fd;

    *last = slash ? slash + 1 : name;
    if (!slash) {
        fd = unpack_open(t->dir_fd, ".", O_RDONLY | O_DIRECTORY);
    } else {
        memcpy(parent, name, (size_t)(slash - name));
        parent[slash - name] = 0;
        fd = unpack_open(t->dir_fd, parent, O_RDONLY | O_DIRECTORY);
        if (fd < 0 && errno == ENOENT) {
            if (unpack_dirs(t, parent, false, e) < 0)
                return -1;
            fd = unpack_open(t->dir_fd, parent, O_RDONLY | O_DIRECTORY);
        }
    }
    if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
        return unpack_refuse(e, name, "has a parent that is no directory");
    return fd < 0 ? unpack_sys(e, name, "open the parent of") : fd;
}

int unpack_tree_dir(struct unpack_tree *t, const char *name, struct err *e)
{
    return unpack_dirs(t, name, true, e);
}

int unpack_tree_file(struct unpack_tree *t, const char *name,
                     bool is_executable, struct err *e)
{
    own_fd int parent = -1;
    const char *last;
    int fd;

    parent = unpack_parent(t, name, &last, e);
    if (parent < 0)
        return -1;
    fd = beneath_open(parent, last, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW,
                      is_executable ? 0755 : 0644, BENEATH_NO_LINKS);
    if (fd < 0 && (errno == EEXIST || errno == EISDIR))
        return unpack_refuse(e, name, "stands in the archive twice");
    return fd < 0 ? unpack_sys(e, name, "make") : fd;
}

int unpack_tree_link(struct unpack_tree *t, const char *name,
                     const char *target, bool is_hard, struct err *e)
{
    char hard[4097];

    if (is_hard) {
        if (unpack_tree_name(t, target, hard, e) != 0)
            return unpack_refuse(e, name, "is a hard link out of the tree");
        target = hard;
    } else if (!target[0] || target[0] == '/' || strlen(target) > 4096 ||
               !unpack_is_utf8(target)) {
        return unpack_refuse(e, name,
                             "is a link that does not stay in the tree");
    }
    t->links = mem_resize(t->links, t->link_count + 1, sizeof(*t->links));
    t->links[t->link_count++] = (struct unpack_link){
        .name = mem_str(name), .target = mem_str(target), .is_hard = is_hard};
    return 0;
}

static int unpack_hard_link(struct unpack_tree *t, const struct unpack_link *l,
                            struct err *e)
{
    own_fd int from = unpack_open(t->dir_fd, l->target, O_PATH | O_NOFOLLOW);
    own_fd int parent = -1;
    struct stat st;
    const char *last;

    if (from < 0 || fstat(from, &st) < 0 || !S_ISREG(st.st_mode))
        return unpack_refuse(e, l->name,
                             "is a hard link to what is no file of the tree");
    parent = unpack_parent(t, l->name, &last, e);
    if (parent < 0)
        return -1;
    /* by its name: no symlink stands yet, and nobody else writes here */
    if (linkat(t->dir_fd, l->target, parent, last, 0) == 0)
        return 0;
    if (errno == EEXIST)
        return unpack_refuse(e, l->name, "stands in the archive twice");
    return unpack_sys(e, l->name, "link");
}

static int unpack_soft_link(struct unpack_tree *t, const struct unpack_link *l,
                            struct err *e)
{
    own_fd int parent = -1;
    const char *last;

    parent = unpack_parent(t, l->name, &last, e);
    if (parent < 0)
        return -1;
    if (symlinkat(l->target, parent, last) == 0)
        return 0;
    if (errno == EEXIST)
        return unpack_refuse(e, l->name, "stands in the archive twice");
    return unpack_sys(e, l->name, "link");
}

/*
 * Does the link, followed to its end, stay in the tree? Tried once
 * every link stands, since links lead through one another in ways that
 * no look at the text sees (d/e/f -> ../.. and g -> d/e/f/..). A target that
 * is not there is refused as well: the tree is whole.
 */
static int unpack_link_check(struct unpack_tree *t, const struct unpack_link *l,
                             struct err *e)
{
    own_fd int fd = beneath_open(t->dir_fd, l->name, O_PATH, 0, BENEATH_LINKS);

    if (fd >= 0)
        return 0;
    if (errno == EXDEV)
        return unpack_refuse(e, l->name, "is a link that leaves the tree");
    if (errno == ENOENT || errno == ENOTDIR)
        return unpack_refuse(e, l->name, "is a link to nothing in the tree");
    if (errno == ELOOP)
        return unpack_refuse(e, l->name, "is a link in a circle");
    return unpack_sys(e, l->name, "follow");
}

int unpack_tree_links(struct unpack_tree *t, struct err *e)
{
    /* hard links while no symlink stands: nothing can lead astray */
    for (size_t i = 0; i < t->link_count; i++)
        if (t->links[i].is_hard && unpack_hard_link(t, &t->links[i], e) < 0)
            return -1;
    for (size_t i = 0; i < t->link_count; i++)
        if (!t->links[i].is_hard && unpack_soft_link(t, &t->links[i], e) < 0)
            return -1;
    for (size_t i = 0; i < t->link_count; i++)
        if (!t->links[i].is_hard && unpack_link_check(t, &t->links[i], e) < 0)
            return -1;
    return 0;
}

void unpack_tree_fini(struct unpack_tree *t)
{
    for (size_t i = 0; i < t->link_count; i++) {
        free(t->links[i].name);
        free(t->links[i].target);
    }
    free(t->links);
    t->links = NULL;
    t->link_count = 0;
}
