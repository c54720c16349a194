/*
 * infra/k8s/make-keys and infra/keda/make-pool, what they change and what they
 * leave alone, with a kubectl whose cluster is a tree of files:
 * cluster/NAMESPACE/NAME/KEY. Their sed knows what POSIX has and no option, as
 * those of other systems.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/own.h"
#include "controller/keys.h"
#include "tests/lib/child.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char kubectl[] =
    "#!/usr/bin/env bash\n"
    "set -eu\n"
    "while [ \"$1\" = -n ]; do ns=$2; shift 2; done\n"
    "verb=$1; shift\n"
    "if [ \"$verb $1\" = 'get namespace' ]; then\n"
    "    [ -d \"$CLUSTER/$2\" ]\n"
    "elif [ \"$verb\" = get ]; then\n"
    "    key=${*: -1}; key=${key#*.data.}; key=${key%\\}}; key=${key//\\\\/}\n"
    "    file=$CLUSTER/$ns/${1#*/}/$key\n"
    "    [ -e \"$file\" ] || exit 0\n"
    "    case $1 in secret*) base64 -w0 \"$file\" ;; *) cat \"$file\" ;; esac\n"
    "elif [[ $* = *--dry-run=client* ]]; then\n"
    "    [ \"$1\" != secret ] || shift\n"
    "    echo \"$2\"; from=${3#--from-file=}; what=.\n"
    "    [ -d \"$from\" ] || { what=${from##*/}; from=${from%/*}; }\n"
    "    tar -C \"$from\" -c \"$what\" | base64 -w0\n"
    "else\n" /* create, apply or replace what is on standard input */
    "    echo x >>\"$CLUSTER/../tries\"\n"
    "    [ \"$(wc -l <\"$CLUSTER/../tries\")\" != \"${FAIL_AT:-0}\" ]\n"
    "    read -r name; at=$CLUSTER/$ns/$name\n"
    "    [ \"$verb\" != create ] || [ ! -e \"$at\" ]\n"
    "    [ \"$verb\" != replace ] || [ -e \"$at\" ]\n"
    "    rm -rf \"$at\"; mkdir \"$at\"\n"
    "    base64 -d | tar -C \"$at\" -x\n"
    "fi\n";

static const char sed[] =
    "#!/usr/bin/env bash\n"
    "case $1 in -*) echo \"sed: no option $1\" >&2; exit 1 ;; esac\n"
    "exec /bin/sed --posix \"$@\"\n";

static char *top;

/* Run in the project's root; its exit code. What it said is in top/said. */
static int run(const char *line)
{
    own_mem char *whole = mem_printf("(%s) >%s/said 2>&1", line, top);
    own_mem char *path = mem_printf("PATH=%s/bin:%s", top, getenv("PATH"));
    own_mem char *cluster = mem_printf("CLUSTER=%s/cluster", top);
    struct child c = {.argv = (const char *const[]){"bash", "-c", whole, NULL},
                      .env = (const char *const[]){path, cluster, NULL}};
    int code;

    child_run(&c);
    code = c.code;
    child_fini(&c);
    return code;
}

static void works(const char *line)
{
    own_mem char *path = mem_printf("%s/said", top);

    if (run(line) != 0)
        fail_msg("%s: %s", line, tree_get(path, &(size_t){0}));
}

static void says(const char *word)
{
    own_mem char *path = mem_printf("%s/said", top);
    own_mem char *said = tree_get(path, &(size_t){0});

    if (!strstr(said, word))
        fail_msg("no \"%s\" in: %s", word, said);
}

static void put_program(const char *name, const char *text)
{
    own_mem char *path = mem_printf("%s/bin/%s", top, name);
    own_mem char *below = mem_printf("bin/%s", name);

    tree_put(top, below, text);
    assert_int_equal(chmod(path, 0700), 0);
}

/* podterm's own two namespaces, with what make-keys makes. */
static int setup(void **arg)
{
    own_mem char *line = NULL;

    (void)arg;
    top = scratch_new();
    put_program("kubectl", kubectl);
    put_program("sed", sed);
    line = mem_printf("mkdir -p %s/cluster/podterm-sessions && "
                      "infra/k8s/make-keys --dir %s/cluster/podterm",
                      top, top);
    works(line);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    scratch_remove(top);
    return 0;
}

static void make_keda(void)
{
    works("mkdir $CLUSTER/keda");
}

