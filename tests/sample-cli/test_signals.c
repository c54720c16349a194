/* The program on a terminal, ended or halted in the midst of its live view:
 * how it leaves the terminal, what it shows and how it exits. */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/programs.h"
#include "tests/lib/term.h"
#include "tests/lib/tree.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>
#include <cmocka.h>

#define COLS 100
#define ROWS 40
#define PATIENCE_MS 20000
#define HIDE "\033[?25l"
#define SHOW "\033[?25h"

/* It says something, and then nothing for long: what the signals come upon.
 * (exec: whom we look for afterwards is the one that waits.) */
#define CLAUDE                                                                 \
    "#!/bin/sh\ncat >/dev/null\npwd >\"$0.cwd\"\necho $$ >\"$0.pid\"\ncat "    \
    "<<'E'\n"                                                                  \
    "{\"type\":\"stream_event\",\"event\":{\"type\":\"content_block_delta\","  \
    "\"delta\":{\"type\":\"text_delta\",\"text\":\"Thinking aloud.\\n\"}}}\n"  \
    "E\nexec sleep 100\n"
#define SAID "Thinking aloud."

static char *dir, *exe;

struct prog {
    pid_t pid;
    int master, slave; /* we hold both: settings outlive the program */
    struct termios before;
    char out[1 << 18];
    size_t len;
};
static struct prog p;

static int setup(void **state)
{
    own_mem char *claude = NULL;

    (void)state;
    dir = scratch_new();
    exe = program_path("sample-cli");
    tree_put(dir, "tree/a.c", "int a; \n");
    tree_put(dir, "bin/claude", CLAUDE);
    claude = mem_printf("%s/bin/claude", dir);
    assert_int_equal(chmod(claude, 0755), 0);
    p = (struct prog){.master = -1, .slave = -1};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (p.pid > 0) {
        kill(p.pid, SIGKILL);
        waitpid(p.pid, NULL, 0);
    }
    if (p.master >= 0)
        close(p.master);
    if (p.slave >= 0)
        close(p.slave);
    free(exe);
    scratch_remove(dir);
    return 0;
}

static void run(const char *option, int ignored)
{
    own_mem char *path = mem_printf("%s/bin:/usr/bin:/bin", dir);
    own_mem char *tree = mem_printf("%s/tree", dir);
    const struct rlimit no_core = {0, 0};

    close(p.master);
    setrlimit(RLIMIT_CORE, &no_core);
    login_tty(p.slave);
    if (ignored)
        signal(ignored, SIG_IGN);
    setenv("PATH", path, 1);
    setenv("LC_ALL", "C.UTF-8", 1);
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    unsetenv("ANTHROPIC_API_KEY");
    unsetenv("ANTHROPIC_BASE_URL");
    execl(exe, exe, option ? option : tree, option ? tree : NULL, NULL);
    _exit(127);
}

static void take(int ms)
{
    struct pollfd in = {p.master, POLLIN, 0};
    ssize_t n;

    if (poll(&in, 1, ms) <= 0)
        return;
    n = read(p.master, p.out + p.len, sizeof(p.out) - 1 - p.len);
    if (n > 0)
        p.out[p.len += (size_t)n] = 0;
}

/* Wait until the terminal was sent it, behind the first `from` bytes. */
static void expect(size_t from, const char *text)
{
    const int64_t until = loop_now_ms() + PATIENCE_MS;

    while (!strstr(p.out + from, text)) {
        if (loop_now_ms() > until)
            fail_msg("it did not say \"%s\" but:\n%s", text, p.out + from);
        take(20);
    }
}

/* Started with option (NULL = none), and in the midst of its last stage. */
static void start(const char *option, int ignored)
{
    const struct winsize size = {.ws_row = ROWS, .ws_col = COLS};

    assert_int_equal(openpty(&p.master, &p.slave, NULL, NULL, &size), 0);
    fcntl(p.master, F_SETFD, FD_CLOEXEC);
    assert_int_equal(tcgetattr(p.slave, &p.before), 0);
    p.before.c_cc[VERASE] = 010; /* something of the user's own */
    p.before.c_lflag &= ~(tcflag_t)ECHOCTL;
    assert_int_equal(tcsetattr(p.slave, TCSANOW, &p.before), 0);
    fflush(NULL);
    p.pid = fork();
    assert_true(p.pid >= 0);
    if (p.pid == 0)
        run(option, ignored);
    if (!option)
        expect(0, SAID);
}

static void expect_midst(void)
{
    struct termios now;

    assert_int_equal(tcgetattr(p.slave, &now), 0);
    assert_int_equal(now.c_lflag & ECHO, 0);
    assert_int_not_equal(now.c_lflag & ISIG, 0);
}

