/*
 * The key that the broker adds to what a program asks: looked for wherever
 * the program could look. It is given in two halves, the last one first, so
 * that no copy of it is ours.
 */
#include "tests/hostile/hostile.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK (1 << 20)
#define KEY_MAX 512
#define DEPTH_MAX 12
#define FILE_LOOK_MAX (64L << 20) /* bytes of one file */

static struct {
    const char *head, *tail;
    size_t head_len, tail_len;
} key;

static bool find_halves(void)
{
    const char *word = told("KEY"), *colon = strchr(word, ':');

    if (!colon || colon == word || !colon[1] || strlen(word) > KEY_MAX)
        return false;
    key.tail = word;
    key.tail_len = (size_t)(colon - word);
    key.head = colon + 1;
    key.head_len = strlen(key.head);
    return true;
}

static bool has_key(const char *bytes, size_t len)
{
    const char *at = bytes, *end = bytes + len;

    while ((at = memmem(at, (size_t)(end - at), key.head, key.head_len))) {
        const char *behind = at + key.head_len;

        if ((size_t)(end - behind) >= key.tail_len &&
            memcmp(behind, key.tail, key.tail_len) == 0)
            return true;
        at++;
    }
    return false;
}

/* From here to its end, or as far as it may be read. */
static bool in_descriptor(int fd, off_t from, off_t to)
{
    static char bytes[CHUNK + KEY_MAX];
    size_t kept = 0;

    while (from < to) {
        size_t want = to - from < CHUNK ? (size_t)(to - from) : CHUNK;
        ssize_t n = pread(fd, bytes + kept, want, from);

        if (n <= 0)
            return false;
        from += n;
        if (has_key(bytes, kept + (size_t)n))
            return true;
        n += (ssize_t)kept;
        kept = n < KEY_MAX ? (size_t)n : KEY_MAX;
        memmove(bytes, bytes + n - (ssize_t)kept, kept);
    }
    return false;
}

static bool in_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    bool found = fd >= 0 && in_descriptor(fd, 0, FILE_LOOK_MAX);

    if (fd >= 0)
        close(fd);
    return found;
}

static void not_found(void)
{
    refused("not-found");
}

/* --- where --- */

static bool needs_key(void)
{
    if (find_halves())
        return true;
    absent("no key was given");
    return false;
}

static void in_environment(const struct attempt *a)
{
    extern char **environ;

    (void)a;
    if (!needs_key())
        return;
    for (char **e = environ; *e; e++)
        if (has_key(*e, strlen(*e))) {
            through("%.40s", *e);
            return;
        }
    not_found();
}

/* Of every process in view. */
static void in_proc(const struct attempt *a)
{
    DIR *d = opendir("/proc");
    struct dirent *de;

    if (!needs_key())
        return;
    while (d && (de = readdir(d))) {
        char path[300];

        snprintf(path, sizeof(path), "/proc/%s/%s", de->d_name, a->text);
        if (isdigit((unsigned char)de->d_name[0]) && in_file(path)) {
            through("%s", path);
            return;
        }
    }
    not_found();
}

static bool below(const char *dir, int depth, char *where)
{
    DIR *d = depth < DEPTH_MAX ? opendir(dir) : NULL;
    struct dirent *de;
    bool found = false;

    while (d && !found && (de = readdir(d))) {
        char path[PATH_MAX];
        struct stat st;

        if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", dir, de->d_name);
        if (lstat(path, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode))
            found = below(path, depth + 1, where);
        else if (S_ISREG(st.st_mode) && in_file(path)) {
            snprintf(where, PATH_MAX, "%s", path);
            found = true;
        }
    }
    if (d)
        closedir(d);
    return found;
}

static void in_files(const struct attempt *a)
{
    static char where[PATH_MAX];

    if (!needs_key())
        return;
    if (below(a->text, 0, where))
        through("%s", where);
    else
        not_found();
}

static void in_home(const struct attempt *a)
{
    struct attempt at = *a;

    at.text = getenv("HOME");
    if (at.text)
        in_files(&at);
    else
        absent("no home");
}

/* Every mapping that can be read, of every process whose memory opens. */
static bool in_memory_of(const char *pid)
{
    char path[300], line[512];
    FILE *maps;
    bool found = false;
    int fd;

    snprintf(path, sizeof(path), "/proc/%s/mem", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    snprintf(path, sizeof(path), "/proc/%s/maps", pid);
    maps = fd < 0 ? NULL : fopen(path, "re");
    while (maps && !found && fgets(line, sizeof(line), maps)) {
        unsigned long from, to;
        char mode;

        if (sscanf(line, "%lx-%lx %c", &from, &to, &mode) == 3 && mode == 'r' &&
            !strstr(line, "[vv"))
            found = in_descriptor(fd, (off_t)from, (off_t)to);
    }
    if (maps)
        fclose(maps);
    if (fd >= 0)
        close(fd);
    return found;
}

static void in_memory(const struct attempt *a)
{
    DIR *d = opendir("/proc");
    struct dirent *de;

    (void)a;
    if (!needs_key())
        return;
    while (d && (de = readdir(d)))
        if (isdigit((unsigned char)de->d_name[0]) && in_memory_of(de->d_name)) {
            through("the memory of process %s", de->d_name);
            return;
        }
    not_found();
}

static const struct attempt all[] = {
    {.name = "key_environment", .run = in_environment},
    {.name = "key_environ_of_all", .run = in_proc, .text = "environ"},
    {.name = "key_command_lines", .run = in_proc, .text = "cmdline"},
    {.name = "key_memory", .run = in_memory},
    {.name = "key_home", .run = in_home},
    {.name = "key_tmp", .run = in_files, .text = "/tmp"},
    {.name = "key_shm", .run = in_files, .text = "/dev/shm"},
    {.name = "key_run", .run = in_files, .text = "/run"},
    {.name = "key_etc", .run = in_files, .text = "/etc"},
};

void key_run(void)
{
    ATTEMPTS(all);
}
