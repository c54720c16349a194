#include "agent/manifest.h"

#include "base/beneath.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/own.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Names told in an error: so many bytes that the whole sentence fits into
 * the report's detail (struct state_head). */
#define MANIFEST_LIST_MAX 150
#define MANIFEST_DEPTH_MAX 16 /* below bin/ */

static void manifest_free(char **argv)
{
    for (char **p = argv; p && *p; p++)
        free(*p);
    free(argv);
}

/* --- podterm.json --- */

/* The file's text, or NULL: with *e filled, or untouched when there is no
 * such file. */
static char *manifest_text(int root_fd, size_t *len, bool *is_there,
                           struct err *e)
{
    own_fd int fd =
        beneath_open(root_fd, MANIFEST_FILE, O_RDONLY, 0, BENEATH_NO_LINKS);
    own_mem char *text = NULL;
    struct stat st;

    *is_there = !(fd < 0 && errno == ENOENT);
    if (!*is_there)
        return NULL;
    if (fd < 0 && errno == ELOOP) {
        err_set(e, ERR_INPUT, "%s must be a file, not a link", MANIFEST_FILE);
        return NULL;
    }
    if (fd < 0 || fstat(fd, &st) < 0) {
        err_sys(e, "%s", MANIFEST_FILE);
        e->kind = ERR_INPUT;
        return NULL;
    }
    if (!S_ISREG(st.st_mode) || st.st_size > MANIFEST_BYTES_MAX) {
        err_set(e, ERR_INPUT, "%s must be a file of at most %d bytes",
                MANIFEST_FILE, MANIFEST_BYTES_MAX);
        return NULL;
    }
    text = mem_zero((size_t)st.st_size + 1, 1);
    if (read(fd, text, (size_t)st.st_size) != st.st_size) {
        err_sys(e, "read %s", MANIFEST_FILE);
        return NULL;
    }
    *len = (size_t)st.st_size;
    return own_mem_give(&text);
}

/* The entry point's words. NULL with *e; or without, when none is named. */
static char **manifest_words(const char *text, size_t len, struct err *e)
{
    static const char *const names[] = {"entrypoint", NULL};
    own_json struct json *j = json_parse(text, len, e);
    const struct json *list = json_get(j, "entrypoint");
    size_t n = json_count(list);
    char **out;

    if (!j) {
        err_wrap(e, "%s", MANIFEST_FILE);
        return NULL;
    }
    if (json_only(j, names, e) < 0) {
        err_wrap(e, "%s", MANIFEST_FILE);
        return NULL;
    }
    if (!list)
        return NULL;
    if (!json_is_array(list) || n < 1 || n > MANIFEST_ARGS_MAX) {
        err_set(e, ERR_INPUT,
                "%s: entrypoint must be a list of 1 to %d strings",
                MANIFEST_FILE, MANIFEST_ARGS_MAX);
        return NULL;
    }
    out = mem_zero(n + 1, sizeof(*out));
    for (size_t i = 0; i < n; i++) {
        const char *word = json_str(json_at(list, i));

        if (!word || (i == 0 && !word[0])) {
            err_set(e, ERR_INPUT,
                    "%s: entrypoint must be strings, the first not empty",
                    MANIFEST_FILE);
            manifest_free(out);
            return NULL;
        }
        out[i] = mem_str(word);
    }
    return out;
}

/* --- the only executable below bin/ --- */

struct manifest_found {
    char *path;  /* the first; owned */
    char *plain; /* the first that may not be executed; owned */
    int count;
    bool is_cut;
    struct buf list; /* names, for the error */
};

static void manifest_note(struct manifest_found *f, const char *path)
{
    if (f->count++ == 0)
        f->path = mem_str(path);
    if (f->is_cut)
        return;
    if (f->list.len + strlen(path) + 7 <= MANIFEST_LIST_MAX) {
        buf_printf(&f->list, "%s%s", f->list.len ? ", " : "", path);
    } else { /* room for this was left */
        buf_append_str(&f->list, f->list.len ? ", ..." : "...");
        f->is_cut = true;
    }
}

static void manifest_walk(int root_fd, const char *dir, int depth,
                          struct manifest_found *f)
{
    int fd =
        beneath_open(root_fd, dir, O_RDONLY | O_DIRECTORY, 0, BENEATH_LINKS);
    struct dirent *de;
    DIR *d;

