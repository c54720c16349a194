/*
 * What is typed at a terminal: most of it goes to the program, some of it is
 * meant for podterm (escape.h).
 */
#include "client/attach_internal.h"
#include "client/tty.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CHAR_INTR 0x03
#define CHAR_QUIT 0x1c

/* Keep what was typed; what cannot wait is taken out. */
static void keys_keep(struct attach *a, const uint8_t *bytes, size_t len)
{
    uint64_t window = a->link.is_ready ? a->link.input_window : UINT64_MAX;
    size_t from = 0;

    for (size_t i = 0; i < len; i++) {
        if ((bytes[i] != CHAR_INTR && bytes[i] != CHAR_QUIT) ||
            a->link.kept.len + (i - from) < window)
            continue;
        link_type(&a->link, bytes + from, i - from);
        from = i + 1;
        attach_signal(a,
                      bytes[i] == CHAR_INTR ? FRAME_SIG_INT : FRAME_SIG_QUIT);
    }
    link_type(&a->link, bytes + from, len - from);
}

static void keys_for_program(struct attach *a, const uint8_t *bytes, size_t len)
{
    if (memchr(bytes, CHAR_INTR, len) &&
        (a->link.role == ROLE_VIEWER || a->is_lost_told))
        attach_part(a, 128 + SIGINT, "you left");
    else
        keys_keep(a, bytes, len);
}

static void keys_ask(struct attach *a, const char *text, const char *shorter)
{
    progress_asked(a->conf->progress, text, shorter);
    attach_aside(a);
}

bool attach_tell_end(struct attach *a)
{
    static const uint8_t end[1] = {FRAME_END};

    return a->leg && a->link.is_ready && a->link.role == ROLE_OWNER &&
           leg_send(a->leg, end, sizeof(end));
}

static void keys_end(struct attach *a)
{
    char text[128];

    if (attach_tell_end(a)) {
        a->is_end_told = true;
        keys_ask(a, "ending the session", "ending");
        return;
    }
    snprintf(text, sizeof(text),
             a->link.role == ROLE_OWNER
                 ? "no connection: the session is not ended; podterm end %s "
                   "does it"
                 : "only the owner of %s can end it",
             a->conf->sid);
    keys_ask(a, text, "not ended");
}

/* The shell has the terminal until it hands it back. */
static void keys_suspend(struct attach *a)
{
    progress_clear(a->conf->progress);
    attach_away(a, true);
    tty_restore();
    progress_suspended(a->conf->progress);
    kill(0, SIGTSTP); /* as the terminal would: all of the job */
    attach_continued(a);
}

static void keys_act(struct attach *a, enum escape_act act)
{
    char text[160];

    switch (act) {
    case ESCAPE_DETACH:
        attach_detach(a);
        break;
    case ESCAPE_ASK_END:
        keys_ask(a,
                 "end the session and its program? y ends them, any other key "
                 "does not",
                 "end the session? y/n");
        break;
    case ESCAPE_END:
        keys_end(a);
        break;
    case ESCAPE_KEEP:
        attach_aside_over(a);
        keys_ask(a, "the session goes on", "goes on");
        break;
    case ESCAPE_SUSPEND:
        keys_suspend(a);
        break;
    case ESCAPE_HELP:
        escape_help(a->escape.key, text, sizeof(text));
        keys_ask(a, text, ". detach  x end  ^Z suspend");
        break;
    default:
        break;
    }
}

void attach_keys(struct attach *a, const uint8_t *bytes, size_t len)
{
    while (len > 0 && !a->is_leaving && !a->is_detaching) {
        size_t taken = len, n;
        enum escape_act act;

        n = escape_take(&a->escape, bytes, &taken, a->keys, &act);
        keys_for_program(a, a->keys, n);
        explicit_bzero(a->keys, n); /* passwords are typed too */
        keys_act(a, act);
        bytes += taken;
        len -= taken;
    }
}
