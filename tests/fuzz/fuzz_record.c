/*
 * The annotation of a Job: as it stands, and as a body that our keys signed,
 * so that what is behind the MAC is reached as well.
 */
#include "base/digest.h"
#include "base/mem.h"
#include "base/seal.h"
#include "controller/record.h"

#include <stdlib.h>
#include <string.h>

#define SID "aaaaaaaaaaaaaaaaaaaaaaaaaa"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_one(const char *text, const struct keys *keys)
{
    static struct store_session row;
    struct err e = {0};

    record_is_anothers(text, "here");
    if (record_parse(text, SID, "here", keys, &row, &e) < 0)
        return;
    if (strcmp(row.id, SID) != 0 || !row.owner_sub[0] || row.lifetime_s < 1 ||
        !id_is_valid(row.psk_id) || strlen(row.bundle_sha256) != 64)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct keys keys;
    static uint8_t key[32];
    char *body = mem_strn((const char *)data, size), *text;
    uint8_t mac[32];
    char hex[65];

    if (!key[0]) {
        seal_init();
        hkdf_sha256(keys.session_secret, 32, RECORD_INFO, key, sizeof key);
    }
    read_one(body, &keys);
    hmac_sha256(key, sizeof key, body, strlen(body), mac);
    hex_encode(mac, sizeof mac, hex);
    text = mem_printf("%s,\"mac\":\"%s\"}", body, hex);
    read_one(text, &keys);
    free(text);
    free(body);
    return 0;
}
