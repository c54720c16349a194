/* Processes of a session's pod, seen from its node. */
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/clusterbed.h"
#include "tests/lib/stackproc.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_of_pod(pid_t pid, const char *uid)
{
    own_mem char *path = mem_printf("/proc/%d/cgroup", (int)pid);
    char text[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    return strstr(text, uid) != NULL;
}

pid_t clusterbed_process_of(const char *uid, const char *name, const char *flag)
{
    DIR *d = uid ? opendir("/proc") : NULL;
    struct dirent *de;
    pid_t found = 0;

    while (d && !found && (de = readdir(d))) {
        char text[8192];
        pid_t pid = (pid_t)atoi(de->d_name);

        if (pid > 0 && stackproc_cmdline(pid, text, sizeof text) &&
            strstr(text, name) && (!flag || strstr(text, flag)) &&
            is_of_pod(pid, uid))
            found = pid;
    }
    if (d)
        closedir(d);
    return found;
}

pid_t clusterbed_process(struct clusterbed *b, const char *sid,
                         const char *name, const char *flag)
{
    own_json struct json *pod = clusterbed_pod(b, sid);

    return clusterbed_process_of(json_get_str(json_get(pod, "metadata"), "uid"),
                                 name, flag);
}
