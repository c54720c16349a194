#include "tests/lib/tlskit.h"

#include "tests/lib/certs.h"
#include "tests/lib/programs.h"

#include <stdio.h>
#include <string.h>

const uint8_t kit_key[32] = {[0 ... 31] = 7};
const uint8_t kit_other_key[32] = {[0 ... 31] = 8};
char *kit_dir;

int kit_find(void *arg, const uint8_t *id, size_t len, uint8_t key[32],
             uint64_t *tag)
{
    (void)arg;
    if (len != strlen(KIT_ID) || memcmp(id, KIT_ID, len) != 0)
        return -1;
    memcpy(key, kit_key, 32);
    *tag = KIT_TAG;
    return 0;
}

int kit_setup(void **state)
{
    (void)state;
    kit_dir = scratch_new();
    certs_make(kit_dir, "srv",
               "DNS:localhost,DNS:*.wild.test,IP:127.0.0.1,IP:::1");
    certs_make(kit_dir, "new", "DNS:localhost");
    return 0;
}

int kit_teardown(void **state)
{
    (void)state;
    scratch_remove(kit_dir);
    return 0;
}

const char *kit_path(const char *name)
{
    static char out[4][256];
    static unsigned next;

    next = (next + 1) % 4;
    snprintf(out[next], sizeof(out[next]), "%s/%s", kit_dir, name);
    return out[next];
}
