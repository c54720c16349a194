#include "tests/lib/tree.h"

#include "base/mem.h"
#include "base/own.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

void tree_put_bytes(const char *dir, const char *path, const void *bytes,
                    size_t len)
{
    own_mem char *full = mem_printf("%s/%s", dir, path);
    FILE *f;

    for (char *p = full + strlen(dir) + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        assert_true(mkdir(full, 0755) == 0 || errno == EEXIST);
        *p = '/';
    }
    f = fopen(full, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

void tree_put(const char *dir, const char *path, const char *text)
{
    tree_put_bytes(dir, path, text, strlen(text));
}

char *tree_get(const char *path, size_t *len)
{
    FILE *f = fopen(path, "re");
    struct stat st;
    char *out;

    if (!f)
        fail_msg("%s: %s", path, strerror(errno));
    assert_int_equal(fstat(fileno(f), &st), 0);
    out = mem_zero((size_t)st.st_size + 1, 1);
    *len = fread(out, 1, (size_t)st.st_size, f);
    assert_int_equal(*len, st.st_size);
    fclose(f);
    return out;
}
