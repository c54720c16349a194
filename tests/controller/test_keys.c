/* The controller's keys: made once, kept private, published whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/own.h"
#include "controller/keys.h"
#include "tests/lib/tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char top[64];
static struct err e;

static int setup(void **state)
{
    (void)state;
    seal_init();
    memset(&e, 0, sizeof e);
    snprintf(top, sizeof top, "/tmp/podterm-keys.XXXXXX");
    return mkdtemp(top) ? 0 : -1;
}

static int teardown(void **state)
{
    char line[96];

    (void)state;
    snprintf(line, sizeof line, "rm -rf %s", top);
    return system(line);
}

static void path_of(const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", top, name);
}

static mode_t mode_of(const char *name)
{
    char path[128];
    struct stat st;

    path_of(name, path);
    return lstat(path, &st) == 0 ? st.st_mode & 07777 : 0;
}

static void keys_are_made_once_and_private(void **state)
{
    struct keys one = {0}, two = {0};

    (void)state;
    assert_int_equal(keys_load(&one, top, &e), 0);
    assert_int_equal(mode_of("keys"), 0700);
    assert_int_equal(mode_of("keys/signer.pem"), 0600);
    assert_int_equal(mode_of("keys/standby.pem"), 0600);
    assert_int_equal(mode_of("keys/session_secret"), 0600);
    assert_int_equal(mode_of("keys/seal"), 0600);
    assert_int_equal(mode_of("jwks.json"), 0644);
    assert_int_equal(keys_load(&two, top, &e), 0);
    assert_string_equal(one.jwks_text, two.jwks_text);
    assert_memory_equal(one.seal, two.seal, sizeof one.seal);
    keys_fini(&one);
    keys_fini(&two);
}

static void signer_and_standby_are_both_published(void **state)
{
    struct keys k = {0};
    struct token_keys *set;

    (void)state;
    assert_int_equal(keys_load(&k, top, &e), 0);
    set = token_keys_parse(k.jwks_text, strlen(k.jwks_text), &e);
    assert_int_equal(token_keys_count(set), 2);
    assert_true(token_keys_has(set, token_signer_kid(k.signer)));
    assert_true(token_keys_has(set, token_signer_kid(k.standby)));
    assert_null(strstr(k.jwks_text, "\"d\"")); /* no private half */
    token_keys_free(set);
    keys_fini(&k);
}

