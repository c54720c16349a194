#include "tests/lib/stackproc.h"

#include "base/loop.h"
#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define STACKPROC_TEXT_MAX 65536

/* --- files of /proc --- */

/* The whole file, the caller's; NULL = no such process, or not ours. */
static char *proc_text(pid_t pid, const char *name, size_t *len)
{
    char path[64], *text;
    int fd;
    size_t have = 0;
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    text = mem_zero(STACKPROC_TEXT_MAX, 1);
    while ((n = read(fd, text + have, STACKPROC_TEXT_MAX - 1 - have)) > 0)
        have += (size_t)n;
    close(fd);
    if (len)
        *len = have;
    if (n < 0 || have == 0) {
        free(text);
        return NULL;
    }
    return text;
}

bool stackproc_cmdline(pid_t pid, char *out, size_t size)
{
    size_t len;
    char *text = proc_text(pid, "cmdline", &len);

    if (!text)
        return false;
    for (size_t i = 0; i + 1 < len; i++)
        if (!text[i])
            text[i] = ' ';
    snprintf(out, size, "%s", text);
    free(text);
    return true;
}

/* State and parent; a zombie counts as gone. */
static bool proc_parent(pid_t pid, pid_t *parent)
{
    char *text = proc_text(pid, "stat", NULL);
    char *at = text ? strrchr(text, ')') : NULL, state = 'X';
    int found = 0;

    if (at)
        found = sscanf(at + 1, " %c %d", &state, parent);
    free(text);
    return found == 2 && state != 'Z' && state != 'X';
}

static bool proc_mounts_have(pid_t pid, const char *text)
{
    char *mounts = proc_text(pid, "mountinfo", NULL);
    bool has = mounts && strstr(mounts, text);

    free(mounts);
    return has;
}

int stackproc_fds(pid_t pid)
{
    char path[64];
    DIR *d;
    int n = 0;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    d = opendir(path);
    assert_non_null(d);
    for (struct dirent *de; (de = readdir(d));)
        n += de->d_name[0] != '.';
    closedir(d);
    return n;
}

int stackproc_watches(pid_t pid)
{
    char path[64];
    DIR *d;
    int n = 0;

    snprintf(path, sizeof(path), "/proc/%d/fdinfo", (int)pid);
    d = opendir(path);
    assert_non_null(d);
    for (struct dirent *de; (de = readdir(d));) {
        char name[300], *text, *at;

        snprintf(name, sizeof(name), "fdinfo/%s", de->d_name);
        text = de->d_name[0] == '.' ? NULL : proc_text(pid, name, NULL);
        for (at = text; at && (at = strstr(at, "inotify wd:")); at++)
            n++;
        free(text);
    }
    closedir(d);
    return n;
}

int stackproc_private_kib(pid_t pid)
{
    char *text = proc_text(pid, "smaps_rollup", NULL);
    char *clean = text ? strstr(text, "Private_Clean:") : NULL;
    char *dirty = text ? strstr(text, "Private_Dirty:") : NULL;
    int sum = -1;

    if (clean && dirty)
        sum = atoi(clean + 14) + atoi(dirty + 14);
    free(text);
    assert_true(sum >= 0);
    return sum;
}

/* --- whose they are --- */

/* Command line or mounts name this directory, or this session. */
static bool is_marked(pid_t pid, const char *dir, const char *sid)
{
    char text[8192];
    const char *name = strrchr(dir, '/') + 1;

    if (stackproc_cmdline(pid, text, sizeof(text)) && strstr(text, dir) &&
        (!sid || strstr(text, sid)))
        return true;
    return proc_mounts_have(pid, sid ? sid : name);
}

static bool is_bwrap(pid_t pid)
{
    char text[64];

    return stackproc_cmdline(pid, text, sizeof(text)) &&
           strncmp(text, "bwrap ", 6) == 0;
}

static bool has_pid(const pid_t *list, int n, pid_t pid)
{
    while (n > 0)
        if (list[--n] == pid)
            return true;
    return false;
}

/* bubblewrap's own command line names nothing of ours: it is known by its
 * family. */