    if (fd < 0)
        return;
    d = fdopendir(fd);
    if (!d) {
        close(fd);
        return;
    }
    while ((de = readdir(d))) {
        own_mem char *path = NULL;
        struct stat st;

        if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
            continue;
        path = mem_printf("%s/%s", dir, de->d_name);
        if (fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISDIR(st.st_mode) && depth < MANIFEST_DEPTH_MAX)
            manifest_walk(root_fd, path, depth + 1, f);
        else if (S_ISREG(st.st_mode) && (st.st_mode & 0111))
            manifest_note(f, path);
        else if (S_ISREG(st.st_mode) && !f->plain)
            f->plain = own_mem_give(&path);
    }
    closedir(d);
}

static char **manifest_search(int root_fd, struct err *e)
{
    struct manifest_found f = {0};
    char **out = NULL;

    buf_init(&f.list, MANIFEST_LIST_MAX);
    manifest_walk(root_fd, "bin", 0, &f);
    if (f.count == 1) {
        out = mem_zero(2, sizeof(*out));
        out[0] = own_mem_give(&f.path);
    } else if (f.count == 0) {
        err_set(e, ERR_INPUT,
                "the bundle does not say what to start: it has no %s with an "
                "entrypoint and no executable file below bin/%s%s%s",
                MANIFEST_FILE, f.plain ? " (" : "", f.plain ? f.plain : "",
                f.plain ? " may not be executed: chmod +x before packing)"
                        : "");
    } else {
        err_set(e, ERR_INPUT,
                "the bundle does not say what to start: %d executable files "
                "(%s); name one in %s",
                f.count, buf_cstr(&f.list), MANIFEST_FILE);
    }
    free(f.path);
    free(f.plain);
    buf_fini(&f.list);
    return out;
}

/* --- both --- */

/* The first word: a path in the bundle that is an executable file, or a bare
 * name for PATH. Replaces *word by what the runner executes. */
static int manifest_resolve(int root_fd, const char *runner_root, char **word,
                            struct err *e)
{
    own_fd int fd = -1;
    struct stat st;
    const char *path = *word;
    char *full;

    if (path[0] == '/')
        return err_set(e, ERR_INPUT,
                       "entry point \"%.120s\": a path in the bundle is "
                       "relative to its root",
                       path);
    while (path[0] == '.' && path[1] == '/')
        path += 2;
    fd = beneath_open(root_fd, path, O_PATH, 0, BENEATH_LINKS);
    if (fd < 0 && !strchr(*word, '/') && errno == ENOENT)
        return 0; /* a name on the runner's PATH: exec will tell */
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set(e, ERR_INPUT,
                       "entry point \"%.120s\" is not in the bundle", *word);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INPUT, "entry point \"%.120s\" is no file",
                       *word);
    if (!(st.st_mode & 0111))
        return err_set(e, ERR_INPUT,
                       "entry point \"%.120s\" is not executable (chmod +x "
                       "it before packing)",
                       *word);
    full = mem_printf("%s/%s", runner_root, path);
    free(*word);
    *word = full;
    return 0;
}

static char **manifest_copy(char *const *words)
{
    size_t n = 0;
    char **out;

    while (words[n])
        n++;
    out = mem_zero(n + 1, sizeof(*out));
    for (size_t i = 0; i < n; i++)
        out[i] = mem_str(words[i]);
    return out;
}

int manifest_argv(int root_fd, const char *runner_root, char *const *command,
                  char ***argv, struct err *e)
{
    own_mem char *text = NULL;
    struct err here = {0};
    bool is_there;
    char **out = NULL;
    size_t len = 0;

    /* a malformed file is refused even where the request names a command:
     * its author meant something by it */
    text = manifest_text(root_fd, &len, &is_there, &here);
    if (text)
        out = manifest_words(text, len, &here);
    if (here.kind != ERR_NONE) {
        *e = here;
        return -1;
    }
    if (command) {
        manifest_free(out);
        out = manifest_copy(command);
    }
    if (!out)
        out = manifest_search(root_fd, e);
    if (!out)
        return -1;
    if (manifest_resolve(root_fd, runner_root, &out[0], e) < 0) {
        manifest_free(out);
        return -1;
    }
    *argv = out;
    return 0;
}
