#include "sample-cli/report.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/json_scan.h"
#include "base/own.h"
#include "sample-cli/text.h"

#include <string.h>

#define REPORT_NAME_MAX (10 * (WALK_PATH_MAX + 1)) /* escaped */

static void report_name(FILE *out, const char *name, bool is_utf8)
{
    struct buf b;

    buf_init(&b, REPORT_NAME_MAX);
    (void)text_escape(&b, name, strlen(name), is_utf8);
    fputs(buf_cstr(&b), out);
    buf_fini(&b);
}

static void report_paint(FILE *out, const struct report_style *style,
                         const char *color)
{
    if (style->has_color)
        fputs(color, out);
}

void report_head(FILE *out, const char *root, const struct report_style *style)
{
    fputs("sample-cli " PODTERM_VERSION " looks over ", out);
    report_name(out, root, style->is_utf8);
    fputs("\n\n", out);
}

static void report_languages(FILE *out, const struct look *l)
{
    char files[TEXT_NUMBER_MAX], lines[TEXT_NUMBER_MAX];
    char size[TEXT_NUMBER_MAX];

    fputc('\n', out);
    for (int i = 0; i < LANG_COUNT; i++) {
        const struct look_lang *g = &l->langs[i];

        if (!g->files)
            continue;
        fprintf(out, "%-12s %8s file%s %10s line%s %12s\n", lang_name(i),
                text_number(g->files, files), g->files == 1 ? " " : "s",
                text_number(g->lines, lines), g->lines == 1 ? " " : "s",
                text_size(g->bytes, size));
    }
}

static void report_finding(FILE *out, const struct finding *f,
                           const struct report_style *style)
{
    report_paint(out, style, "\033[1m");
    report_name(out, f->path[0] ? f->path : ".", style->is_utf8);
    if (f->line)
        fprintf(out, ":%ld", f->line);
    report_paint(out, style, "\033[0m");
    fprintf(out, ": %s\n", f->text);
}

static void report_sum(FILE *out, const struct look *l,
                       const struct report_style *style)
{
    long total = findings_total(&l->findings);
    char text[TEXT_NUMBER_MAX];

    if ((size_t)total > l->findings.count)
        fprintf(out, "(%s more that are counted and not listed)\n",
                text_number(total - (long)l->findings.count, text));
    fputc('\n', out);
    report_paint(out, style, total ? "\033[33m" : "\033[32m");
    if (total)
        fprintf(out, "%s finding%s", text_number(total, text),
                total == 1 ? "" : "s");
    else
        fputs("nothing found", out);
    report_paint(out, style, "\033[0m");
    fprintf(out, " in %s file%s\n", text_number((int64_t)l->walk.count, text),
            l->walk.count == 1 ? "" : "s");
}

void report_text(FILE *out, struct look *l, const struct report_style *style)
{
    findings_sort(&l->findings);
    if (l->read)
        report_languages(out, l);
    if (l->findings.count)
        fputc('\n', out);
    for (size_t i = 0; i < l->findings.count; i++)
        report_finding(out, &l->findings.items[i], style);
    report_sum(out, l, style);
}

static bool report_has_review(const struct review *r)
{
    return r->reply.text.len && r->way != REVIEW_BY_NONE;
}

static void report_names(FILE *out, const struct report_style *style,
                         char *const *names, size_t listed, size_t count)
{
    for (size_t i = 0; i < listed; i++) {
        fputs("  ", out);
        report_name(out, names[i], style->is_utf8);
        fputc('\n', out);
    }
    if (listed < count)
        fprintf(out, "  (%zu more that are not listed)\n", count - listed);
}

static size_t report_kept(const struct brief *b)
{
    return b->secret < BRIEF_KEPT_MAX ? b->secret : BRIEF_KEPT_MAX;
}

static void report_sent(FILE *out, struct review *r,
                        const struct report_style *style)
{
    const struct brief *b = &r->brief;
    char size[TEXT_NUMBER_MAX];

    report_paint(out, style, "\033[1m");
    fprintf(out, "\nWhat a reviewer is sent: %s",
            text_size((int64_t)b->text.len, size));
    report_paint(out, style, "\033[0m");
    fprintf(out, "%s\n", b->files ? ", with parts of" : "");
    report_names(out, style, b->sent, b->files, b->files);
    if (b->secret)
        fputs("Kept back, as they may hold secrets:\n", out);
    report_names(out, style, b->kept, report_kept(b), b->secret);
}

/* Text that is not ours, line by line. */
static void report_lines(FILE *out, const struct buf *lines,
                         const struct report_style *style)
{
    struct buf text;

    buf_init(&text, 10 * lines->len + 1);
    (void)text_escape_lines(&text, lines->data, lines->len, style->is_utf8);
    fputs(buf_cstr(&text), out);
    buf_fini(&text);
}

void report_review(FILE *out, struct review *r,
                   const struct report_style *style)
{
    if (r->brief.text.len)
        report_sent(out, r, style);
    if (r->brief.text.len && r->conf.is_shown) {
        fputc('\n', out);
        report_lines(out, &r->brief.text, style);
    }
    if (!report_has_review(r))
        return;
    report_paint(out, style, "\033[1m");
    fprintf(out, "\nReview by %s", review_by(r->way));
    report_paint(out, style, "\033[0m");
    fputs("\n\n", out);
    report_lines(out, &r->reply.text, style);
    if (r->is_broken)
        fputs("\n(it broke off here)", out);
    else if (r->note)
        fprintf(out, "\n(%s)", r->note);
    fputc('\n', out);
}

