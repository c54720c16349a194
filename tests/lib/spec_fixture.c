#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/lib/spec_fixture.h"

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/forge.h"
#include "tests/lib/token_fixture.h"

#include <string.h>

/* %s: the key set */
static const char fixture[] =
    "{\"v\":1,\"sid\":\"" SID "\",\"created_ms\":1800000000000,"
    "\"psk_id\":\"zyxwvutsrqponmlkjihgfedcba\","
    "\"owner\":{\"iss\":\"https://id.test\",\"sub\":\"alice\"},"
    "\"viewers\":[\"" SPEC_VIEWER "\"],\"viewer_history\":true,"
    "\"bundle\":{\"url\":\"https://example.com/b.tar.gz?sig=s3cret\","
    "\"sha256\":\"" BND "\"},"
    "\"env\":{\"API_KEY\":\"" SPEC_SECRET "\"},\"cols\":80,\"rows\":24,"
    "\"lifetime_s\":14400,\"idle_s\":1800,\"linger_s\":5,"
    "\"linger_detached_s\":120,\"hold_s\":300,\"attach_max_s\":3600,"
    "\"ring_bytes\":1048576,\"window_bytes\":262144,"
    "\"input_window_bytes\":65536,"
    "\"token\":{\"iss\":\"" ISS "\",\"aud\":\"" AUD "\",\"skew_s\":30,"
    "\"jwks\":%s},"
    "\"fetch\":{\"domains\":\"example.com\",\"allow_http\":false,"
    "\"allow_loopback\":false,\"file_root\":\"\",\"deny_cidrs\":\"\","
    "\"max_bytes\":1048576,\"max_s\":60,\"min_bytes_s\":0,"
    "\"max_redirects\":5,\"public_cache_hosts\":\"\",\"signing_keys\":[]},"
    "\"unpack\":{\"max_entries\":100,\"max_bytes\":1048576,"
    "\"max_ratio\":100,\"max_depth\":16,\"max_name\":255},"
    "\"sandbox\":{\"v\":2,\"isolation\":\"full\",\"cage\":\"strict\","
    "\"limits\":{\"nproc\":64,"
    "\"nofile\":256,\"data_bytes\":0,\"fsize_bytes\":0,\"cpu_s\":0}},"
    "\"network\":{\"v\":2,\"shared\":false,\"egress\":\"none\"}}";

struct json *spec_fixture(void)
{
    own_mem char *jwks = forge_jwks(signer, standby);
    own_mem char *text = mem_printf(fixture, jwks);
    struct err e = {0};
    struct json *j = json_parse(text, strlen(text), &e);

    if (!j)
        fail_msg("%s", e.text);
    return j;
}

static struct json *bent(const struct json *from, const char *path,
                         const char *text)
{
    size_t len = strcspn(path, ".");
    struct json *out = json_object();
    bool is_here = path[len] == 0;

    for (size_t i = 0; i < json_count(from); i++) {
        const struct json *m = json_at(from, i);
        const char *name = json_name(m);

        if (strlen(name) != len || memcmp(name, path, len) != 0)
            json_set(out, name, json_dup(m));
        else if (!is_here)
            json_set(out, name, bent(m, path + len + 1, text));
    }
    if (is_here && text) {
        struct err e = {0};
        struct json *value = json_parse(text, strlen(text), &e);

        if (!value)
            fail_msg("%s: %s", text, e.text);
        json_set(out, path, value);
    }
    return out;
}

struct json *spec_bend(struct json *spec, const char *path, const char *text)
{
    struct json *out = bent(spec, path, text);

    json_free(spec);
    return out;
}
