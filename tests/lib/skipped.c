#include "tests/lib/skipped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

void skipped(const char *why)
{
    print_message("skipped: %s\n", why);
    skip();
}
