/*
 * Signature files and public keys. What the operator's key accepts, the same
 * id with another key must refuse.
 */
#include "base/digest.h"
#include "base/mem.h"
#include "base/minisign.h"
#include "base/own.h"
#include "base/seal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* of the corpus' signatures over "the bundle" */
static const char public_key[] =
    "RWRX5rdyBAKsz5auDTY9QNFkpZ361CSUbtuPcLKrlE3gfdu4euL82XcU";

static struct minisign_key key;
static uint8_t hash[BLAKE2B_BYTES];

static void prepare(void)
{
    struct digest *d = digest_new(DIGEST_BLAKE2B_512);
    struct err e = {0};

    seal_init();
    digest_add(d, "the bundle", 10);
    digest_end(d, hash);
    digest_free(d);
    if (minisign_key_parse(public_key, &key, &e) < 0)
        abort();
}

static void check_signature(const uint8_t *data, size_t size)
{
    struct minisign_key wrong = key;
    struct err e = {0};

    wrong.key[31] ^= 1;
    if (minisign_verify((const char *)data, size, hash, &key, 1, &e) < 0) {
        if (e.kind != ERR_INPUT && e.kind != ERR_DENIED)
            abort();
        return;
    }
    if (minisign_verify((const char *)data, size, hash, &wrong, 1, &e) == 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    own_mem char *text = mem_strn((const char *)data, size);
    struct minisign_key parsed;
    struct err e = {0};

    if (key.id[0] == 0)
        prepare();
    check_signature(data, size);
    minisign_key_parse(text, &parsed, &e);
    return 0;
}
