#include "sample-cli/siphash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

/* source: the paper's appendix A, and its reference implementation's vectors */
static void it_is_as_in_the_paper(void **state)
{
    static const struct {
        size_t len;
        uint64_t sum;
    } known[] = {
        {0, 0x726fdb47dd0e0e31},  {1, 0x74f839c593dc67fd},
        {8, 0x93f5f5799a932462},  {15, 0xa129ca6149be45e5},
        {63, 0x958a324ceb064572},
    };
    uint8_t key[SIPHASH_KEY_BYTES], bytes[64];

    (void)state;
    for (uint8_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = i;
    memcpy(key, bytes, sizeof(key));
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        assert_true(siphash(key, bytes, known[i].len) == known[i].sum);
}

static void each_bit_of_the_key_counts(void **state)
{
    uint8_t key[SIPHASH_KEY_BYTES] = {0};
    const uint64_t zero = siphash(key, "abc", 3);

    (void)state;
    for (size_t i = 0; i < 8 * sizeof(key); i++) {
        key[i / 8] = (uint8_t)(1U << i % 8);
        assert_true(siphash(key, "abc", 3) != zero);
        key[i / 8] = 0;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_as_in_the_paper),
        cmocka_unit_test(each_bit_of_the_key_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
