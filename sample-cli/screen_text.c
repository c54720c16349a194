#include "sample-cli/screen_text.h"

#include "sample-cli/text.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

size_t screen_text(const struct screen *s, const char *text, size_t len,
                   size_t cols, struct buf *out)
{
    struct buf safe;
    size_t width;

    buf_init(&safe, TEXT_TAME_MAX(len));
    (void)text_tame(&safe, text, len, s->is_utf8);
    width = text_width(buf_cstr(&safe));
    text_clip(out, buf_cstr(&safe), cols, s->is_utf8);
    buf_fini(&safe);
    return width < cols ? width : cols;
}

void screen_aside(const struct task *task, int64_t now_ms, struct buf *out)
{
    char text[TEXT_NUMBER_MAX];
    int64_t ms = task_ms(task, now_ms);

    if (task->tries > 1)
        buf_printf(out, "try %d", task->tries);
    if (ms >= SCREEN_TIMER_MS)
        buf_printf(out, "%s%s", out->len ? ", " : "", text_duration(ms, text));
}

void screen_write(struct screen *s, const struct buf *b)
{
    size_t done = 0;

    while (done < b->len && !s->error) {
        ssize_t n = write(s->fd, b->data + done, b->len - done);

        if (n >= 0) {
            done += (size_t)n;
        } else if (errno == EAGAIN) {
            struct pollfd p = {s->fd, POLLOUT, 0};

            poll(&p, 1, -1);
        } else if (errno != EINTR) {
            s->error = errno;
        }
    }
}
