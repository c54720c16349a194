#include "sample-cli/look.h"

#include "base/buf.h"
#include "sample-cli/rules.h"
#include "sample-cli/same.h"
#include "sample-cli/source.h"
#include "sample-cli/text.h"

#include <string.h>

void look_init(struct look *l, const struct look_conf *conf)
{
    *l = (struct look){.conf = *conf, .walk = {.root_fd = -1}};
    pthread_mutex_init(&l->lock, NULL);
}

void look_fini(struct look *l)
{
    walk_fini(&l->walk);
    findings_fini(&l->findings);
    pthread_mutex_destroy(&l->lock);
}

static const char *plural(int64_t n)
{
    return n == 1 ? "" : "s";
}

static bool look_goes_on(void *task)
{
    return !task_is_stopped(task);
}

/* --- the tree --- */

/* What is no file and no directory is not looked at, and that is said. */
static void look_passed(const struct walk *w, struct buf *out)
{
    char number[TEXT_NUMBER_MAX];

    if (w->links || w->others)
        buf_append_str(out, "; passed over: ");
    if (w->links)
        buf_printf(out, "%s link%s%s", text_number(w->links, number),
                   plural(w->links), w->others ? ", " : "");
    if (w->others)
        buf_printf(out, "%s FIFO%s, device%s or socket%s",
                   text_number(w->others, number), plural(w->others),
                   plural(w->others), plural(w->others));
}

static int look_walk(struct task *t, void *arg, struct err *e)
{
    struct look *l = arg;
    const struct walk_conf conf = {
        .depth_max = (int)l->conf.depth_max,
        .entries_max = l->conf.entries_max,
        .skip = l->conf.skip,
        .goes_on = look_goes_on,
        .arg = t,
    };
    char files[TEXT_NUMBER_MAX], dirs[TEXT_NUMBER_MAX], size[TEXT_NUMBER_MAX];
    struct buf passed;

    if (walk_run(&l->walk, l->conf.root, &conf, &l->findings, e) < 0) {
        /* it names a path that somebody else has chosen */
        text_escape_err(e, l->conf.is_utf8);
        return -1;
    }
    if (l->walk.is_stopped)
        return TASK_STOP;
    buf_init(&passed, TASK_DETAIL_MAX);
    look_passed(&l->walk, &passed);
    task_tell(t, "%s file%s in %s director%s, %s%s%s",
              text_number((int64_t)l->walk.count, files),
              plural((int64_t)l->walk.count),
              text_number(l->walk.dirs + 1, dirs), l->walk.dirs ? "ies" : "y",
              text_size(l->walk.bytes, size),
              l->walk.is_cut ? "; a limit was reached" : "", buf_cstr(&passed));
    buf_fini(&passed);
    return 0;
}

/* Read one file for the first time: its language, its lines. */
static void look_count(struct look *l, struct walk_file *file)
{
    struct source_line line = {0};
    struct source s = {0};
    struct err e = {0};
    char size[TEXT_NUMBER_MAX];
    size_t at = 0;

    if (source_read(l->walk.root_fd, file->path, l->conf.file_bytes_max, &s,
                    &e) < 0) {
        l->unread++;
        if (e.kind == ERR_TOO_LARGE)
            findings_add(&l->findings, RULE_NOT_LOOKED_AT, file->path, 0,
                         "it is larger than %s and was not read",
                         text_size(l->conf.file_bytes_max, size));
        else
            findings_add(&l->findings, RULE_NOT_LOOKED_AT, file->path, 0,
                         "it cannot be read: %s", e.text);
        return;
    }
    l->read++;
    file->lang = s.lang;
    file->is_text = s.lang != LANG_BINARY;
    l->langs[s.lang].files++;
    l->langs[s.lang].bytes += (int64_t)s.len;
    if (file->is_text)
        while (source_next(&s, &at, &line))
            l->langs[s.lang].lines++;
    source_fini(&s);
}

static int look_read(struct task *t, void *arg, struct err *e)
{
    struct look *l = arg;
    char lines_text[TEXT_NUMBER_MAX], unread[TEXT_NUMBER_MAX];
    int64_t lines = 0, langs = 0;

    (void)e;
    if (l->walk.count == 0)
        return TASK_SKIP;
    for (size_t i = 0; i < l->walk.count; i++) {
        task_tell(t, "%zu of %zu", i + 1, l->walk.count);
        if (task_is_stopped(t))
            return TASK_STOP;
        look_count(l, &l->walk.files[i]);
    }
    for (int i = 0; i < LANG_BINARY; i++) {
        langs += l->langs[i].files > 0;
        lines += l->langs[i].lines;
    }
    task_tell(t, "%s line%s in %d language%s", text_number(lines, lines_text),
              plural(lines), (int)langs, plural(langs));
    if (l->unread)
        task_tell(t, "%s line%s; %s file%s not read", lines_text, plural(lines),
                  text_number(l->unread, unread), plural(l->unread));
    return 0;
}

/* --- by name and size --- */