static int list(const struct stack *s, const char *sid, pid_t *out, int cap)
{
    static pid_t bwraps[4096], parents[4096], up[8192];
    DIR *d = opendir("/proc");
    int n = 0, n_bwrap = 0;

    assert_non_null(d);
    for (struct dirent *de; (de = readdir(d)) && n < cap;) {
        pid_t pid = (pid_t)atoi(de->d_name), parent;

        if (pid <= 1 || pid == s->pid || !proc_parent(pid, &parent))
            continue;
        if (is_marked(pid, s->dir, sid)) {
            up[n] = parent;
            out[n++] = pid;
        } else if (n_bwrap < 4096 && is_bwrap(pid)) {
            parents[n_bwrap] = parent;
            bwraps[n_bwrap++] = pid;
        }
    }
    closedir(d);
    for (int i = 0, marked = n; i < n_bwrap && n < cap; i++)
        if (has_pid(out, marked, parents[i]) || has_pid(up, marked, bwraps[i]))
            out[n++] = bwraps[i];
    return n;
}

int stackproc_session(const struct stack *s, const char *sid, pid_t *out,
                      int cap)
{
    return list(s, sid, out, cap);
}

int stackproc_all(const struct stack *s, pid_t *out, int cap)
{
    return list(s, NULL, out, cap);
}

static bool has_part(pid_t pid, enum stack_part part)
{
    char text[8192];
    bool is_agent;

    if (!stackproc_cmdline(pid, text, sizeof(text)))
        return false;
    is_agent = strncmp(text, "podterm-agent ", 14) == 0;
    switch (part) {
    case PART_KEEPER:
        return strncmp(text, "podterm-keeper ", 15) == 0;
    case PART_SUPERVISOR:
        return is_agent && !strstr(text, " --main ");
    case PART_MAIN:
        return is_agent && strstr(text, " --main ");
    case PART_BWRAP:
        return strncmp(text, "bwrap ", 6) == 0 &&
               !proc_mounts_have(pid, "/run/podterm/ipc");
    case PART_SHIM:
        return strncmp(text, "/run/podterm/shim ", 18) == 0 ||
               strncmp(text, "podterm-shim ", 13) == 0;
    case PART_PROGRAM:
        return strstr(text, "/bin/prog") != NULL;
    }
    return false;
}

pid_t stackproc_find(const struct stack *s, const char *sid,
                     enum stack_part part)
{
    pid_t pids[256];
    int n = stackproc_session(s, sid, pids, 256);

    for (int i = 0; i < n; i++)
        if (has_part(pids[i], part))
            return pids[i];
    return 0;
}

pid_t stackproc_child(pid_t parent, const char *word)
{
    DIR *d = opendir("/proc");
    pid_t found = 0;

    assert_non_null(d);
    for (struct dirent *de; !found && (de = readdir(d));) {
        pid_t pid = (pid_t)atoi(de->d_name), up;
        char text[512];

        if (pid > 1 && proc_parent(pid, &up) && up == parent &&
            stackproc_cmdline(pid, text, sizeof(text)) && strstr(text, word))
            found = pid;
    }
    closedir(d);
    return found;
}

static void show_thread(pid_t pid, const char *tid)
{
    static const char *const told[] = {"wchan", "syscall", "stack"};

    for (size_t i = 0; i < sizeof(told) / sizeof(*told); i++) {
        char name[300], *text;

        snprintf(name, sizeof(name), "task/%s/%s", tid, told[i]);
        text = proc_text(pid, name, NULL);
        if (text)
            print_error("  %s %s: %s\n", tid, told[i], text);
        free(text);
    }
}

static void show_process(pid_t pid)
{
    char path[64], text[512] = "";
    DIR *d;

    stackproc_cmdline(pid, text, sizeof(text));
    print_error("%d %.200s\n", (int)pid, text);
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    d = opendir(path);
    for (struct dirent *de; d && (de = readdir(d));)
        if (de->d_name[0] != '.')
            show_thread(pid, de->d_name);
    if (d)
        closedir(d);
}

void stackproc_show(const struct stack *s)
{
    pid_t pids[256];
    int n = stackproc_all(s, pids, 256);

    show_process(s->pid);
    for (int i = 0; i < n; i++)
        show_process(pids[i]);
}

void stackproc_wait_none(const struct stack *s, const char *sid, int ms)
{
    int64_t until = loop_now_ms() + ms;
    pid_t pids[1024];
    int n;

    while ((n = list(s, sid, pids, 1024)) > 0 && loop_now_ms() < until)
        poll(NULL, 0, 20);
    for (int i = 0; i < n; i++) {
        char text[512] = "";

        stackproc_cmdline(pids[i], text, sizeof(text));
        print_error("left after %d ms: %d %.200s\n", ms, (int)pids[i], text);
        kill(pids[i], SIGKILL);
    }
    assert_int_equal(n, 0);
}
