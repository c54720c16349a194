/*
 * What a browser asks the page for, three lines: Accept-Encoding,
 * If-None-Match, path. A copy that is sent is there and was not refused; what
 * is said twice is the same; what is refused behind it is not sent any more;
 * a tag that is put before others is found; and of paths the three of the
 * page's files alone are known, by any number of bytes.
 */
#include "controller/negotiate.h"
#include "controller/routes.h"
#include "controller/webdir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TAG "\"0123456789abcdef0123456789abcdef\""
#define LINE_MAX_BYTES 16384

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int64_t sizes[][CODING_COUNT] = {
    {[CODING_IDENTITY] = 1000, [CODING_GZIP] = 400, [CODING_BR] = 300},
    {[CODING_IDENTITY] = 10, [CODING_GZIP] = 30, [CODING_BR] = -1},
    {[CODING_IDENTITY] = 10, [CODING_GZIP] = -1, [CODING_BR] = -1},
};

static void put(const char *dir, const char *name, const char *text)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "w");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        abort();
}

static void forget(const char *dir, const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    unlink(path);
}

/* A page of two files, read and gone again. */
static struct webdir *page(void)
{
    static const struct webdir_limits limits = {8, 4096, 64};
    static struct webdir *w;
    char dir[] = "/tmp/podterm-fuzz-web.XXXXXX";
    struct err e = {0};

    if (w)
        return w;
    if (!mkdtemp(dir))
        abort();
    put(dir, "index.html", "page");
    put(dir, "a.js", "script");
    w = webdir_load(dir, &limits, &e);
    forget(dir, "index.html");
    forget(dir, "a.js");
    if (!w || rmdir(dir) < 0)
        abort();
    return w;
}

static char *joined(const char *a, const char *b)
{
    size_t size = strlen(a) + strlen(b) + 1;
    char *out = malloc(size);

    if (!out)
        abort();
    snprintf(out, size, "%s%s", a, b);
    return out;
}

static void check_accept(const char *accept)
{
    char *comma = joined(accept, ","), *twice = joined(comma, accept);

    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        const int got = negotiate_coding(accept, sizes[i]);
        const char *name =
            got > 0 ? negotiate_name((enum coding)got) : "identity";
        char refusal[32], *without;

        if (got < -1 || got >= CODING_COUNT || (got >= 0 && sizes[i][got] < 0))
            abort();
        if (negotiate_coding(twice, sizes[i]) != got)
            abort();
        if (got < 0)
            continue;
        snprintf(refusal, sizeof(refusal), "%s;q=0", name);
        without = joined(comma, refusal);
        if (negotiate_coding(without, sizes[i]) == got)
            abort();
        free(without);
    }
    free(comma);
    free(twice);
}

static void check_tags(const char *tags)
{
    char *with = joined(TAG ", ", tags);

    if (!negotiate_has(with, TAG))
        abort();
    if (negotiate_has(tags, TAG) && !strstr(tags, TAG) &&
        tags[strspn(tags, " \t")] != '*')
        abort();
    free(with);
}

static void check_path(const char *path)
{
    const bool is_known = strcmp(path, "/") == 0 ||
                          strcmp(path, "/index.html") == 0 ||
                          strcmp(path, "/a.js") == 0;
    char sid[ID_SIZE], allow[64];
    const struct route *route =
        routes_find("GET", path, sid, allow, sizeof(allow));

    if ((webdir_find(page(), path) != NULL) != is_known)
        abort();
    if (route && (is_known || !strchr(route->path, path[1])))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text, *tags, *path;

    if (size > LINE_MAX_BYTES)
        return 0;
    text = malloc(size + 3);
    if (!text)
        abort();
    memcpy(text, data, size);
    memcpy(text + size, "\n\n", 3);
    tags = strchr(text, '\n');
    if (!tags) /* a zero byte: no header has one */
        tags = text + strlen(text);
    else
        *tags++ = '\0';
    path = tags + strcspn(tags, "\n");
    if (*path)
        *path++ = '\0';
    path[strcspn(path, "\n")] = '\0';
    check_accept(text);
    check_tags(tags);
    check_path(path);
    free(text);
    return 0;
}