/* NAMESPACE/NAME/KEY, or NULL. */
static char *member(const char *which)
{
    own_mem char *path = mem_printf("%s/cluster/%s", top, which);

    return access(path, F_OK) == 0 ? tree_get(path, &(size_t){0}) : NULL;
}

static bool is_there(const char *which)
{
    own_mem char *value = member(which);

    return value != NULL;
}

static void are_the_same(const char *one, const char *other)
{
    own_mem char *a = member(one), *b = member(other);

    assert_non_null(a);
    assert_non_null(b);
    assert_string_equal(a, b);
}

/* All that the cluster holds, in one text. */
static char *all(void)
{
    own_mem char *path = mem_printf("%s/said", top);

    works("cd $CLUSTER && find . -type f | sort | xargs sha256sum");
    return tree_get(path, &(size_t){0});
}

/* --- make-pool --- */

static void where_the_pool_cannot_be_made_nothing_is(void **arg)
{
    own_mem char *before = all(), *after = NULL;

    (void)arg;
    assert_int_not_equal(run("infra/keda/make-pool"), 0);
    says("no namespace keda");
    make_keda();
    assert_int_not_equal(run("REDIS_CA=/nowhere infra/keda/make-pool"), 0);
    works("mv $CLUSTER/podterm/podterm-jwks $CLUSTER/..");
    assert_int_not_equal(run("infra/keda/make-pool"), 0);
    says("no key set");
    works("mv $CLUSTER/../podterm-jwks $CLUSTER/podterm");
    after = all();
    assert_string_equal(before, after);
    works("infra/keda/make-pool");
}

static void the_pool_is_there(void)
{
    are_the_same("podterm/podterm-pool/secret",
                 "podterm-sessions/podterm-pool/secret");
    are_the_same("podterm/podterm-redis-keda/password",
                 "keda/podterm-redis-keda/password");
    assert_true(is_there("podterm-sessions/podterm-warm/warm.json"));
}

static void a_pool_made_half_is_made_whole_the_next_time(void **arg)
{
    (void)arg;
    make_keda();
    for (int i = 1; i <= 4; i++) {
        own_mem char *line =
            mem_printf("rm -rf $CLUSTER/../tries $CLUSTER/*/podterm-pool "
                       "$CLUSTER/keda/* $CLUSTER/*/podterm-warm; "
                       "FAIL_AT=%d infra/keda/make-pool",
                       i);
        own_mem char *secret = NULL, *later = NULL;

        assert_int_not_equal(run(line), 0);
        secret = member("podterm/podterm-pool/secret");
        works("infra/keda/make-pool");
        the_pool_is_there();
        later = member("podterm/podterm-pool/secret");
        if (secret) /* the first run's, which somebody may have by now */
            assert_string_equal(secret, later);
    }
}

static void a_pool_that_is_there_is_not_changed(void **arg)
{
    own_mem char *before = NULL, *after = NULL;

    (void)arg;
    make_keda();
    works("infra/keda/make-pool");
    works("echo other >$CLUSTER/podterm/podterm-redis-keda/password && "
          "echo {} >$CLUSTER/podterm/podterm-jwks/jwks.json");
    before = all();
    works("infra/keda/make-pool");
    says("make-pool --redis");
    says("make-pool --keys");
    after = all();
    assert_string_equal(before, after);
    works("echo other >$CLUSTER/podterm/podterm-pool/secret");
    assert_int_not_equal(run("infra/keda/make-pool"), 0);
    says("differs");
}

static void keda_is_given_a_new_password_and_a_ca(void **arg)
{
    own_mem char *tls = NULL, *ca = NULL, *secret = NULL, *later = NULL;

    (void)arg;
    make_keda();
    works("infra/keda/make-pool");
    secret = member("podterm/podterm-pool/secret");
    works("infra/k8s/make-keys --password keda");
    works("echo certificate >$CLUSTER/../ca.pem && "
          "REDIS_CA=$CLUSTER/../ca.pem infra/keda/make-pool --redis");
    the_pool_is_there();
    tls = member("keda/podterm-redis-keda/tls");
    ca = member("keda/podterm-redis-keda/ca");
    later = member("podterm/podterm-pool/secret");
    assert_string_equal(tls, "enable");
    assert_string_equal(ca, "certificate\n");
    assert_string_equal(secret, later);
}

/* --- make-keys --- */

