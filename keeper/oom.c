#include "keeper/oom.h"

#include "base/err.h"
#include "base/log.h"
#include "base/own.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define OOM_MAX 1000

static void oom_failed(void)
{
    struct err e = {0};

    err_sys(&e, "/proc/self/oom_score_adj");
    log_err(&e, "keeper.oom");
}

void oom_open(struct oom *o)
{
    char text[16] = "";

    o->fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    if (o->fd < 0 || read(o->fd, text, sizeof(text) - 1) <= 0) {
        oom_failed();
        oom_close(o);
        return;
    }
    o->value = atoi(text);
}

static void oom_write(const struct oom *o, int value)
{
    char text[16];
    int len = snprintf(text, sizeof(text), "%d", value);

    if (o->fd >= 0 && pwrite(o->fd, text, (size_t)len, 0) != len)
        oom_failed();
}

void oom_raise(const struct oom *o)
{
    oom_write(o, o->value < OOM_MAX - OOM_MORE ? o->value + OOM_MORE : OOM_MAX);
}

void oom_restore(const struct oom *o)
{
    oom_write(o, o->value);
}

void oom_close(struct oom *o)
{
    own_fd_release(&o->fd);
    o->fd = -1;
}
