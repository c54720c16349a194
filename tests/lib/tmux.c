#include "tests/lib/tmux.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/child.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LOOK_MS 50
#define ARGS_MAX 16

/* tmux with these arguments, NULL behind the last; what it said, the
 * caller's. */
static char *tmux(struct tmux *t, ...)
{
    const char *argv[ARGS_MAX] = {"tmux", "-L", t->name, "-f", "/dev/null"};
    struct child c = {.argv = argv};
    size_t n = 5;
    char *out;
    va_list ap;

    va_start(ap, t);
    while (n < ARGS_MAX - 1 && (argv[n] = va_arg(ap, const char *)))
        n++;
    va_end(ap);
    child_expect(&c, 0);
    out = mem_str(c.out);
    child_fini(&c);
    return out;
}

static void chomp(char *text)
{
    text[strcspn(text, "\n")] = 0;
}

/* However the test ends: its server does not stay. */
static void end_with_us(struct tmux *t)
{
    own_mem char *watch =
        mem_printf("while kill -0 %d 2>/dev/null; do sleep 1; done; "
                   "tmux -L %s kill-server",
                   (int)getpid(), t->name);

    free(tmux(t, "run-shell", "-b", watch, NULL));
}

void tmux_start(struct tmux *t, int cols, int rows)
{
    static int count;
    own_mem char *x = mem_printf("%d", cols), *y = mem_printf("%d", rows);
    own_mem char *tty = NULL;

    snprintf(t->name, sizeof(t->name), "podterm-test-%d-%d", (int)getpid(),
             count++);
    free(tmux(t, "new-session", "-d", "-x", x, "-y", y,
              "env -u TMUX PS1='seat> ' bash --norc --noprofile -i", NULL));
    end_with_us(t);
    free(tmux(t, "set", "-g", "status", "off", NULL));
    free(tmux(t, "set", "-g", "escape-time", "0", NULL));
    tty = tmux_value(t, "#{pane_tty}");
    snprintf(t->tty, sizeof(t->tty), "%s", tty);
    tmux_resize(t, cols, rows);
    tmux_expect(t, "seat>", 10000);
}

void tmux_stop(struct tmux *t)
{
    own_mem char *path = NULL;

    if (!t->name[0])
        return;
    path = tmux_value(t, "#{socket_path}");
    free(tmux(t, "kill-server", NULL));
    unlink(path); /* tmux leaves it */
    t->name[0] = 0;
}

void tmux_type(struct tmux *t, const char *text)
{
    free(tmux(t, "send-keys", "-l", text, NULL));
}

void tmux_key(struct tmux *t, const char *name)
{
    free(tmux(t, "send-keys", name, NULL));
}

void tmux_resize(struct tmux *t, int cols, int rows)
{
    own_mem char *x = mem_printf("%d", cols), *y = mem_printf("%d", rows);

    free(tmux(t, "resize-window", "-x", x, "-y", y, NULL));
}

char *tmux_screen(struct tmux *t)
{
    return tmux(t, "capture-pane", "-p", NULL);
}

char *tmux_cells(struct tmux *t)
{
    return tmux(t, "capture-pane", "-p", "-e", NULL);
}

char *tmux_value(struct tmux *t, const char *format)
{
    char *out = tmux(t, "display-message", "-p", format, NULL);

    chomp(out);
    return out;
}

static void expect(struct tmux *t, const char *format, const char *text,
                   bool is_there, int ms)
{
    const int64_t until = loop_now_ms() + ms;

    for (;;) {
        own_mem char *now = format ? tmux_value(t, format) : tmux_screen(t);

        if ((strstr(now, text) != NULL) == is_there)
            return;
        if (loop_now_ms() > until)
            fail_msg("\"%s\" is %s after %d ms: %s", text,
                     is_there ? "not there" : "still there", ms, now);
        poll(NULL, 0, LOOK_MS);
    }
}

void tmux_expect(struct tmux *t, const char *text, int ms)
{
    expect(t, NULL, text, true, ms);
}

void tmux_expect_no(struct tmux *t, const char *text, int ms)
{
    expect(t, NULL, text, false, ms);
}

void tmux_expect_value(struct tmux *t, const char *format, const char *text,
                       int ms)
{
    expect(t, format, text, true, ms);
}

char *tmux_settings(struct tmux *t)
{
    const char *argv[] = {"stty", "-a", "-F", t->tty, NULL};
    struct child c = {.argv = argv};
    char *out;

    child_expect(&c, 0);
    out = mem_str(c.out);
    child_fini(&c);
    return out;
}

char *tmux_modes(struct tmux *t)
{
    return tmux_value(
        t, "alternate #{alternate_on} cursor #{cursor_flag} insert "
           "#{insert_flag} keypad #{keypad_flag} keys #{keypad_cursor_flag} "
           "mouse #{mouse_any_flag} sgr #{mouse_sgr_flag} origin "
           "#{origin_flag} wrap #{wrap_flag} scroll "
           "#{scroll_region_upper}-#{scroll_region_lower} title #{pane_title}");
}
