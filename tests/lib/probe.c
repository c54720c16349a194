#include "tests/lib/probe.h"

#include <ctype.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROBE_FORKS_MAX 4096
#define PROBE_FILE_MAX (64 << 20)

extern char **environ;

static const char *told(const char *name)
{
    const char *v = getenv(name);

    return v ? v : "";
}

/* "/a$NAME/b": the word told by that name in its place, as often as it is
 * there. */
static const char *path_of(const char *arg)
{
    static char path[4096];
    size_t len = 0;

    while (*arg && len < sizeof(path) - 1) {
        char name[32] = "";
        size_t n = 0;

        if (*arg != '$') {
            path[len++] = *arg++;
            continue;
        }
        for (arg++; n < sizeof(name) - 1 && (*arg == '_' || isupper(*arg));)
            name[n++] = *arg++;
        len +=
            (size_t)snprintf(path + len, sizeof(path) - len, "%s", told(name));
    }
    path[len < sizeof(path) ? len : sizeof(path) - 1] = 0;
    return path;
}

/* --- using things up, in the cage alone --- */

static int count_forks(void)
{
    static pid_t pids[PROBE_FORKS_MAX];
    int n = 0;

    while (n < PROBE_FORKS_MAX && (pids[n] = fork()) >= 0) {
        if (pids[n] == 0) {
            pause();
            _exit(0);
        }
        n++;
    }
    for (int i = 0; i < n; i++)
        kill(pids[i], SIGKILL);
    for (int i = 0; i < n; i++)
        waitpid(pids[i], NULL, 0);
    return n;
}

static long long fill_file(const char *path)
{
    static const char block[65536];
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    long long n = 0;
    ssize_t got;

    while (n < PROBE_FILE_MAX && (got = write(fd, block, sizeof(block))) > 0)
        n += got;
    close(fd);
    unlink(path);
    return n;
}

static int count_descriptors(void)
{
    int n = 0;

    while (open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
        n++;
    for (int fd = 3; fd < 4096; fd++)
        close(fd);
    return n;
}

static long long room_in(const char *path)
{
    struct statvfs vfs;

    return statvfs(path, &vfs) < 0 ? -1
                                   : (long long)(vfs.f_blocks * vfs.f_frsize);
}

static void use_up(void)
{
    signal(SIGXFSZ, SIG_IGN);
    printf("count.forks=%d\n", count_forks());
    printf("count.file=%lld\n", fill_file("/tmp/big"));
    printf("count.descriptors=%d\n", count_descriptors());
    printf("count.tmp=%lld\n", room_in("/tmp"));
    printf("count.home=%lld\n", room_in(told("HOME")));
    printf("count.shm=%lld\n", room_in("/dev/shm"));
}

int probe_main(void)
{
    char line[8192];

    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("env=begin\n");
    for (char **e = environ; *e; e++)
        printf("env=%s\n", *e);
    if (!fgets(line, sizeof(line), stdin))
        return 1;
    for (char *word = strtok(line, " \r\n"); word;
         word = strtok(NULL, " \r\n")) {
        char *value = strchr(word, '=');

        if (!value)
            return 1;
        *value++ = 0;
        setenv(word, value, 1);
    }
    if (*told("CAGED")) /* all that a program can send to PID 1 */
        for (int s = 1; s < 32; s++)
            kill(1, s);
    for (const struct probe *p = probes; p->name; p++)
        if (*told("CAGED") || p->outside != PROBE_INSIDE)
            printf("%s=%s\n", p->name,
                   p->is_open(path_of(p->arg)) ? "open" : "shut");
    if (*told("CAGED"))
        use_up();
    printf("done\n");
    return 0;
}
