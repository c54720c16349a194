#include "tests/lib/programs.h"

#include "base/mem.h"

#include <ftw.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

char *program_path(const char *name)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *at, *out;

    assert_true(n > 0);
    self[n] = 0;
    at = strstr(self, "/tests/");
    while (at && strstr(at + 1, "/tests/"))
        at = strstr(at + 1, "/tests/");
    assert_non_null(at);
    out = mem_printf("%.*s/bin/%s", (int)(at - self), self, name);
    if (access(out, X_OK) < 0)
        fail_msg("%s is not there: run make %s", out, out);
    return out;
}

char *scratch_new(void)
{
    const char *base = getenv("TMPDIR");
    char *dir = mem_printf("%s/podterm-test.XXXXXX", base ? base : "/tmp");

    assert_non_null(mkdtemp(dir));
    assert_return_code(chmod(dir, 0755), 0);
    return dir;
}

static int scratch_remove_one(const char *path, const struct stat *st, int kind,
                              struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

void scratch_remove(char *dir)
{
    char *command;

    if (!dir)
        return;
    nftw(dir, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (access(dir, F_OK) == 0) { /* a tree deeper than a path is long */
        command = mem_printf("rm -rf '%s'", dir);
        if (system(command) != 0)
            fprintf(stderr, "%s is left behind\n", dir);
        free(command);
    }
    free(dir);
}
