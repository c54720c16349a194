#include "sample-cli/same.h"

#include "base/buf.h"
#include "base/mem.h"
#include "sample-cli/source.h"
#include "sample-cli/text.h"

#include <stdlib.h>
#include <string.h>

#define SAME_NAME_MAX (4 * (WALK_PATH_MAX + 1)) /* escaped */

struct same_file {
    const struct walk_file *file;
    uint64_t sum;
};

/* FNV-1a: tells which contents are worth comparing, nothing more. */
static uint64_t same_sum(const char *bytes, size_t len)
{
    uint64_t sum = 0xcbf29ce484222325;

    for (size_t i = 0; i < len; i++)
        sum = (sum ^ (uint8_t)bytes[i]) * 0x100000001b3;
    return sum;
}

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
static bool same_content(const struct walk *w, const struct same_conf *conf,
                         const char *path, const char *other)
{
    struct source a = {0}, b = {0};
    struct err e = {0};
    bool is_same =
        source_read(w->root_fd, path, conf->bytes_max, &a, &e) == 0 &&
        source_read(w->root_fd, other, conf->bytes_max, &b, &e) == 0 &&
        a.len == b.len && memcmp(a.bytes, b.bytes, a.len) == 0;

    source_fini(&a);
    source_fini(&b);
    return is_same;
}

/* Files of one sum and size, by path: each is compared with those before it
 * that are not the same as another themselves. */
static void same_compare(const struct walk *w, const struct same_conf *conf,
                         struct same_file *files, size_t count,
                         struct findings *f)
{
    size_t firsts = 1; /* moved to the front */

    for (size_t i = 1; i < count; i++) {
        const struct walk_file *file = files[i].file;
        size_t j = 0;

        while (j < firsts &&
               !same_content(w, conf, files[j].file->path, file->path))
            j++;
        if (j == firsts)
            files[firsts++] = files[i];
        else if (files[j].file->dev != file->dev ||
                 files[j].file->ino != file->ino)
            same_tell(&files[j], &files[i], conf->is_utf8, f);
    }
}

/* Files of one size: sum up those that can be read, compare equal sums. */
static bool same_group(const struct walk *w, const struct same_conf *conf,
                       struct same_file *files, size_t count,
                       struct findings *f)
{
    size_t read = 0, end;

    for (size_t i = 0; i < count; i++) {
        struct source s = {0};
        struct err e = {0};

        if (conf->goes_on && !conf->goes_on(conf->arg))
            return false;
        if (source_read(w->root_fd, files[i].file->path, conf->bytes_max, &s,
                        &e) < 0)
            continue;
        files[read].file = files[i].file;
        files[read++].sum = same_sum(s.bytes, s.len);
        source_fini(&s);
    }
    qsort(files, read, sizeof(*files), same_by_sum);
    for (size_t i = 0; i < read; i = end) {
        end = i + 1;
        while (end < read && files[end].sum == files[i].sum)
            end++;
        same_compare(w, conf, files + i, end - i, f);
    }
    return true;
}

bool same_find(const struct walk *w, const struct same_conf *conf,
               struct findings *f)
{
    struct same_file *files = mem_zero(w->count + 1, sizeof(*files));
    size_t count = 0, end;
    bool goes_on = true;

    for (size_t i = 0; i < w->count; i++)
        if (w->files[i].bytes > 0 && w->files[i].bytes <= conf->bytes_max)
            files[count++].file = &w->files[i];
    qsort(files, count, sizeof(*files), same_by_size);
    for (size_t i = 0; i < count && goes_on; i = end) {
        end = i + 1;
        while (end < count && files[end].file->bytes == files[i].file->bytes)
            end++;
        if (end - i > 1)
            goes_on = same_group(w, conf, files + i, end - i, f);
    }
    free(files);
    return goes_on;
}
