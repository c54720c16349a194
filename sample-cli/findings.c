#include "sample-cli/findings.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void findings_fini(struct findings *f)
{
    for (size_t i = 0; i < f->count; i++) {
        free(f->items[i].path);
        free(f->items[i].text);
    }
    free(f->items);
    *f = (struct findings){0};
}

void findings_add(struct findings *f, enum rule rule, const char *path,
                  long line, const char *fmt, ...)
{
    char text[FINDING_TEXT_MAX];
    va_list ap;

    if (f->found[rule]++ >= FINDINGS_KEPT_MAX)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    /* the array doubles at each power of two */
    if ((f->count & (f->count - 1)) == 0)
        f->items = mem_resize(f->items, f->count ? f->count * 2 : 1,
                              sizeof(*f->items));
    f->items[f->count++] = (struct finding){.rule = rule,
                                            .path = mem_str(path),
                                            .line = line,
                                            .text = mem_str(text)};
}

void findings_move(struct findings *to, struct findings *from)
{
    long kept[RULE_COUNT] = {0};

    for (size_t i = 0; i < from->count; i++) {
        const struct finding *f = &from->items[i];

        findings_add(to, f->rule, f->path, f->line, "%s", f->text);
        kept[f->rule]++;
    }
    for (int i = 0; i < RULE_COUNT; i++)
        to->found[i] += from->found[i] - kept[i];
    findings_fini(from);
}

long findings_total(const struct findings *f)
{
    long sum = 0;

    for (int i = 0; i < RULE_COUNT; i++)
        sum += f->found[i];
    return sum;
}

static int findings_order(const void *a, const void *b)
{
    const struct finding *x = a, *y = b;
    int by_path = strcmp(x->path, y->path);

    if (by_path)
        return by_path;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    if (x->rule != y->rule)
        return (int)x->rule - (int)y->rule;
    return strcmp(x->text, y->text);
}

void findings_sort(struct findings *f)
{
    if (f->count)
        qsort(f->items, f->count, sizeof(*f->items), findings_order);
}

const char *rule_word(enum rule rule)
{
    static const char *const words[RULE_COUNT] = {
#define X(id, word) word,
        RULES(X)
#undef X
    };

    return words[rule];
}
