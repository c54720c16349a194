/*
 * Settings of --launcher kubernetes: what does not fit together is told before
 * anything starts; and which images a request may name.
 */
#include "base/mem.h"
#include "base/own.h"
#include "controller/create.h"
#include "controller/settings.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define WORDS_MAX 40
#define SHA "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define BODY(image)                                                            \
    "{\"bundle\":{\"url\":\"https://b.example/x.tgz\",\"sha256\":\"" SHA       \
    "\"},\"cols\":80,\"rows\":24" image "}"

static char *dir, *template, *config, *secret;
static struct err e;

static int setup(void **arg)
{
    (void)arg;
    dir = scratch_new();
    template = mem_printf("%s/job", dir);
    config = mem_printf("%s/config", dir);
    secret = mem_printf("%s/secret", dir);
    tree_put(dir, "job", "x");
    tree_put(dir, "config", "x");
    tree_put(dir, "secret", "0123456789abcdef0123456789abcdef");
    chmod(secret, 0600);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    free(template);
    free(config);
    free(secret);
    scratch_remove(dir);
    return 0;
}

/* With what is needed, unless it is given again ("-name" leaves it out), and
 * these words more. */
static const struct settings *load(const char *without, ...)
{
    const char *all[] = {"--launcher",       "kubernetes",
                         "--agent-image",    "a",
                         "--runner-image",   "example/runner:1",
                         "--kubeconfig",     config,
                         "--job-template",   template,
                         "--state-dir",      dir,
                         "--attach-url",     "wss://g.example/attach",
                         "--oidc-issuer",    "https://i.example",
                         "--oidc-audience",  "us",
                         "--oidc-jwks-url",  "https://i.example/keys",
                         "--bundle-domains", "b.example"};
    char *argv[WORDS_MAX] = {"podterm-controller"};
    int argc = 1;
    va_list ap;

    for (size_t i = 0; i < sizeof all / sizeof *all; i += 2)
        if (strcmp(all[i], without) != 0) {
            argv[argc++] = (char *)(uintptr_t)all[i];
            argv[argc++] = (char *)(uintptr_t)all[i + 1];
        }
    va_start(ap, without);
    for (char *word; (word = va_arg(ap, char *));)
        argv[argc++] = word;
    va_end(ap);
    e = (struct err){0};
    return settings_load(argc, argv, &e);
}

static void taken(const struct settings *s)
{
    if (!s)
        fail_msg("%s", e.text);
}

/* Settings are a process's, once: each is loaded in one of its own. */
static void judge(const struct settings *s, const char *why)
{
    if (!why && s)
        _exit(0);
    if (why && !s && e.kind == ERR_INPUT && strstr(e.text, why))
        _exit(0);
    fprintf(stderr, "wanted %s: %s\n", why ? why : "none", e.text);
    _exit(1);
}