/* All is as it was before: the settings, and the cursor is there. */
static void expect_before(void)
{
    const char *shown = NULL;
    struct termios now;

    assert_int_equal(tcgetattr(p.slave, &now), 0);
    assert_int_equal(now.c_iflag, p.before.c_iflag);
    assert_int_equal(now.c_oflag, p.before.c_oflag);
    assert_int_equal(now.c_cflag, p.before.c_cflag);
    assert_int_equal(now.c_lflag, p.before.c_lflag);
    assert_memory_equal(now.c_cc, p.before.c_cc, sizeof(now.c_cc));
    for (const char *at = p.out; (at = strstr(at, SHOW)); at++)
        shown = at;
    assert_non_null(shown);
    assert_null(strstr(shown, HIDE));
}

/* What becomes of it: its wait status. */
static int status_of(int flags)
{
    const int64_t until = loop_now_ms() + PATIENCE_MS;
    int status;

    for (;;) {
        pid_t pid = waitpid(p.pid, &status, WNOHANG | flags);

        assert_true(pid >= 0);
        if (p.master >= 0)
            take(pid ? 0 : 10);
        else
            poll(NULL, 0, 10);
        if (pid)
            break;
        if (loop_now_ms() > until)
            fail_msg("it does not end; it said:\n%s", p.out);
    }
    if (!WIFSTOPPED(status))
        p.pid = 0;
    return status;
}

static void expect_exit(int code)
{
    int status = status_of(0);

    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
}

static void type(char key)
{
    assert_int_equal(write(p.master, &key, 1), 1);
}

/* What stands on the screen, the caller's. */
static char *screen(void)
{
    static struct term t;

    term_init(&t, COLS, ROWS);
    term_feed(&t, p.out);
    assert_false(t.is_cursor_hidden);
    return term_text(&t);
}

static void shows(const char *text, const char *want)
{
    const char *at = strstr(text, want);

    if (!at)
        fail_msg("it does not show \"%s\":\n%s", want, text);
    if (strstr(at + 1, want))
        fail_msg("it shows \"%s\" twice:\n%s", want, text);
}

/* Nobody waits on as the command that was asked. */
static void expect_no_claude(void)
{
    own_mem char *file = mem_printf("%s/bin/claude.pid", dir), *text = NULL;
    const int64_t until = loop_now_ms() + PATIENCE_MS;
    own_mem char *stat = NULL;
    size_t len;

    text = tree_get(file, &len);
    stat = mem_printf("/proc/%d/exe", atoi(text));
    assert_true(atoi(text) > 1);
    /* (one that has ended and is not reaped has no program) */
    for (char exe_now[256]; readlink(stat, exe_now, sizeof(exe_now)) > 0;) {
        if (loop_now_ms() > until)
            fail_msg("the claude command is still there");
        poll(NULL, 0, 10);
    }
}

/* It ran where nothing has to be tidied up, and nothing can be put. */
static void expect_no_place(void)
{
    own_mem char *file = mem_printf("%s/bin/claude.cwd", dir), *place = NULL;
    size_t len;

    place = tree_get(file, &len);
    place[strcspn(place, "\n")] = 0;
    if (access("/proc/tty/ldisc", X_OK) == 0)
        assert_string_equal(place, "/proc/tty/ldisc");
    else
        assert_string_equal(place, "/");
}

/* Stopped in the midst by signum, which `name` names. */
static void is_stopped_by(int signum, const char *name)
{
    own_mem char *text = NULL;
    own_mem char *why =
        mem_printf("sample-cli: stopped by SIG%s: there is no report\n", name);

    expect_exit(128 + signum);
    expect_before();
    text = screen();
    shows(text, "✔ Walk the tree ");
    shows(text, "✔ Rules\n");
    shows(text, "■ Review by Claude\n");
    shows(text, "  ✔ Gather what is sent ");
    shows(text, "  ■ Ask the claude command");
    shows(text, "  ■ Ask the Messages API      not started\n");
    shows(text, why);
    assert_null(strstr(text, "finding in")); /* no report, as it says */
    expect_no_claude();
    expect_no_place();
}

static void ctrl_c_stops_it_and_says_so(void **state)
{
    (void)state;
    start(NULL, 0);
    expect_midst();
    type(3);
    is_stopped_by(SIGINT, "INT");
}

static void sigterm_stops_it_and_says_so(void **state)
{
    (void)state;
    start(NULL, 0);
    kill(p.pid, SIGTERM);
    is_stopped_by(SIGTERM, "TERM");
}

