#include "tests/lib/inmemory.h"

#include "base/mem.h"
#include "base/own.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PIECE (1 << 20) /* bytes looked at at once */

static int count_in(const uint8_t *bytes, size_t len, const void *what,
                    size_t what_len)
{
    const uint8_t *at = bytes, *end = bytes + len;
    int n = 0;

    while ((at = memmem(at, (size_t)(end - at), what, what_len))) {
        n++;
        at++;
    }
    return n;
}

/* Pieces overlap, so that none is cut. */
int inmemory_count(pid_t pid, const void *what, size_t len)
{
    own_mem char *maps_path = mem_printf("/proc/%d/maps", (int)pid);
    own_mem char *mem_path = mem_printf("/proc/%d/mem", (int)pid);
    own_mem uint8_t *piece = mem_zero(PIECE, 1);
    own_fd int mem = open(mem_path, O_RDONLY | O_CLOEXEC);
    FILE *maps = fopen(maps_path, "re");
    const size_t step = PIECE - len + 1;
    unsigned long long from, to;
    char line[512], mode[8];
    int n = 0;

    assert_true(mem >= 0 && maps);
    while (fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%llx-%llx %7s", &from, &to, mode) != 3 ||
            mode[0] != 'r' || mode[1] != 'w')
            continue;
        for (; from < to; from += step) {
            size_t part = to - from < PIECE ? (size_t)(to - from) : PIECE;
            ssize_t got = pread(mem, piece, part, (off_t)from);

            if (got > 0)
                n += count_in(piece, (size_t)got, what, len);
        }
    }
    fclose(maps);
    return n;
}
