#include "tests/lib/seed.h"

#include "base/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

void seed_random(void)
{
    const char *given = getenv("PODTERM_TEST_SEED");
    unsigned seed =
        given ? (unsigned)atoi(given) : (unsigned)loop_now_ms() % 100000;

    print_message("seed: PODTERM_TEST_SEED=%u\n", seed);
    srand(seed);
}
