#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/digest.h"
#include "base/keyfile.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char dir[64];

static int setup(void **state)
{
    (void)state;
    seal_init();
    seal_init();
    strcpy(dir, "/tmp/podterm-seal.XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    own_mem char *line = mem_printf("rm -rf %s", dir);

    (void)state;
    return system(line);
}

static void ids_are_valid_and_never_alike(void **state)
{
    char ids[200][ID_SIZE];

    (void)state;
    for (int i = 0; i < 200; i++) {
        random_id(ids[i]);
        assert_true(id_is_valid(ids[i]));
        for (int k = 0; k < i; k++)
            assert_string_not_equal(ids[i], ids[k]);
    }
}

static void every_letter_of_an_id_is_drawn(void **state)
{
    unsigned seen[ID_LEN][128] = {0};
    char id[ID_SIZE];

    (void)state;
    for (int i = 0; i < 2000; i++) {
        random_id(id);
        for (size_t k = 0; k < ID_LEN; k++)
            seen[k][(unsigned char)id[k]]++;
    }
    for (size_t k = 0; k < ID_LEN; k++) {
        size_t letters = 0;

        for (size_t c = 0; c < 128; c++)
            letters += seen[k][c] > 0;
        /* 128 bits: three are left for the last letter */
        assert_int_equal(letters, k == ID_LEN - 1 ? 8 : 32);
    }
}

static void what_is_no_id_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "abcdefghijklmnopqrstuvwxy",
        "abcdefghijklmnopqrstuvwxyza",
        "Abcdefghijklmnopqrstuvwxyz",
        "abcdefghijklmnopqrstuvwxy0",
        "abcdefghijklmnopqrstuvwxy1",
        "abcdefghijklmnopqrstuvwxy8",
        "abcdefghijklmnopqrstuvwx/.",
        "abcdefghijklmnopqrstuvwxy\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(id_is_valid(bad[i]));
    assert_false(id_is_valid(NULL));
    assert_true(id_is_valid("abcdefghijklmnopqrstuv2347"));
}

static void same_bytes_compares_and_wipe_wipes(void **state)
{
    uint8_t a[8] = "1234567", b[8] = "1234567";
    static const uint8_t zeros[8];

    (void)state;
    assert_true(same_bytes(a, b, 8));
    b[7] = 1;
    assert_false(same_bytes(a, b, 8));
    assert_true(same_bytes(a, b, 7));
    assert_true(same_bytes(a, b, 0));
    wipe(a, sizeof(a));
    assert_memory_equal(a, zeros, sizeof(a));
}

static void a_sealed_key_opens_with_its_key_and_its_session_alone(void **state)
{
    uint8_t key[SEAL_KEY_BYTES], other[SEAL_KEY_BYTES];
    uint8_t plain[SESSION_KEY_BYTES], out[SESSION_KEY_BYTES];
    uint8_t sealed[SEALED_KEY_BYTES];

    (void)state;
    random_bytes(key, sizeof(key));
    random_bytes(other, sizeof(other));
    random_bytes(plain, sizeof(plain));
    seal_bytes(key, "session-a", plain, sizeof(plain), sealed);
    assert_int_equal(seal_open(key, "session-a", sealed, sizeof(sealed), out),
                     0);
    assert_memory_equal(out, plain, sizeof(plain));
    assert_int_equal(seal_open(other, "session-a", sealed, sizeof(sealed), out),
                     -1);
    assert_int_equal(seal_open(key, "session-b", sealed, sizeof(sealed), out),
                     -1);
    assert_int_equal(seal_open(key, "", sealed, sizeof(sealed), out), -1);
}

static void every_changed_or_missing_byte_of_a_seal_is_noticed(void **state)
{
    uint8_t key[SEAL_KEY_BYTES] = {1}, out[SESSION_KEY_BYTES];
    uint8_t plain[SESSION_KEY_BYTES] = {2}, sealed[SEALED_KEY_BYTES];

    (void)state;
    seal_bytes(key, "s", plain, sizeof(plain), sealed);
    for (size_t i = 0; i < sizeof(sealed); i++) {
        sealed[i] ^= 0x80;
        assert_int_equal(seal_open(key, "s", sealed, sizeof(sealed), out), -1);
        sealed[i] ^= 0x80;
    }
    for (size_t len = 0; len < sizeof(sealed); len++)
        assert_int_equal(seal_open(key, "s", sealed, len, out), -1);
}