/* Its own findings become everybody's, and how many there are is told. */
static int look_said(struct task *t, struct look *l, struct findings *own)
{
    char text[TEXT_NUMBER_MAX];
    long found = findings_total(own);

    pthread_mutex_lock(&l->lock);
    findings_move(&l->findings, own);
    pthread_mutex_unlock(&l->lock);
    if (found)
        task_tell(t, "%s found", text_number(found, text));
    else
        task_tell(t, "none");
    return TASK_OK;
}

static int look_large(struct task *t, void *arg, struct err *e)
{
    struct look *l = arg;
    struct findings own = {0};
    char size[TEXT_NUMBER_MAX], most[TEXT_NUMBER_MAX];

    (void)e;
    for (size_t i = 0; i < l->walk.count; i++) {
        const struct walk_file *file = &l->walk.files[i];

        if (file->bytes > l->conf.large_bytes)
            findings_add(&own, RULE_LARGE, file->path, 0,
                         "it has %s, more than %s",
                         text_size(file->bytes, size),
                         text_size(l->conf.large_bytes, most));
    }
    return look_said(t, l, &own);
}

static int look_binary(struct task *t, void *arg, struct err *e)
{
    struct look *l = arg;
    struct findings own = {0};
    char size[TEXT_NUMBER_MAX];

    (void)e;
    for (size_t i = 0; i < l->walk.count; i++) {
        const struct walk_file *file = &l->walk.files[i];

        if (file->lang == LANG_BINARY)
            findings_add(&own, RULE_BINARY, file->path, 0,
                         "a binary of %s among the sources",
                         text_size(file->bytes, size));
    }
    return look_said(t, l, &own);
}

/* --- by content --- */

typedef void look_rule(const struct source *s, const struct rules_conf *conf,
                       struct findings *f);

/* What was found so far is kept, and the rest is not looked at. */
static int look_stop(struct task *t, struct look *l, struct findings *own)
{
    look_said(t, l, own);
    return TASK_STOP;
}

/* A rule over every text. A file that cannot be read any more was there a
 * moment ago: that is told. */
static int look_texts(struct task *t, struct look *l, look_rule *rule)
{
    const struct rules_conf conf = {.line_max = (size_t)l->conf.line_max,
                                    .is_utf8 = l->conf.is_utf8};
    struct findings own = {0};

    for (size_t i = 0; i < l->walk.count; i++) {
        const struct walk_file *file = &l->walk.files[i];
        struct source s = {0};
        struct err e = {0};

        if (task_is_stopped(t))
            return look_stop(t, l, &own);
        if (!file->is_text)
            continue;
        task_tell(t, "%zu of %zu", i + 1, l->walk.count);
        if (source_read(l->walk.root_fd, file->path, l->conf.file_bytes_max, &s,
                        &e) < 0) {
            findings_add(&own, RULE_NOT_LOOKED_AT, file->path, 0,
                         "it changed while it was looked at: %s", e.text);
            continue;
        }
        rule(&s, &conf, &own);
        source_fini(&s);
    }
    return look_said(t, l, &own);
}

static int look_long_lines(struct task *t, void *arg, struct err *e)
{
    (void)e;
    return look_texts(t, arg, rules_long_lines);
}

static int look_trailing(struct task *t, void *arg, struct err *e)
{
    (void)e;
    return look_texts(t, arg, rules_trailing);
}

static int look_markers(struct task *t, void *arg, struct err *e)
{
    (void)e;
    return look_texts(t, arg, rules_markers);
}

static int look_line_ends(struct task *t, void *arg, struct err *e)
{
    (void)e;
    return look_texts(t, arg, rules_line_ends);
}

static int look_same(struct task *t, void *arg, struct err *e)
{
    struct look *l = arg;
    const struct same_conf conf = {
        .bytes_max = l->conf.file_bytes_max,
        .is_utf8 = l->conf.is_utf8,
        .goes_on = look_goes_on,
        .arg = t,
    };
    struct findings own = {0};

    (void)e;
    if (!same_find(&l->walk, &conf, &own))
        return look_stop(t, l, &own);
    return look_said(t, l, &own);
}

static struct task rules[] = {
    {.title = "Large files", .run = look_large},
    {.title = "Binary files", .run = look_binary},
    {.title = "Long lines", .run = look_long_lines},
    {.title = "Trailing blanks", .run = look_trailing},
    {.title = "Marks of unfinished work", .run = look_markers},
    {.title = "Ends of lines", .run = look_line_ends},
    {.title = "Duplicate files", .run = look_same},
};

static struct task stages[] = {
    {.title = "Walk the tree", .run = look_walk, .is_needed = true},
    {.title = "Read the files", .run = look_read},
    {.title = "Rules",
     .tasks = rules,
     .count = sizeof(rules) / sizeof(*rules),
     .at_once = LOOK_AT_ONCE},
};

struct task *look_tasks(size_t *count)
{
    *count = sizeof(stages) / sizeof(*stages);
    return stages;
}