/* --- JSON --- */

static bool report_is_utf8(const char *name)
{
    size_t len = strlen(name), n;

    for (size_t i = 0; i < len; i += n) {
        n = utf8_step((const uint8_t *)name + i, len - i);
        if (!n)
            return false;
    }
    return true;
}

/* A name of the file system's. escaped is the key for how the text has it,
 * where JSON cannot hold it as it is. */
static void report_json_name(struct json *to, const char *key,
                             const char *escaped, const char *name)
{
    struct buf b;

    json_set_str(to, key, name);
    if (report_is_utf8(name))
        return;
    buf_init(&b, REPORT_NAME_MAX);
    (void)text_escape(&b, name, strlen(name), true);
    json_set_str(to, escaped, buf_cstr(&b));
    buf_fini(&b);
}

static void report_json_languages(struct json *to, const struct look *l)
{
    struct json *list = json_set(to, "languages", json_array());

    for (int i = 0; i < LANG_COUNT; i++) {
        struct json *one;

        if (!l->langs[i].files)
            continue;
        one = json_set(list, NULL, json_object());
        json_set_str(one, "name", lang_name(i));
        json_set_int(one, "files", l->langs[i].files);
        json_set_int(one, "lines", l->langs[i].lines);
        json_set_int(one, "bytes", l->langs[i].bytes);
    }
}

static void report_json_findings(struct json *to, const struct look *l)
{
    struct json *list = json_set(to, "findings", json_array());
    struct json *counts = json_set(to, "counts", json_object());

    for (size_t i = 0; i < l->findings.count; i++) {
        const struct finding *f = &l->findings.items[i];
        struct json *one = json_set(list, NULL, json_object());

        json_set_str(one, "rule", rule_word(f->rule));
        report_json_name(one, "path", "path_escaped",
                         f->path[0] ? f->path : ".");
        if (f->line)
            json_set_int(one, "line", f->line);
        json_set_str(one, "text", f->text);
    }
    for (int i = 0; i < RULE_COUNT; i++)
        json_set_int(counts, rule_word(i), l->findings.found[i]);
    json_set_int(to, "total", findings_total(&l->findings));
}

static const char *report_state(enum task_state state)
{
    switch (state) {
    case TASK_DONE:
        return "done";
    case TASK_SKIPPED:
        return "skipped";
    default: /* what was stopped is not told at all */
        return "failed";
    }
}

static void report_json_names(struct json *to, const char *name,
                              char *const *names, size_t count)
{
    struct json *list = json_set(to, name, json_array());

    for (size_t i = 0; i < count; i++)
        json_set_str(list, NULL, names[i]);
}

static void report_json_sent(struct json *to, const struct review *r)
{
    struct json *j = json_set(to, "sent", json_object());
    const struct brief *b = &r->brief;

    json_set_int(j, "bytes", (int64_t)b->text.len);
    json_set_int(j, "findings", (int64_t)b->findings);
    report_json_names(j, "parts_of", b->sent, b->files);
    report_json_names(j, "kept_back", b->kept, report_kept(b));
    json_set_int(j, "kept_back_total", (int64_t)b->secret);
    if (r->conf.is_shown)
        json_set_strn(j, "text", (const char *)b->text.data, b->text.len);
}

static const char *report_by(enum review_way way)
{
    return way == REVIEW_BY_API ? "messages-api" : "claude-command";
}

/* Each way and what became of it: the reason is there, not in the sum. */
static void report_json_tried(struct json *to, const struct review *r)
{
    static const enum review_way ways[] = {REVIEW_BY_COMMAND, REVIEW_BY_API};
    struct json *list = json_set(to, "tried", json_array());

    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        const struct task *t = review_try(r, ways[i]);
        struct json *one = json_set(list, NULL, json_object());

        json_set_str(one, "by", report_by(ways[i]));
        json_set_str(one, "state", report_state(t->state));
        json_set_str(one, "detail", t->detail);
        json_set_int(one, "tries", t->tries);
    }
}

static void report_json_review(struct json *to, struct review *r,
                               const struct task *stage)
{
    struct json *j = json_set(to, "review", json_object());

    json_set_str(j, "state", report_state(stage->state));
    json_set_str(j, "detail", stage->detail);
    report_json_tried(j, r);
    if (r->brief.text.len)
        report_json_sent(j, r);
    if (!report_has_review(r))
        return;
    json_set_str(j, "by", report_by(r->way));
    if (review_model(r))
        json_set_str(j, "model", review_model(r));
    json_set_strn(j, "text", (const char *)r->reply.text.data,
                  r->reply.text.len);
    json_set_bool(j, "is_whole", !r->is_broken);
    if (r->note)
        json_set_str(j, "note", r->note);
}

void report_json(FILE *out, struct look *l, struct review *r,
                 const struct task *stage)
{
    own_json struct json *j = json_object();
    own_mem char *text = NULL;

    findings_sort(&l->findings);
    report_json_name(j, "root", "root_escaped", l->conf.root);
    json_set_int(j, "files", (int64_t)l->walk.count);
    json_set_int(j, "directories", l->walk.dirs + 1);
    json_set_int(j, "symlinks", l->walk.links);
    json_set_int(j, "special_files", l->walk.others);
    json_set_int(j, "bytes", l->walk.bytes);
    json_set_bool(j, "is_complete", l->findings.found[RULE_NOT_LOOKED_AT] == 0);
    report_json_languages(j, l);
    report_json_findings(j, l);
    if (stage)
        report_json_review(j, r, stage);
    text = json_text(j);
    fprintf(out, "%s\n", text);
}