static void sealing_twice_gives_two_texts(void **state)
{
    uint8_t key[SEAL_KEY_BYTES] = {1}, a[SEAL_OVERHEAD], b[SEAL_OVERHEAD];
    uint8_t nothing = 0;

    (void)state;
    seal_bytes(key, "s", "", 0, a);
    seal_bytes(key, "s", "", 0, b);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_int_equal(seal_open(key, "s", a, sizeof(a), &nothing), 0);
}

static void ed25519_gives_the_example_of_rfc_8032(void **state)
{
    uint8_t key[32], sig[64], text = 0x72;

    (void)state;
    assert_int_equal(hex_decode("3d4017c3e843895a92b70aa74d1b7ebc"
                                "9c982ccf2ec4968cc0cd55f12af4660c",
                                64, key, 32),
                     0);
    assert_int_equal(hex_decode("92a009a9f0d4cab8720e820b5f642540"
                                "a2b27b5416503f8fb3762223ebdb69da"
                                "085ac1e43e15996e458f3613d0f11d8c"
                                "387b2eaeb4302aeeb00d291612bb0c00",
                                128, sig, 64),
                     0);
    assert_true(ed25519_verify(sig, &text, 1, key));
    text ^= 1;
    assert_false(ed25519_verify(sig, &text, 1, key));
    text ^= 1;
    sig[63] ^= 0x20; /* S above the group's order: not canonical */
    assert_false(ed25519_verify(sig, &text, 1, key));
    sig[63] ^= 0x20;
    assert_false(ed25519_verify(sig, &text, 0, key));
    key[0] ^= 1;
    assert_false(ed25519_verify(sig, &text, 1, key));
}

/* --- key files --- */

static char *put(const char *name, const void *bytes, size_t len, mode_t mode)
{
    char *path = mem_printf("%s/%s", dir, name);
    own_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, bytes, len) != (ssize_t)len || fchmod(fd, mode))
        abort();
    return path;
}

#define HEX "000102030405060708090a0b0c0d0e0f"

static void keys_are_read_raw_or_in_hex(void **state)
{
    static const char raw[33] = "0123456789abcdef0123456789abcdef";
    own_mem char *a = put("raw", raw, 32, 0600);
    own_mem char *b = put("hex", HEX HEX, 64, 0400);
    own_mem char *c = put("hexline", HEX HEX "\n", 65, 0600);
    uint8_t key[32];
    struct err e = {0};

    (void)state;
    assert_int_equal(seal_key_load(a, key, &e), 0);
    assert_memory_equal(key, raw, 32);
    assert_int_equal(seal_key_load(b, key, &e), 0);
    assert_int_equal(key[31], 15);
    assert_int_equal(seal_key_load(c, key, &e), 0);
    assert_int_equal(key[15], 15);
}

static void a_link_to_a_key_is_followed(void **state)
{
    own_mem char *path = put("target", HEX HEX, 64, 0600);
    own_mem char *to = mem_printf("%s/link", dir);
    uint8_t key[32];
    struct err e = {0};

    (void)state;
    assert_int_equal(symlink(path, to), 0);
    assert_int_equal(seal_key_load(to, key, &e), 0);
}

