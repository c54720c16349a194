/*
 * Key sets. What is taken has keys, no more than the limit, and each of them
 * refuses a made-up signature.
 */
#include "base/token_keys.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char token[] = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.e30.AAAA";
    static const struct token_expect want = {
        .iss = "i", .aud = "a", .now_s = 1800000000};
    struct err e = {0};
    struct token_keys *k = token_keys_parse((const char *)data, size, &e);

    if (!k) {
        if (e.kind != ERR_INPUT || !*e.text)
            abort();
        return 0;
    }
    if (token_keys_count(k) == 0 || token_keys_count(k) > TOKEN_KEYS_MAX)
        abort();
    if (token_verify(k, token, strlen(token), &want, NULL, &e))
        abort();
    token_keys_free(k);
    return 0;
}
