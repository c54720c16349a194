/*
 * Programs that draw all of a terminal, through podterm and without it, and
 * over ssh where an sshd is installed: each cell, its attributes, the cursor
 * and the modes are the same, also while the size is another one and after.
 */
// alone: what is drawn is looked at once it has had time to be
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/desk.h"
#include "tests/lib/skipped.h"
#include "tests/lib/tmux.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define STILL_MS 800
#define SOON_MS 20000
#define COLS 80
#define ROWS 24
#define SSHD "/usr/sbin/sshd"
#define SHOTS 4

/* What is typed, and what stands there then; after the size was another one
 * and is as before, once more. */
struct show {
    const char *program, *line, *first, *keys, *seen, *more, *last;
};

static char *inner; /* a tmux within: its socket */

static void script(const char *name, const char *text)
{
    own_mem char *path = mem_printf("%s/%s", desk.stack->dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

    assert_true(fd >= 0);
    dprintf(fd, "%s", text);
    close(fd);
}

/* An sshd for one connection, over its standard input and output: no port is
 * opened. */
static void setup_ssh(void)
{
    const char *dir = desk.stack->dir;
    own_mem char *keys =
        mem_printf("cd %s && ssh-keygen -q -t ed25519 -N '' -f host && "
                   "ssh-keygen -q -t ed25519 -N '' -f own && cp own.pub keys",
                   dir);
    own_mem char *conf =
        mem_printf("HostKey %s/host\nAuthorizedKeysFile %s/keys\n"
                   "StrictModes no\nUsePAM no\nPermitRootLogin yes\n"
                   "PrintMotd no\nPrintLastLog no\nPidFile none\n",
                   dir, dir);
    own_mem char *ssh = mem_printf(
        "#!/bin/sh\nexec ssh -q -F none -t -i %s/own -o BatchMode=yes -o "
        "StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o "
        "ProxyCommand='" SSHD " -i -q -f %s/conf' here \"$@\"\n",
        dir, dir);

    script("conf", conf);
    script("ssh", ssh);
    if (access(SSHD, X_OK) == 0 && system(keys) != 0)
        fail_msg("ssh-keygen");
}

static int setup(void **arg)
{
    own_mem char *run = NULL;

    desk_setup(arg);
    unsetenv("TMUX");
    run = mem_printf("#!/bin/sh\nexec %s run --quiet -- sh -c \"$@\"\n",
                     desk.podterm);
    script("ours", run);
    script("alone", "#!/bin/sh\nexec sh -c \"$@\"\n");
    setup_ssh();
    inner = mem_printf("/tmp/podterm-test-inner-%d", (int)getpid());
    return 0;
}

static int teardown(void **arg)
{
    free(inner);
    return desk_teardown(arg);
}

static char *shot(struct tmux *t)
{
    own_mem char *cells = tmux_cells(t), *modes = tmux_modes(t);
    own_mem char *cursor = tmux_value(t, "#{cursor_x},#{cursor_y}");

    return mem_printf("%s%s\n%s\n", cells, cursor, modes);
}

/* Once it is as wanted; or (NULL) the same for a while. At last as it is. */
static char *settled(struct tmux *t, const char *want)
{
    char *last = shot(t);

    for (int i = 0; i < SOON_MS / STILL_MS; i++) {
        char *now;
        bool is_same;

        poll(NULL, 0, STILL_MS);
        now = shot(t);
        is_same = strcmp(now, want ? want : last) == 0;
        free(last);
        last = now;
        if (is_same)
            break;
    }
    return last;
}

/* Started by the shell at hand, one of the scripts above. */
static void show(const struct show *s, const char *way, char *const want[SHOTS],
                 char *shots[SHOTS])
{
    own_mem char *line = mem_printf("clear; %s/%s \"$(cat %s/show)\"",
                                    desk.stack->dir, way, desk.stack->dir);
    own_mem char *kill_inner = mem_printf(
        "tmux -S %s kill-server 2>/dev/null; rm -f %s", inner, inner);
    struct tmux own;

    tmux_start(&own, COLS, ROWS);
    tmux_type(&own, line);
    tmux_key(&own, "Enter");
    tmux_expect(&own, s->first, SOON_MS);
    shots[0] = settled(&own, want[0]);
    tmux_type(&own, s->keys);
    tmux_expect(&own, s->seen, SOON_MS);
    shots[1] = settled(&own, want[1]);
    tmux_resize(&own, 70, 20);
    shots[2] = settled(&own, want[2]);
    tmux_resize(&own, COLS, ROWS);
    poll(NULL, 0, 1000);
    tmux_type(&own, s->more);
    tmux_expect(&own, s->last, SOON_MS);
    shots[3] = settled(&own, want[3]);
    tmux_type(&own, "\033:q!\n"); /* of vi; of less, q alone is heard */
    tmux_type(&own, "q");
    tmux_stop(&own);
    assert_int_equal(system(kill_inner), 0);
}

/* (cmocka would cut it) */
static void tell(const char *way, const char *shot)
{
    fprintf(stderr, "%s\n%s", way, shot);
}

static void compare(const struct show *s, const char *way,
                    char *const want[SHOTS])
{
    char *is[SHOTS];

    show(s, way, want, is);
    for (int i = 0; i < SHOTS; i++) {
        if (strcmp(want[i], is[i]) != 0) {
            tell("alone", want[i]);
            tell(way, is[i]);
            fail_msg("%s, %s, %d", s->program, way, i);
        }
        free(is[i]);
    }
}

static void check(const struct show *s)
{
    own_mem char *which = mem_printf("command -v %s >/dev/null", s->program);
    own_mem char *line = mem_printf("export TERM=xterm-256color LANG=C.UTF-8; "
                                    "unset TMUX LESS; clear; %s",
                                    s->line);
    char *const none[SHOTS] = {NULL};
    char *alone[SHOTS];

    if (system(which) != 0)
        skipped("the program is not installed");
    script("show", line);
    show(s, "alone", none, alone);
    compare(s, "ours", alone);
    if (access(SSHD, X_OK) == 0)
        compare(s, "ssh", alone);
    for (int i = 0; i < SHOTS; i++)
        free(alone[i]);
}

static void less_does(void **arg)
{
    static const struct show s = {
        "less", "seq 1 500 | less -X", "23\n", "/333\n", "333\n", "G", "500\n"};

    (void)arg;
    check(&s);
}

static void vim_does(void **arg)
{
    static const struct show tiny = {
        "vim.tiny",
        "vim.tiny -n -u NONE -c 'set nocp ruler' -c 'silent %!seq 1 80'",
        "1,1",
        "Gohello from here\033",
        "hello from here",
        "ggyyp/7\n",
        "7"};
    static const struct show full = {
        "vim",
        "vim -n -u NONE -c 'set nocp ruler hls' -c 'syntax on' -c 'silent "
        "%!seq 1 80' -c 'set ft=sh'",
        "1,1",
        "Gohello from here\033",
        "hello from here",
        "ggyyp/7\n",
        "7"};

    (void)arg;
    check(access("/usr/bin/vim", X_OK) == 0 ? &full : &tiny);
}

/* It lists no process, for those are others in a cage, and shows no load. */
static void htop_does(void **arg)
{
    static const struct show s = {
        "htop",
        "f=$(mktemp); printf 'htop_version=3.2.2\\n"
        "config_reader_min_version=3\\nheader_layout=one_100\\n"
        "column_meters_0=Blank\\ncolumn_meter_modes_0=2\\n"
        "screen:Main=USER PRIORITY Command\\n' >$f; exec 3<$f; rm $f; "
        "HTOPRC=/proc/self/fd/3 htop -d 100 -p 4000000",
        "F10Quit",
        "h",
        "Released under",
        "t",
        "F10Quit"};

    (void)arg;
    check(&s);
}

static void tmux_does(void **arg)
{
    own_mem char *line = mem_printf(
        "tmux -S %s -f /dev/null new-session 'env PS1=inner= sh' ';' set "
        "status off ';' split-window -h 'seq 1 200; sleep 100'",
        inner);
    struct show s = {
        "tmux",           line,        "200", "\002;echo typed within\n",
        "\ntyped within", "seq 5 9\n", "9\n"};

    (void)arg;
    check(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(less_does),
        cmocka_unit_test(vim_does),
        cmocka_unit_test(htop_does),
        cmocka_unit_test(tmux_does),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
