#include "client/source.h"

#include "base/mem.h"
#include "client/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct source {
    const struct source_verbs *verbs;
    void *arg;
    int fd;
    struct watch *watch;      /* what can be waited for */
    struct loop_timer *timer; /* else: it is read turn by turn */
    size_t room;
    bool is_ended;
    uint8_t bytes[SOURCE_TURN_BYTES];
};

static void source_arm(struct source *s)
{
    bool on = s->room > 0 && !s->is_ended;

    if (s->watch)
        watch_on(s->watch, on);
    else if (on)
        loop_timer_again(s->timer, 0, 0);
}

static void source_ready(void *arg)
{
    struct source *s = arg;
    size_t room = s->room < SOURCE_TURN_BYTES ? s->room : SOURCE_TURN_BYTES;
    ssize_t n;

    if (room == 0 || s->is_ended)
        return;
    n = read(s->fd, s->bytes, room);
    if (n > 0) {
        s->room -= (size_t)n;
        s->verbs->typed(s->arg, s->bytes, (size_t)n);
        explicit_bzero(s->bytes, (size_t)n); /* passwords are typed too */
    } else if (n == 0 ||
               (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK)) {
        s->is_ended = true;
        s->verbs->ended(s->arg);
    }
    source_arm(s);
}

struct source *source_new(struct loop *l, int fd,
                          const struct source_verbs *verbs, void *arg)
{
    struct source *s = mem_zero(1, sizeof(*s));

    s->verbs = verbs;
    s->arg = arg;
    s->fd = fd;
    s->watch = watch_start(l, fd, LOOP_READ, source_ready, s);
    if (!s->watch) {
        s->timer = loop_timer_start(l, 0, 0, source_ready, s);
    }
    return s;
}

void source_free(struct source *s)
{
    if (!s)
        return;
    watch_stop(s->watch);
    loop_timer_stop(s->timer);
    free(s);
}

void source_want(struct source *s, size_t room)
{
    s->room = room;
    source_arm(s);
}