static void a_key_file_that_breaks_a_rule_is_refused(void **state)
{
    static const struct {
        const char *bytes;
        mode_t mode;
        const char *rule;
    } rows[] = {
        {HEX HEX, 0644, "chmod 600"},
        {HEX HEX, 0620, "chmod 600"},
        {HEX HEX, 0601, "chmod 600"},
        {HEX HEX, 0440, "chmod 600"},
        {"", 0600, "has 0 bytes"},
        {HEX, 0600, NULL},
        {HEX "x", 0600, "has 33 bytes"},
        {HEX HEX "x", 0600, "has 65 bytes"},
        {HEX HEX "\n\n", 0600, "at most 65"},
        {HEX "zz02030405060708090a0b0c0d0e0f00", 0600, "not 64 hex"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        own_mem char *path =
            put("key", rows[i].bytes, strlen(rows[i].bytes), rows[i].mode);
        uint8_t key[32] = {7};
        struct err e = {0};
        int r = seal_key_load(path, key, &e);

        assert_int_equal(r, rows[i].rule ? -1 : 0);
        if (!rows[i].rule)
            continue;
        if (!strstr(e.text, rows[i].rule) || !strstr(e.text, path))
            fail_msg("row %zu: %s", i, e.text);
        assert_int_equal(e.kind, ERR_INPUT);
        assert_null(strstr(e.text, HEX));
        assert_int_equal(key[0], 7);
        unlink(path);
    }
}

static void what_is_no_file_is_no_key(void **state)
{
    own_mem char *fifo = mem_printf("%s/fifo", dir);
    own_mem char *none = mem_printf("%s/none", dir);
    uint8_t key[32];
    struct err e = {0};

    (void)state;
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(seal_key_load(fifo, key, &e), -1);
    assert_non_null(strstr(e.text, "regular"));
    assert_int_equal(seal_key_load(dir, key, &e), -1);
    assert_non_null(strstr(e.text, "regular"));
    assert_int_equal(seal_key_load(none, key, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    assert_non_null(strstr(e.text, "not there"));
}

static void another_users_key_is_refused(void **state)
{
    own_mem char *path = put("foreign", HEX HEX, 64, 0600);
    uint8_t key[32];
    struct err e = {0};

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(path, 12345, 12345), 0);
    assert_int_equal(seal_key_load(path, key, &e), -1);
    assert_non_null(strstr(e.text, "uid 12345"));
}

static void a_missing_key_is_made_once_and_kept(void **state)
{
    own_mem char *path = mem_printf("%s/made", dir);
    own_mem char *ls = mem_printf("test $(ls -A %s | grep -c made) = 1", dir);
    uint8_t first[32] = {0}, again[32] = {1};
    struct err e = {0};
    struct stat st;

    (void)state;
    assert_int_equal(seal_key_load_or_make(path, first, &e), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 32);
    assert_int_equal(seal_key_load_or_make(path, again, &e), 0);
    assert_memory_equal(first, again, 32);
    assert_int_equal(system(ls), 0); /* nothing left beside it */
}

static void a_broken_key_is_not_made_anew(void **state)
{
    own_mem char *path = put("broken", "half", 4, 0600);
    own_mem char *nowhere = mem_printf("%s/no/such/key", dir);
    uint8_t key[32];
    struct err e = {0};

    (void)state;
    assert_int_equal(seal_key_load_or_make(path, key, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    assert_int_equal(seal_key_load_or_make(nowhere, key, &e), -1);
    assert_int_equal(e.kind, ERR_SYSTEM);
}

static void a_key_file_is_never_overwritten(void **state)
{
    own_mem char *path = put("taken", HEX HEX, 64, 0600);
    struct err e = {0};
    struct buf b;

    (void)state;
    assert_int_equal(keyfile_make(path, "new", 3, &e), -1);
    assert_int_equal(e.kind, ERR_CONFLICT);
    buf_init(&b, 100);
    assert_int_equal(keyfile_read(path, &b, &e), 0);
    assert_string_equal(buf_cstr(&b), HEX HEX);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_valid_and_never_alike),
        cmocka_unit_test(every_letter_of_an_id_is_drawn),
        cmocka_unit_test(what_is_no_id_is_refused),
        cmocka_unit_test(same_bytes_compares_and_wipe_wipes),
        cmocka_unit_test(a_sealed_key_opens_with_its_key_and_its_session_alone),
        cmocka_unit_test(every_changed_or_missing_byte_of_a_seal_is_noticed),
        cmocka_unit_test(sealing_twice_gives_two_texts),
        cmocka_unit_test(ed25519_gives_the_example_of_rfc_8032),
        cmocka_unit_test(keys_are_read_raw_or_in_hex),
        cmocka_unit_test(a_link_to_a_key_is_followed),
        cmocka_unit_test(a_key_file_that_breaks_a_rule_is_refused),
        cmocka_unit_test(what_is_no_file_is_no_key),
        cmocka_unit_test(another_users_key_is_refused),
        cmocka_unit_test(a_missing_key_is_made_once_and_kept),
        cmocka_unit_test(a_broken_key_is_not_made_anew),
        cmocka_unit_test(a_key_file_is_never_overwritten),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
