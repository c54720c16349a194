/* sample-cli: looks over a source tree, stage by stage. */
#include "base/err.h"
#include "base/mem.h"
#include "sample-cli/look.h"
#include "sample-cli/report.h"
#include "sample-cli/review.h"
#include "sample-cli/screen.h"
#include "sample-cli/settings.h"
#include "sample-cli/stop.h"
#include "sample-cli/tasks.h"
#include "sample-cli/text.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXIT_FINDINGS 1
#define EXIT_NO_LOOK 2
#define STAGES_MAX 8

static int64_t main_now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int main_fail(const struct err *e)
{
    struct buf b;

    buf_init(&b, sizeof(e->text) * 10);
    (void)text_escape(&b, e->text, strlen(e->text), false);
    fprintf(stderr, "sample-cli: %s\n", buf_cstr(&b));
    buf_fini(&b);
    return EXIT_NO_LOOK;
}

/* 0..2 are there from here on: a descriptor that is opened later must not be
 * written into for a closed one. */
static int main_ends(struct err *e)
{
    bool is_told = fcntl(STDOUT_FILENO, F_GETFD) >= 0;
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0)
        return err_sys(e, "/dev/null");
    close(fd);
    if (!is_told)
        return err_set(e, ERR_INPUT,
                       "standard output is closed: give it a file, a pipe or "
                       "a terminal, or /dev/null");
    return 0;
}

/* Was all of it written? A full disk must not look like a clean tree. */
static int main_flush(const struct screen *s, struct err *e)
{
    if (fflush(stdout) == 0 && !ferror(stdout) && !s->error)
        return 0;
    return err_set(e, ERR_SYSTEM, "the output could not be written: %s",
                   strerror(s->error ? s->error : errno));
}

/* What a signal has stopped is not told as if it were whole. */
static int main_stopped(const struct stop *stop)
{
    fprintf(stderr, "sample-cli: stopped by SIG%s: there is no report\n",
            sigabbrev_np(stop->signum));
    return 128 + stop->signum;
}

/* After the tasks: what they found, and the exit status. */
static int main_tell(const struct settings *set, struct look *look,
                     struct review *review, const struct tasks *t,
                     const struct report_style *style)
{
    const struct task *walk = &t->items[0];

    if (walk->state == TASK_FAILED) {
        fprintf(stderr, "sample-cli: %s\n", walk->detail);
        return EXIT_NO_LOOK;
    }
    if (set->as_json) {
        report_json(stdout, look, review,
                    set->no_review ? NULL : &t->items[t->count - 1]);
    } else {
        report_text(stdout, look, style);
        report_review(stdout, review, style);
    }
    if (set->is_strict && findings_total(&look->findings) > set->allowed)
        return EXIT_FINDINGS;
    return EXIT_SUCCESS;
}

/* The stages of the look, and the review behind them; returns how many. */
static size_t main_stages(const struct settings *set, struct review *review,
                          struct task stages[STAGES_MAX])
{
    size_t count;
    const struct task *look = look_tasks(&count);

    assert(count < STAGES_MAX);
    memcpy(stages, look, count * sizeof(*look));
    if (!set->no_review)
        stages[count++] = review_task(review);
    return count;
}

static int main_look(const struct settings *set, bool is_utf8)
{
    static struct task stages[STAGES_MAX]; /* tasks that are left may look */
    static struct review review;
    struct tasks t = {.now_ms = main_now_ms, .stop = stop_take};
    struct screen screen;
    struct report_style style;
    struct look look;
    struct stop stop;
    struct err e = {0};
    int status;

    look_init(&look, &set->look);
    screen_init(&screen, STDOUT_FILENO, is_utf8, set->is_plain);
    style = (struct report_style){is_utf8, screen.has_color};
    if (stop_init(&stop, &screen, &e) < 0)
        return main_fail(&e);
    review_init(&review, &set->review, &look);
    t.items = stages;
    t.count = main_stages(set, &review, stages);
    t.arg = &look;
    t.stop_fd = stop.fd;
    t.stop_arg = &stop;
    if (!set->as_json) {
        t.view = screen_view(&screen);
        report_head(stdout, set->look.root, &style);
        fflush(stdout);
    }
    tasks_run(&t);
    status = stop.signum ? main_stopped(&stop)
                         : main_tell(set, &look, &review, &t, &style);
    if (main_flush(&screen, &e) < 0 && !stop.signum)
        status = main_fail(&e);
    if (t.is_abandoned)
        _exit(status);
    stop_fini(&stop);
    review_fini(&review);
    look_fini(&look);
    return status;
}

int main(int argc, char **argv)
{
    struct settings set = {0};
    struct err e = {0};
    bool is_utf8;
    int r, status;

    if (main_ends(&e) < 0)
        return main_fail(&e);
    setlocale(LC_CTYPE, "");
    is_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    r = settings_load(&set, argc, argv, &e);
    if (r != 0)
        return r < 0 ? main_fail(&e) : EXIT_SUCCESS;
    /* JSON is UTF-8 whatever the terminal is */
    set.look.is_utf8 = is_utf8 || set.as_json;
    set.review.is_utf8 = set.look.is_utf8;
    status = main_look(&set, is_utf8);
    settings_fini(&set);
    return status;
}