static void the_standby_takes_a_removed_signers_place(void **state)
{
    struct keys k = {0};
    char path[128], kid[64];

    (void)state;
    assert_int_equal(keys_load(&k, top, &e), 0);
    snprintf(kid, sizeof kid, "%s", token_signer_kid(k.standby));
    keys_fini(&k);
    path_of("keys/signer.pem", path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(keys_load(&k, top, &e), 0);
    assert_string_equal(token_signer_kid(k.signer), kid);
    assert_string_not_equal(token_signer_kid(k.standby), kid);
    keys_fini(&k);
}

static void a_key_others_may_read_is_refused(void **state)
{
    struct keys k = {0};
    char path[128];

    (void)state;
    assert_int_equal(keys_load(&k, top, &e), 0);
    keys_fini(&k);
    path_of("keys/seal", path);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(keys_load(&k, top, &e), -1);
    keys_fini(&k);
}

static void session_keys_differ_and_come_again(void **state)
{
    struct keys k = {0};
    uint8_t a[32], b[32], c[32];

    (void)state;
    assert_int_equal(keys_load(&k, top, &e), 0);
    keys_session(&k, "aaaaaaaaaaaaaaaaaaaaaaaaaa", a);
    keys_session(&k, "aaaaaaaaaaaaaaaaaaaaaaaaaa", b);
    keys_session(&k, "aaaaaaaaaaaaaaaaaaaaaaaaab", c);
    assert_memory_equal(a, b, 32);
    assert_memory_not_equal(a, c, 32);
    keys_fini(&k);
}

static void tokens_verify_against_the_published_set(void **state)
{
    struct keys k = {0};
    struct token_keys *set;
    struct session_claims got;
    int64_t now = time(NULL), expires = 0;
    char *token;

    (void)state;
    assert_int_equal(keys_load(&k, top, &e), 0);
    set = token_keys_of(k.jwks, &e);
    token = keys_token(&k, "i", "a", "aaaaaaaaaaaaaaaaaaaaaaaaaa", "alice",
                       ROLE_CONTROL,
                       "ba7816bf8f01cfea414140de5dae2223"
                       "b00361a396177a9cb410ff61f20015ad",
                       now, &expires, &e);
    assert_non_null(token);
    assert_int_equal(expires, now + TOKEN_LIFE_S);
    assert_int_equal(session_token_verify(set, token, strlen(token), "i", "a",
                                          now, 0, &got, NULL, &e),
                     0);
    assert_int_equal(got.role, ROLE_CONTROL);
    free(token);
    token_keys_free(set);
    keys_fini(&k);
}

/* What infra/k8s/make-keys made is taken as it is, and its key set is ours. */
static void keys_that_are_given_are_taken_and_none_is_made(void **state)
{
    struct keys k = {0};
    char line[160], dir[128], state_dir[128], path[128];
    own_mem char *set = NULL;

    (void)state;
    path_of("given/podterm-keys", dir);
    path_of("state", state_dir);
    assert_int_equal(mkdir(state_dir, 0700), 0);
    snprintf(line, sizeof line, "infra/k8s/make-keys --dir %s/given", top);
    assert_int_equal(system(line), 0);
    if (keys_take(&k, dir, state_dir, &e) < 0)
        fail_msg("%s", e.text);
    path_of("given/podterm-jwks/jwks.json", path);
    set = tree_get(path, &(size_t){0});
    assert_string_equal(k.jwks_text, set);
    assert_int_equal(mode_of("state/keys"), 0);
    assert_int_equal(mode_of("state/jwks.json"), 0644);
    keys_fini(&k);
    path_of("given/podterm-keys/signer.pem", path);
    assert_int_equal(unlink(path), 0);
    memset(&k, 0, sizeof k);
    assert_int_equal(keys_take(&k, dir, state_dir, &e), -1);
    assert_non_null(strstr(e.text, "signer.pem"));
    keys_fini(&k);
    assert_int_equal(mode_of("given/podterm-keys/signer.pem"), 0);
    assert_int_equal(mode_of("given/podterm-keys/standby.pem"), 0600);
}

/* kubectl, with a cluster of files KIND+NAME; the FAIL_AT-th creation fails.
 * (Options before the verb are taken away.) */
static const char kubectl[] =
    "#!/usr/bin/env bash\n"
    "set -eu\n"
    "[ \"$1\" != -n ] || shift 2\n"
    "file=$CLUSTER/${2/\\//+}\n"
    "case $1 in\n"
    "get) [ ! -e \"$file\" ] || cat \"$file\" ;;\n"
    "delete) rm \"$file\" ;;\n"
    "label) if [ \"$2\" = --local ]; then sed 's/$/unfinished/'\n"
    "    else sed -i s/unfinished// \"$file\"; fi ;;\n"
    "create)\n"
    "    if [ \"$2\" != -f ]; then echo \"$2+${3/generic/$4} \"; exit; fi\n"
    "    read -r name label\n"
    "    echo x >>\"$CLUSTER/../tries\"\n"
    "    [ \"$(wc -l <\"$CLUSTER/../tries\")\" != \"$FAIL_AT\" ]\n"
    "    [ ! -e \"$CLUSTER/$name\" ]\n"
    "    echo \"uid $label\" >\"$CLUSTER/$name\" ;;\n"
    "esac\n";

static int give(int fail_at)
{
    own_mem char *line =
        mem_printf("cd infra/k8s && mkdir -p %s/cluster && PATH=%s:$PATH "
                   "CLUSTER=%s/cluster FAIL_AT=%d ./make-keys >%s/said 2>&1",
                   top, top, top, fail_at, top);
    int status = system(line);

    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void keys_given_half_are_given_whole_the_next_time(void **state)
{
    char path[128];

    (void)state;
    tree_put(top, "kubectl", kubectl);
    path_of("kubectl", path);
    assert_int_equal(chmod(path, 0700), 0);
    assert_int_not_equal(give(4), 0);
    path_of("cluster/secret+podterm-keys", path);
    assert_int_equal(access(path, F_OK), 0);
    path_of("cluster/configmap+podterm-jwks", path);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(give(0), 0);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_not_equal(give(0), 0); /* all are there: none is changed */
    assert_int_equal(unlink(path), 0);
    assert_int_not_equal(give(0), 0); /* nor where one is missing */
    assert_int_not_equal(access(path, F_OK), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(keys_are_made_once_and_private),
        T(signer_and_standby_are_both_published),
        T(the_standby_takes_a_removed_signers_place),
        T(a_key_others_may_read_is_refused),
        T(session_keys_differ_and_come_again),
        T(tokens_verify_against_the_published_set),
        T(keys_that_are_given_are_taken_and_none_is_made),
        T(keys_given_half_are_given_whole_the_next_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
