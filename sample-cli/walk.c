#include "sample-cli/walk.h"

#include "base/mem.h"
#include "base/own.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct walker {
    struct walk *w;
    const struct walk_conf *conf;
    struct findings *f;
};

struct names {
    char **items; /* owned */
    size_t count;
};

static void names_free(struct names *n)
{
    for (size_t i = 0; i < n->count; i++)
        free(n->items[i]);
    free(n->items);
}

static int names_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void walk_cut(struct walker *k, const char *dir, const char *what)
{
    if (!k->w->is_cut)
        findings_add(k->f, RULE_NOT_LOOKED_AT, dir, 0,
                     "the limit of %s is reached here: what follows is not "
                     "looked at",
                     what);
    k->w->is_cut = true;
}

/* The names in a directory, sorted; bounded by the entries left. */
static void walk_list(struct walker *k, DIR *d, const char *path,
                      struct names *out)
{
    const struct dirent *de;

    errno = 0;
    while ((de = readdir(d))) {
        if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
            continue;
        if (k->w->entries >= k->conf->entries_max) {
            walk_cut(k, path, "entries");
            break;
        }
        k->w->entries++;
        if ((out->count & (out->count - 1)) == 0)
            out->items = mem_resize(out->items, out->count ? out->count * 2 : 1,
                                    sizeof(*out->items));
        out->items[out->count++] = mem_str(de->d_name);
        errno = 0;
    }
    if (!de && errno)
        findings_add(k->f, RULE_NOT_LOOKED_AT, path, 0,
                     "the directory cannot be read to its end: %s",
                     strerror(errno));
    if (out->count)
        qsort(out->items, out->count, sizeof(*out->items), names_order);
}

static bool walk_is_skipped(const char *list, const char *name)
{
    size_t len = strlen(name);

    while (*list) {
        size_t n = strcspn(list, ",");

        if (n == len && strncmp(list, name, n) == 0)
            return true;
        list += n + (list[n] == ',');
    }
    return false;
}

static void walk_add_file(struct walker *k, char *path, const struct stat *st)
{
    struct walk *w = k->w;

    if ((w->count & (w->count - 1)) == 0)
        w->files = mem_resize(w->files, w->count ? w->count * 2 : 1,
                              sizeof(*w->files));
    w->files[w->count++] = (struct walk_file){.path = path,
                                              .bytes = st->st_size,
                                              .dev = st->st_dev,
                                              .ino = st->st_ino};
    w->names_bytes += strlen(path) + 1;
    w->bytes += st->st_size;
}

static void walk_dir(struct walker *k, int fd, const char *path, int depth);

static void walk_into(struct walker *k, int dir_fd, const char *name,
                      const char *path, int depth)
{
    int fd;

    if (walk_is_skipped(k->conf->skip, name)) {
        k->w->skipped++;
        return;
    }
    if (depth >= k->conf->depth_max) {
        findings_add(k->f, RULE_NOT_LOOKED_AT, path, 0,
                     "the directory lies deeper than %d below the root",
                     k->conf->depth_max);
        return;
    }
    fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        findings_add(k->f, RULE_NOT_LOOKED_AT, path, 0,
                     "the directory cannot be read: %s", strerror(errno));
        return;
    }
    k->w->dirs++;
    walk_dir(k, fd, path, depth + 1);
}

static void walk_name(struct walker *k, int dir_fd, const char *dir,
                      const char *name, int depth)
{
    own_mem char *path = *dir ? mem_printf("%s/%s", dir, name) : mem_str(name);
    struct stat st;

    if (strlen(path) > WALK_PATH_MAX) {
        findings_add(k->f, RULE_NOT_LOOKED_AT, dir, 0,
                     "a path in here is longer than %d bytes", WALK_PATH_MAX);
        return;
    }
    if (k->w->names_bytes + strlen(path) >= WALK_NAMES_MAX) {
        walk_cut(k, dir, "bytes of names");
        return;
    }
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        findings_add(k->f, RULE_NOT_LOOKED_AT, path, 0,
                     "it cannot be looked at: %s", strerror(errno));
    else if (S_ISDIR(st.st_mode))
        walk_into(k, dir_fd, name, path, depth);
    else if (S_ISREG(st.st_mode))
        walk_add_file(k, own_mem_give(&path), &st);
    else if (S_ISLNK(st.st_mode))
        k->w->links++;
    else
        k->w->others++;
}

/* Takes fd over. */
static void walk_dir(struct walker *k, int fd, const char *path, int depth)
{
    struct names names = {0};
    DIR *d = fdopendir(fd);

    if (!d) {
        close(fd);
        findings_add(k->f, RULE_NOT_LOOKED_AT, path, 0,
                     "the directory cannot be read: %s", strerror(errno));
        return;
    }
    walk_list(k, d, path, &names);
    for (size_t i = 0; i < names.count && !k->w->is_stopped; i++)
        walk_name(k, dirfd(d), path, names.items[i], depth);
    names_free(&names);
    closedir(d);
    if (k->conf->goes_on && !k->conf->goes_on(k->conf->arg))
        k->w->is_stopped = true;
}

int walk_run(struct walk *w, const char *root, const struct walk_conf *conf,
             struct findings *f, struct err *e)
{
    own_fd int root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct walker k = {.w = w, .conf = conf, .f = f};
    int fd;

    *w = (struct walk){.root_fd = -1};
    if (root_fd < 0) {
        err_sys(e, "%s", root);
        if (errno == ENOENT || errno == ENOTDIR || errno == EACCES)
            e->kind = ERR_INPUT;
        return -1;
    }
    fd = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, "%s", root);
    walk_dir(&k, fd, "", 0);
    w->root_fd = own_fd_give(&root_fd);
    return 0;
}

void walk_fini(struct walk *w)
{
    for (size_t i = 0; i < w->count; i++)
        free(w->files[i].path);
    free(w->files);
    own_fd_release(&w->root_fd);
    *w = (struct walk){.root_fd = -1};
}