static void went_well(pid_t child)
{
    int status = -1;

    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

#define LOADS(why, ...)                                                        \
    do {                                                                       \
        pid_t child = fork();                                                  \
        if (child == 0)                                                        \
            judge(load(__VA_ARGS__, NULL), why);                               \
        went_well(child);                                                      \
    } while (0)
#define REDIS "--store", "redis://r.example:6379"
#define KEDA "", "--warm-target", "1", "--warm-by", "keda"

static void what_is_needed_is_asked_for(void **arg)
{
    (void)arg;
    LOADS(NULL, "");
    LOADS("--agent-image", "--agent-image");
    LOADS("--runner-image", "--runner-image");
    LOADS("--launcher", "--launcher", "--launcher", "docker");
    LOADS("--job-template", "--job-template", "--job-template", "/nowhere");
    LOADS("--kubeconfig", "--kubeconfig", "--kubeconfig", "/nowhere");
}

static void what_does_not_fit_is_told(void **arg)
{
    (void)arg;
    LOADS("--bundle-file-root", "", "--bundle-file-root", "/tmp");
    LOADS("--dev-issuer", "", "--dev-issuer");
    LOADS("--namespace", "", "--namespace", "a/b");
    LOADS("--namespace", "", "--namespace", "");
    LOADS("--namespace", "", "--namespace", "-a");
    LOADS("--namespace", "", "--namespace", "a-");
    LOADS("--lease", "", "--lease", "Foo_Bar");
    LOADS(NULL, "", "--lease", "");
    LOADS("--lease-namespace", "", "--lease-namespace", "a.b");
    LOADS("--lease-namespace", "", "--lease-namespace", "");
    LOADS(NULL, "", "--lease-namespace", "podterm");
    LOADS(NULL, "", "--isolation", "strict");
    LOADS(NULL, "", "--isolation", "best");
    LOADS("--isolation", "", "--isolation", "loose");
    LOADS("--egress open", "", "--isolation", "open");
    LOADS(NULL, "", "--isolation", "open", "--egress", "open");
    LOADS(NULL, "", "--egress", "proxy", "--program-domains", "a.example");
    LOADS("--warm-by", "", "--warm-by", "me");
    LOADS("--warm-target", "", "--warm-target", "1001");
    LOADS("--warm-max-age-s", "", "--warm-max-age-s", "1");
}

static void kedas_runners_need_all_three(void **arg)
{
    (void)arg;
    LOADS(NULL, KEDA, REDIS, "--pool-secret-file", secret);
    LOADS("--store", KEDA, "--pool-secret-file", secret);
    LOADS("--pool-secret-file", KEDA, REDIS);
    LOADS("--pool-secret-file", KEDA, REDIS, "--pool-secret-file", "/nowhere");
}

/* --- images --- */

static void allows(const char *images, const char *image, bool is_allowed)
{
    pid_t child = fork();

    if (child == 0) {
        const struct settings *s = load("", "--runner-images", images, NULL);

        _exit(!s || settings_allows_image(s, image) != is_allowed);
    }
    went_well(child);
}

static void images_are_named_whole_or_by_their_beginning(void **arg)
{
    (void)arg;
    allows("", "example/runner:1", true); /* the installation's own */
    allows("", "example/runner:2", false);
    allows("", "example/runner", false);
    allows("x,example/other:1", "example/other:1", true);
    allows("x,example/other:1", "example/other:12", false);
    allows("x,example/other:1", "example/other:", false);
    allows("example/more/*", "example/more/a:1", true);
    allows("example/more/*", "example/mor", false);
    allows("example/more/*", "evil/example/more/a", false);
    allows("example/runner:*", "example/runner:2", true);
    allows("example/runner:*", "example/runner", false);
    allows("example/runner@*", "example/runner@sha256:1", true);
    allows("debian:*", "debian:12", true);
    allows("debian:*", "debian:5000/evil", false); /* a port */
    allows(",,", "", false);
}

/* What begins so too is another's: the name goes on until / : or @. */
static void a_star_stands_where_a_name_has_ended(void **arg)
{
    (void)arg;
    LOADS("--runner-images", "", "--runner-images", "ghcr.io/acme*");
    LOADS("--runner-images", "", "--runner-images", "x,debian*,y");
    LOADS("--runner-images", "", "--runner-images", "*");
    LOADS("--runner-images", "", "--runner-images", "a/*b");
    LOADS("--runner-images", "", "--runner-images", "a/*,b/**");
    LOADS(NULL, "", "--runner-images", "ghcr.io/acme/*,debian:*,a/b@*");
}

static void a_request_for_another_is_denied_in_words(void **arg)
{
    static const struct {
        const char *body;
        enum err_kind kind;
        const char *image;
    } cases[] = {
        {BODY(""), ERR_NONE, "example/runner:1"},
        {BODY(",\"image\":\"example/more/a\""), ERR_NONE, "example/more/a"},
        {BODY(",\"image\":\"evil/a\""), ERR_DENIED, NULL},
        {BODY(",\"image\":\"\""), ERR_INPUT, NULL},
        {BODY(",\"image\":7"), ERR_INPUT, NULL},
    };
    const struct settings *s =
        load("", "--runner-images", "example/more/*", NULL);
    struct settings local;
    struct create got;

    (void)arg;
    taken(s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *text = cases[i].body;

        e = (struct err){0};
        if ((create_parse(text, strlen(text), s, &got, &e) == 0) !=
                (cases[i].kind == ERR_NONE) ||
            e.kind != cases[i].kind)
            fail_msg("%s: %s", text, e.text);
        if (cases[i].image) {
            assert_string_equal(got.image, cases[i].image);
            create_fini(&got);
        } else {
            assert_non_null(strstr(e.text, "image"));
        }
    }
    local = *s;
    local.is_kube = false; /* on one machine there is none */
    e = (struct err){0};
    assert_int_equal(
        create_parse(cases[1].body, strlen(cases[1].body), &local, &got, &e),
        -1);
    assert_int_equal(err_http_status(e.kind), 403);
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_is_needed_is_asked_for),
        T(what_does_not_fit_is_told),
        T(kedas_runners_need_all_three),
        T(images_are_named_whole_or_by_their_beginning),
        T(a_star_stands_where_a_name_has_ended),
        T(a_request_for_another_is_denied_in_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
