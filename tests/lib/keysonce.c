#include "tests/lib/keysonce.h"

#include "tests/lib/programs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char *dir;
static pid_t maker; /* a child of ours that ends leaves them to us */

static void forget(void)
{
    if (getpid() == maker)
        scratch_remove(dir);
}

void keysonce_load(struct keys *out)
{
    struct err e = {0};

    if (!dir) {
        dir = scratch_new();
        maker = getpid();
        atexit(forget);
    }
    if (keys_load(out, dir, &e) < 0)
        fail_msg("%s", e.text);
}
