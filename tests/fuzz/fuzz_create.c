/* The body of a create request. */
#include "base/seal.h"
#include "controller/create.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct settings set;
    struct create c;
    struct err e = {0};

    if (!set.lifetime_max_s) {
        seal_init();
        set.lifetime_s = set.lifetime_max_s = 1000;
        set.bundle_max_bytes = 1 << 20;
        domain_list_parse("b.example", &set.bundles.domains, &e);
    }
    if (create_parse(data, size, &set, &c, &e) < 0)
        return 0;
    if (!c.url || strlen(c.sha256) != 64 || c.cols < 1 || c.rows > 1000 ||
        c.lifetime_s > set.lifetime_max_s)
        abort();
    create_fini(&c);
    return 0;
}
