#include "sample-cli/source.h"

#include "base/beneath.h"
#include "base/mem.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Not blocking: a fifo may have taken the file's place. */
#define SOURCE_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW)

static int source_fill(int fd, size_t size, struct source *s, struct err *e)
{
    while (s->len < size) {
        ssize_t n = read(fd, s->bytes + s->len, size - s->len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, "read");
        if (n == 0)
            break; /* it has become shorter */
        s->len += (size_t)n;
    }
    return 0;
}

int source_read(int root_fd, const char *path, int64_t bytes_max,
                struct source *out, struct err *e)
{
    own_fd int fd =
        beneath_open(root_fd, path, SOURCE_FLAGS, 0, BENEATH_NO_LINKS);
    struct source s = {.path = path};
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys(e, "open");
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INPUT, "it is no regular file");
    if (st.st_size > bytes_max)
        return err_set(e, ERR_TOO_LARGE, "more than %lld bytes",
                       (long long)bytes_max);
    s.bytes = mem_zero((size_t)st.st_size + 1, 1);
    if (source_fill(fd, (size_t)st.st_size, &s, e) < 0) {
        source_fini(&s);
        return -1;
    }
    s.lang = lang_of(path, s.bytes, s.len);
    *out = s;
    return 0;
}

void source_fini(struct source *s)
{
    free(s->bytes);
    *s = (struct source){0};
}

bool source_next(const struct source *s, size_t *at, struct source_line *line)
{
    const char *text = s->bytes + *at, *end;
    size_t left = s->len - *at;

    if (left == 0)
        return false;
    end = memchr(text, '\n', left);
    line->number++;
    line->text = text;
    line->has_lf = end != NULL;
    line->len = end ? (size_t)(end - text) : left;
    *at += line->len + line->has_lf;
    line->has_cr = end && line->len && text[line->len - 1] == '\r';
    line->len -= line->has_cr;
    return true;
}
