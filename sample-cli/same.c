#include "sample-cli/same.h"

#include "base/buf.h"
#include "base/mem.h"
#include "sample-cli/siphash.h"
#include "sample-cli/source.h"
#include "sample-cli/text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SAME_NAME_MAX (4 * (WALK_PATH_MAX + 1)) /* escaped */

struct same_file {
    const struct walk_file *file;
    uint64_t sum;
};

/* A look for them. */
struct same {
    const struct walk *walk;
    const struct same_conf *conf;
    struct findings *findings;
    uint8_t key[SIPHASH_KEY_BYTES];
};

static int same_by_size(const void *a, const void *b)
{
    const struct same_file *x = a, *y = b;

    if (x->file->bytes != y->file->bytes)
        return x->file->bytes < y->file->bytes ? -1 : 1;
    return strcmp(x->file->path, y->file->path);
}

static int same_by_sum(const void *a, const void *b)
{
    const struct same_file *x = a, *y = b;

    if (x->sum != y->sum)
        return x->sum < y->sum ? -1 : 1;
    return strcmp(x->file->path, y->file->path);
}

static void same_tell(const struct same_file *first,
                      const struct same_file *second, bool is_utf8,
                      struct findings *f)
{
    struct buf whole, name;

    buf_init(&whole, SAME_NAME_MAX);
    buf_init(&name, SAME_NAME_MAX);
    (void)text_escape(&whole, first->file->path, strlen(first->file->path),
                      is_utf8);
    (void)text_clip(&name, buf_cstr(&whole), SAME_QUOTE_COLS, is_utf8);
    findings_add(f, RULE_DUPLICATE, second->file->path, 0,
                 "it has the same content as %s", buf_cstr(&name));
    buf_fini(&whole);
    buf_fini(&name);
}

/* Byte for byte. A file that is gone by now is the same as none. */
static bool same_content(const struct same *look, const char *path,
                         const char *other)
{
    const int root_fd = look->walk->root_fd;
    const int64_t max = look->conf->bytes_max;
    struct source a = {0}, b = {0};
    struct err e = {0};
    bool is_same = source_read(root_fd, path, max, &a, &e) == 0 &&
                   source_read(root_fd, other, max, &b, &e) == 0 &&
                   a.len == b.len && memcmp(a.bytes, b.bytes, a.len) == 0;

    source_fini(&a);
    source_fini(&b);
    return is_same;
}

static bool same_goes_on(const struct same *look)
{
    return !look->conf->goes_on || look->conf->goes_on(look->conf->arg);
}

/* Files of one sum and size, by path: each is compared with the first of those
 * before it that are not the same as another themselves. */
static bool same_compare(const struct same *look, struct same_file *files,
                         size_t count)
{
    size_t firsts = 1; /* moved to the front */

    for (size_t i = 1; i < count; i++) {
        const struct walk_file *file = files[i].file;
        size_t j = 0;

        for (; j < firsts; j++) {
            if (!same_goes_on(look))
                return false;
            if (same_content(look, files[j].file->path, file->path))
                break;
        }
        if (j == firsts && firsts < SAME_FIRSTS_MAX)
            files[firsts++] = files[i];
        else if (j < firsts && (files[j].file->dev != file->dev ||
                                files[j].file->ino != file->ino))
            same_tell(&files[j], &files[i], look->conf->is_utf8,
                      look->findings);
    }
    return true;
}

/* Files of one size: sum up those that can be read, compare equal sums. */
static bool same_group(const struct same *look, struct same_file *files,
                       size_t count)
{
    size_t read = 0, end;

    for (size_t i = 0; i < count; i++) {
        struct source s = {0};
        struct err e = {0};

        if (!same_goes_on(look))
            return false;
        if (source_read(look->walk->root_fd, files[i].file->path,
                        look->conf->bytes_max, &s, &e) < 0)
            continue;
        files[read].file = files[i].file;
        files[read++].sum = siphash(look->key, s.bytes, s.len);
        source_fini(&s);
    }
    qsort(files, read, sizeof(*files), same_by_sum);
    for (size_t i = 0; i < read; i = end) {
        end = i + 1;
        while (end < read && files[end].sum == files[i].sum)
            end++;
        if (!same_compare(look, files + i, end - i))
            return false;
    }
    return true;
}

bool same_find(const struct walk *w, const struct same_conf *conf,
               struct findings *f)
{
    struct same look = {.walk = w, .conf = conf, .findings = f};
    struct same_file *files = mem_zero(w->count + 1, sizeof(*files));
    size_t count = 0, end;
    bool goes_on = true;

    /* so few bytes come whole, or the kernel has none at all */
    if (getrandom(look.key, sizeof(look.key), 0) != sizeof(look.key))
        abort();
    for (size_t i = 0; i < w->count; i++)
        if (w->files[i].bytes > 0 && w->files[i].bytes <= conf->bytes_max)
            files[count++].file = &w->files[i];
    qsort(files, count, sizeof(*files), same_by_size);
    for (size_t i = 0; i < count && goes_on; i = end) {
        end = i + 1;
        while (end < count && files[end].file->bytes == files[i].file->bytes)
            end++;
        if (end - i > 1)
            goes_on = same_group(&look, files + i, end - i);
    }
    free(files);
    return goes_on;
}