static void sighup_stops_it_and_says_so(void **state)
{
    (void)state;
    start(NULL, 0);
    kill(p.pid, SIGHUP);
    is_stopped_by(SIGHUP, "HUP");
}

static void a_terminal_that_goes_away_ends_it(void **state)
{
    (void)state;
    start(NULL, 0);
    close(p.slave);
    close(p.master);
    p.slave = p.master = -1;
    expect_exit(128 + SIGHUP);
    expect_no_claude();
    expect_no_place();
}

static void a_signal_it_was_started_to_ignore_stays_ignored(void **state)
{
    size_t then;

    (void)state;
    start(NULL, SIGHUP);
    kill(p.pid, SIGHUP);
    then = p.len;
    expect(then, SAID); /* the next frame */
    then = p.len;
    expect(then, SAID); /* and the one after it: nothing is stopped */
    type(3);
    is_stopped_by(SIGINT, "INT");
}

/* Both are there when it next looks: it does not wait for its tasks. */
static void a_second_signal_ends_it_at_once(void **state)
{
    (void)state;
    start(NULL, 0);
    kill(p.pid, SIGSTOP);
    assert_true(WIFSTOPPED(status_of(WUNTRACED)));
    kill(p.pid, SIGINT);
    kill(p.pid, SIGTERM);
    kill(p.pid, SIGCONT);
    expect_exit(128 + SIGTERM);
    expect_before();
    expect_no_claude();
    expect_no_place();
}

static void ctrl_z_gives_the_terminal_back_and_fg_takes_it(void **state)
{
    size_t then;
    int status;

    (void)state;
    start(NULL, 0);
    for (int i = 0; i < 2; i++) {
        expect_midst();
        type(26);
        status = status_of(WUNTRACED);
        assert_true(WIFSTOPPED(status));
        expect_before();
        then = p.len;
        kill(p.pid, SIGCONT);
        expect(then, HIDE);
        expect(then, SAID); /* it draws again */
    }
    expect_midst();
    type(3);
    expect_exit(128 + SIGINT);
    expect_before();
    expect_no_claude();
}

static void a_crash_leaves_the_terminal_as_it_was(void **state)
{
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL,
                                  SIGABRT, SIGSYS, SIGQUIT};

    (void)state;
    for (size_t i = 0; i < sizeof(crashes) / sizeof(*crashes); i++) {
        int status;

        p.len = 0;
        p.out[0] = 0;
        start(NULL, 0);
        expect_midst();
        if (crashes[i] == SIGQUIT)
            type(28); /* Ctrl-\ */
        else
            kill(p.pid, crashes[i]);
        status = status_of(0);
        assert_true(WIFSIGNALED(status)); /* as if it had no handler */
        assert_int_equal(WTERMSIG(status), crashes[i]);
        expect_before();
        expect_no_claude();
        expect_no_place();
        close(p.master);
        close(p.slave);
        p.master = p.slave = -1;
    }
}

static void a_plain_run_says_what_was_stopped(void **state)
{
    own_mem char *pid = mem_printf("%s/bin/claude.pid", dir);
    const int64_t until = loop_now_ms() + PATIENCE_MS;
    struct stat st;

    (void)state;
    start("--plain", 0);
    while (stat(pid, &st) < 0 || st.st_size == 0) {
        assert_true(loop_now_ms() < until);
        take(10);
    }
    kill(p.pid, SIGTERM);
    expect_exit(128 + SIGTERM);
    shows(p.out, "\nok    Walk the tree: 1 file in 1 directory");
    shows(p.out, "\nSTOP  Review by Claude: Ask the claude command");
    shows(p.out,
          "\nSTOP  Review by Claude: Ask the Messages API: not started\r\n");
    shows(p.out, "\nsample-cli: stopped by SIGTERM: there is no report\r\n");
    assert_null(strchr(p.out, '\033'));
    assert_null(strstr(p.out, "finding in"));
    expect_no_claude();
    expect_no_place();
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(ctrl_c_stops_it_and_says_so),
        CASE(sigterm_stops_it_and_says_so),
        CASE(sighup_stops_it_and_says_so),
        CASE(a_terminal_that_goes_away_ends_it),
        CASE(a_signal_it_was_started_to_ignore_stays_ignored),
        CASE(a_second_signal_ends_it_at_once),
        CASE(ctrl_z_gives_the_terminal_back_and_fg_takes_it),
        CASE(a_crash_leaves_the_terminal_as_it_was),
        CASE(a_plain_run_says_what_was_stopped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