static void
the_standby_signs_after_a_leak_and_the_leaked_key_is_gone(void **arg)
{
    own_mem char *leaked = member("podterm/podterm-keys/signer.pem");
    own_mem char *standby = member("podterm/podterm-keys/standby.pem");
    own_mem char *seal = member("podterm/podterm-keys/seal");
    own_mem char *dir = mem_printf("%s/cluster/podterm/podterm-keys", top);
    own_mem char *signer = NULL, *same = NULL, *next = NULL, *set = NULL;
    struct keys k = {0};
    struct err e = {0};

    (void)arg;
    seal_init();
    works("infra/k8s/make-keys --new-signer");
    signer = member("podterm/podterm-keys/signer.pem");
    next = member("podterm/podterm-keys/standby.pem");
    same = member("podterm/podterm-keys/seal");
    set = member("podterm/podterm-jwks/jwks.json");
    assert_string_equal(signer, standby);
    assert_string_not_equal(next, standby);
    assert_string_not_equal(next, leaked);
    assert_string_equal(same, seal);
    if (keys_take(&k, dir, top, &e) < 0)
        fail_msg("%s", e.text);
    assert_string_equal(k.jwks_text, set);
    keys_fini(&k);
}

/* The key set first: what signs is in it at any time. */
static void a_new_signer_that_failed_half_way_is_made_again(void **arg)
{
    own_mem char *standby = member("podterm/podterm-keys/standby.pem");
    own_mem char *signer = NULL, *said = NULL, *path = NULL;

    (void)arg;
    assert_int_not_equal(run("FAIL_AT=2 infra/k8s/make-keys --new-signer"), 0);
    works("infra/k8s/make-keys --new-signer");
    signer = member("podterm/podterm-keys/signer.pem");
    assert_string_equal(signer, standby);
    works("cd $CLUSTER/podterm && openssl rsa -in podterm-keys/standby.pem "
          "-pubout -out $CLUSTER/../public.pem 2>/dev/null && "
          "$OLDPWD/infra/k8s/make-keys --jwks podterm-keys/signer.pem "
          "$CLUSTER/../public.pem | cmp - podterm-jwks/jwks.json");
    assert_int_not_equal(run("infra/k8s/make-keys --jwks /etc/passwd"), 0);
    path = mem_printf("%s/said", top);
    said = tree_get(path, &(size_t){0});
    assert_null(strstr(said, "\"keys\""));
}

static void a_new_password_changes_one_user(void **arg)
{
    own_mem char *before = NULL, *after = NULL, *other = NULL;

    (void)arg;
    before = member("podterm/podterm-redis-controller/password");
    works("cp -r $CLUSTER/podterm $CLUSTER/../before");
    works("infra/k8s/make-keys --password gateway");
    after = member("podterm/podterm-redis-controller/password");
    assert_string_equal(before, after);
    works("cd $CLUSTER/podterm && for user in controller gateway keda; do "
          "h=$(sha256sum <podterm-redis-$user/password | cut -d' ' -f1); "
          "grep -q \"^user $user reset on #$h \" podterm-redis-acl/users.acl "
          "|| { echo $user; exit 1; }; done");
    works("! cmp -s $CLUSTER/podterm/podterm-redis-gateway/password "
          "$CLUSTER/../before/podterm-redis-gateway/password");
    assert_int_not_equal(run("infra/k8s/make-keys --password default"), 0);
    other = member("podterm/podterm-redis-default/password");
    assert_null(other);
}

/* As after an upgrade: a copy of infra/k8s with one right more. */
static void users_are_made_anew_with_the_passwords_they_have(void **arg)
{
    (void)arg;
    works("cp -r infra/k8s $CLUSTER/../k8s && "
          "echo '# of later' >>$CLUSTER/../k8s/redis/users.acl.example && "
          "cp -r $CLUSTER/podterm $CLUSTER/../before && "
          "$CLUSTER/../k8s/make-keys --acl");
    works("echo '# of later' >>$CLUSTER/../before/podterm-redis-acl/users.acl "
          "&& diff -r $CLUSTER/../before $CLUSTER/podterm");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(where_the_pool_cannot_be_made_nothing_is),
        T(a_pool_made_half_is_made_whole_the_next_time),
        T(a_pool_that_is_there_is_not_changed),
        T(keda_is_given_a_new_password_and_a_ca),
        T(the_standby_signs_after_a_leak_and_the_leaked_key_is_gone),
        T(a_new_signer_that_failed_half_way_is_made_again),
        T(a_new_password_changes_one_user),
        T(users_are_made_anew_with_the_passwords_they_have),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
