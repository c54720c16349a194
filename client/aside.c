#include "client/aside.h"

#include "base/mem.h"
#include "base/own.h"
#include "client/say.h"
#include "client/tty.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void aside_write(int fd, const char *text)
{
    size_t len = strlen(text);

    while (len > 0) {
        ssize_t n = write(fd, text, len);

        if (n <= 0)
            return;
        text += n;
        len -= (size_t)n;
    }
}

static int aside_room(const struct aside *a)
{
    uint16_t cols, rows;

    tty_size(a->fd, &cols, &rows);
    return cols > 4 ? cols - 4 : 1;
}

/* Bytes are cells here. */
static void aside_put(const struct aside *a, const char *text, bool is_bright)
{
    const size_t cells = strlen(text);
    uint16_t cols, rows;
    own_mem char *all = NULL;

    tty_size(a->fd, &cols, &rows);
    all = mem_printf("\0337\033[1;%zuH\033[%sm%s\033[0m\0338",
                     cells < cols ? cols - cells + 1 : 1, is_bright ? "7" : "0",
                     text);
    aside_write(a->fd, all);
}

static void aside_corner(struct aside *a, const char *text)
{
    own_mem char *cut = mem_printf(" %.*s ", aside_room(a), text);

    a->corner = strlen(cut);
    aside_put(a, cut, true);
}

/* The program's own title comes back from the terminal's stack. */
static void aside_title(struct aside *a, const char *text)
{
    own_mem char *all = mem_printf("%s\033]2;podterm: %s\033\\",
                                   a->is_titled ? "" : "\033[22;2t", text);

    aside_write(a->fd, all);
    a->is_titled = true;
}

bool aside_has_corner(const struct aside *a)
{
    return modes_is_alternate(a->screen) && modes_may_draw(a->screen);
}

bool aside_say(struct aside *a, const char *text, const char *const *shorter,
               int64_t stands_ms)
{
    const bool has_corner = aside_has_corner(a);
    char shown[SAY_LINE_MAX];

    if (has_corner || a->corner)
        aside_clear(a);
    while (*shorter && has_corner && strlen(text) > (size_t)aside_room(a))
        text = *shorter++;
    say_text(text, shown, sizeof(shown));
    for (char *c = shown; *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    if (has_corner)
        aside_corner(a, shown);
    else
        aside_title(a, shown);
    a->stands_ms = stands_ms;
    return !has_corner;
}

int64_t aside_stands_ms(const struct aside *a)
{
    return a->corner || a->is_titled ? a->stands_ms : 0;
}

bool aside_clear(struct aside *a)
{
    const bool had_corner = a->corner > 0;

    if (a->is_titled)
        aside_write(a->fd, "\033[23;2t");
    if (had_corner) {
        own_mem char *blank = mem_zero(a->corner + 1, 1);

        memset(blank, ' ', a->corner);
        aside_put(a, blank, false);
    }
    a->is_titled = false;
    a->corner = 0;
    a->stands_ms = 0;
    return had_corner;
}
