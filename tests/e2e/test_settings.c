/*
 * A setting that is no good stops the start, in a sentence that names the
 * setting, what it was given, and what it wants.
 */
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/child.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ARGS_MAX 24

static char *dir;
static char taken[32]; /* an address somebody listens on */
static int taken_fd;

static int setup(void **arg)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    own_mem char *seal = NULL;

    (void)arg;
    setenv("PODTERM_UID_FIRST", "740000000", 1);
    dir = scratch_new();
    tree_put(dir, "junk", "junk\n");
    tree_put(dir, "sub/file", "x");
    tree_put(dir, "seal", "0123456789abcdef0123456789abcdef");
    seal = mem_printf("%s/seal", dir);
    if (chmod(seal, 0600) < 0)
        return -1;
    taken_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(taken_fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
        listen(taken_fd, 1) < 0)
        return -1;
    getsockname(taken_fd, (struct sockaddr *)&sa, &len);
    snprintf(taken, sizeof(taken), "127.0.0.1:%d", ntohs(sa.sin_port));
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    close(taken_fd);
    scratch_remove(dir);
    return 0;
}

struct row {
    const char *flag;     /* "--listen=@T": @T = taken, @D = the directory */
    const char *words[4]; /* all of them are said */
};

/* The text with @D and @T replaced, the caller's. */
static char *filled(const char *text)
{
    const char *at = strchr(text, '@');

    if (!at)
        return mem_str(text);
    return mem_printf("%.*s%s%s", (int)(at - text), text,
                      at[1] == 'T' ? taken : dir, at + 2);
}

static void refused(const char *program, const char *const *base,
                    const struct row *row)
{
    own_mem char *path = program_path(program);
    char *args[ARGS_MAX] = {path};
    struct child c = {.argv = (const char *const *)args};
    int n = 1;

    for (; *base && n < ARGS_MAX - 2; base++)
        args[n++] = filled(*base);
    args[n] = filled(row->flag);
    child_run(&c);
    if (c.code == 0 || c.code >= 126)
        fail_msg("%s %s: left with %d: %s", program, args[n], c.code, c.err);
    for (int i = 0; i < 4 && row->words[i]; i++) {
        own_mem char *word = filled(row->words[i]);

        if (!strstr(c.err, word))
            fail_msg("%s %s: nothing of \"%s\" in: %s", program, args[n], word,
                     c.err);
    }
    child_fini(&c);
    for (int i = 1; i <= n; i++)
        free(args[i]);
}

#define EACH(program, base, rows)                                              \
    for (size_t i_ = 0; i_ < sizeof(rows) / sizeof(*(rows)); i_++)             \
    refused(program, base, &(rows)[i_])

static void the_controllers_are_named(void **arg)
{
    static const char *const base[] = {
        "--dev-issuer", "--listen=127.0.0.1:0", "--state-dir=@D/controller",
        "--attach-url=ws://127.0.0.1:1/v1/attach", NULL};
    static const struct row rows[] = {
        {"--listen=", {"--listen", "empty", "host:port"}},
        {"--listen=junk", {"--listen", "junk", "127.0.0.1:8080"}},
        {"--listen=127.0.0.1:99999", {"--listen", "99999"}},
        {"--listen=@T", {"--listen", "@T", "in use", "choose another"}},
        {"--listen=0.0.0.0:0", {"--listen", "0.0.0.0:0", "loopback"}},
        {"--metrics-listen=junk", {"--metrics-listen", "junk"}},
        {"--metrics-listen=@T", {"--metrics-listen", "@T", "in use"}},
        {"--metrics-listen=203.0.113.9:1",
         {"--metrics-listen", "203.0.113.9:1", "no address of this machine",
          "choose another"}},
        {"--state-dir=", {"--state-dir", "empty"}},
        {"--state-dir=@D/junk", {"--state-dir", "@D/junk", "not a directory"}},
        {"--state-dir=@D/none/x", {"--state-dir", "@D/none/x", "No such"}},
        {"--store=", {"--store", "empty"}},
        {"--store=@D/junk", {"@D/junk", "store", "not a database"}},
        {"--store=@D/none/x", {"store", "@D/none/x", "No such"}},
        {"--attach-url=x", {"--attach-url", "wss://HOST/v1/attach"}},
        {"--installation=", {"--installation", "empty"}},
        {"--tls-cert=@D/junk", {"--tls-cert", "--tls-key", "both"}},
        {"--bundle-file-root=x", {"--bundle-file-root", "absolute", "x"}},
        {"--bundle-file-root=@D/none",
         {"--bundle-file-root", "@D/none", "No such"}},
        {"--bundle-file-root=@D/junk",
         {"--bundle-file-root", "@D/junk", "no directory"}},
        {"--hosts=good.example,https://x",
         {"--hosts", "https://x", "example.com:8443"}},
        {"--hosts=a, b", {"--hosts", " b", "no host", "example.com:8443"}},
        {"--cors-origins=x",
         {"--cors-origins", "no origin", "https://example.com"}},
        {"--cors-origins=https://x/",
         {"--cors-origins", "https://x/", "https://example.com"}},
        {"--web-dir=@D/none", {"--web-dir", "@D/none", "No such", "make web"}},
        {"--web-dir=@D/junk", {"--web-dir", "@D/junk", "Not a directory"}},
        {"--web-dir=@D/sub", {"--web-dir", "@D/sub", "no index.html"}},
        {"--web-max-files=0", {"--web-max-files", "0", "from 1"}},
        {"--web-max-bytes=0", {"--web-max-bytes", "0", "from 1"}},
        {"--web-max-name=1", {"--web-max-name", "1", "from 12"}},
        {"--web-bundle=https://x/y", {"--web-bundle", "-sha256", "both"}},
        {"--web-bundle-sha256=ab", {"--web-bundle", "-sha256", "both"}},
        {"--trusted-proxies=junk", {"--trusted-proxies", "junk", "10.0.0.0/8"}},
        {"--deny-cidrs=10.0.0.0/99", {"--deny-cidrs", "10.0.0.0/99", "32"}},
        {"--signing-keys=junk", {"--signing-keys", "minisign"}},
        {"--isolation=junk", {"--isolation", "best", "strict", "junk"}},
        {"--egress=junk", {"--egress", "none", "open", "junk"}},
        {"--egress=proxy", {"--egress proxy", "--program-domains"}},
        {"--program-domains=a.example", {"--program-", "--egress proxy"}},
        {"--broker=junk", {"--broker", "junk", "anthropic"}},
        {"--broker=anthropic=@D/none", {"--broker", "@D/none", "No such"}},
        {"--broker=anthropic=@D/sub", {"--broker", "@D/sub", "regular"}},
        {"--broker-upstream=openai=https://x",
         {"--broker-upstream", "--broker"}},
        {"--broker-allow-cidrs=10.0.0.0/8", {"--broker-allow", "--broker"}},
        {"--broker-requests=0", {"--broker-requests", "0", "from 1"}},
        {"--broker-bytes=0", {"--broker-bytes", "0", "from 1"}},
        {"--broker-per-minute=0", {"--broker-per-minute", "0", "from 1"}},
        {"--keeper=@D/sub", {"--keeper", "@D/sub", "no program"}},
        {"--agent=@D/none", {"--agent", "@D/none", "no program"}},
        {"--shim=@D/junk", {"--shim", "@D/junk", "no program"}},
        {"--log-level=loud", {"--log-level", "loud", "debug, info"}},
        {"--quota=many", {"--quota", "many", "from 1 to 100000"}},
        {"--quota=-1", {"--quota", "-1"}},
        {"--quota=99999999999999999999", {"--quota", "99999"}},
        {"--quota=", {"--quota", "whole number"}},
        {"--lifetime-max-s=60", {"--lifetime-s", "14400", "60"}},
        {"--ring-bytes=100000", {"--ring-bytes", "power of two", "100000"}},
        {"--bogus=1", {"--bogus", "--help"}},
    };

    (void)arg;
    EACH("podterm-controller", base, rows);
}

static void what_an_entry_of_an_archive_counts_is_told(void **arg)
{
    own_mem char *path = program_path("podterm-controller");
    const char *const args[] = {path, "--help", NULL};
    struct child c = {.argv = args};

    (void)arg;
    child_run(&c);
    assert_int_equal(c.code, 0);
    assert_non_null(strstr(c.out, "each entry counts 4096"));
    child_fini(&c);
}

static void the_gateways_are_named(void **arg)
{
    static const char *const base[] = {"--listen=127.0.0.1:0",
                                       "--store=@D/store",
                                       "--seal-key-file=@D/seal",
                                       "--jwks-file=@D/jwks",
                                       "--issuer=i",
                                       "--audience=a",
                                       "--agent-cidrs=127.0.0.0/8",
                                       NULL};
    static const struct row rows[] = {
        {"--listen=junk", {"--listen", "junk", "127.0.0.1:8080"}},
        {"--store=", {"--store", "empty"}},
        {"--seal-key-file=@D/none",
         {"--seal-key-file", "@D/none", "not there", "keys/seal"}},
        {"--seal-key-file=@D/junk",
         {"--seal-key-file", "@D/junk", "chmod 600"}},
        {"--jwks-ca=@D/none", {"--jwks-ca", "@D/none", "No such"}},
        {"--tls-cert=@D/junk", {"--tls-cert", "--tls-key", "both"}},
        {"--hosts=good.example,https://x",
         {"--hosts", "https://x", "example.com:8443"}},
        {"--origins=x", {"--origins", "no origin", "https://example.com"}},
        {"--origins=https://x:443",
         {"--origins", "https://x:443", "https://example.com"}},
        {"--agent-cidrs=junk", {"--agent-cidrs", "junk", "10.0.0.0/8"}},
        {"--agent-cidrs=", {"--agent-cidrs", "empty"}},
        {"--jwks-url=https://x/", {"--jwks-file", "--jwks-url", "one"}},
        {"--threads=0", {"--threads", "0", "from 1 to 64"}},
        {"--log-level=loud", {"--log-level", "loud", "debug, info"}},
    };

    (void)arg;
    EACH("podterm-gateway", base, rows);
}

static void the_agents_and_keepers_are_named(void **arg)
{
    static const char *const agent[] = {
        "--spec=@D/spec",     "--state-file=@D/state",
        "--ipc-dir=@D/ipc",   "--bundle-dir=@D/b",
        "--tmp-dir=@D/tmp",   "--report=@D/end",
        "--runner-uid=12345", NULL};
    static const char *const keeper[] = {"--runner-uid=12345",
                                         "--agent-uid=12346", NULL};
    static const struct row agents[] = {
        {"--listen=junk", {"--listen", "junk", "127.0.0.1:8080"}},
        {"--listen=@T", {"--listen", "@T", "in use"}},
        {"--health-listen=@T", {"--health-listen", "@T", "in use"}},
        {"--report=", {"--report", "empty"}},
        {"--log-level=loud", {"--log-level", "loud", "debug, info"}},
        {"--key-fd=x", {"--key-fd", "x", "whole number"}},
    };
    static const struct row keepers[] = {
        {"--isolation=anything", {"--isolation", "anything", "full", "none"}},
        {"--egress=anything", {"--egress", "anything", "none", "open"}},
        {"--tmp-bytes=1", {"--tmp-bytes", "1", "1048576"}},
        {"--listen=x", {"--dir", "--agent", "--shim", "--help"}},
    };

    (void)arg;
    EACH("podterm-agent", agent, agents);
    if (geteuid() == 0) /* its uids are for root alone */
        EACH("podterm-keeper", keeper, keepers);
}

static void the_commands_are_named(void **arg)
{
    static const char *const run[] = {
        "run", "--bundle=file:///x",
        "--sha256="
        "0000000000000000000000000000000000000000000000000000000000000000",
        NULL};
    static const char *const attach[] = {"attach", NULL};
    static const char *const dev[] = {"dev", "--listen=127.0.0.1:0",
                                      "--state=@D/dev", NULL};
    static const struct row runs[] = {
        {"--server=x", {"x", "http"}},
        {"--sha256=x", {"--sha256", "64 hexadecimal digits"}},
        {"--signature=@D/none", {"--signature", "@D/none", "No such"}},
        {"--retry-s=0", {"--retry-s", "0", "from 1"}},
        {"--idle-s=x", {"--idle-s", "x", "whole number"}},
        {"--escape=ab", {"--escape", "ab", "none"}},
        {"--env=", {"--env", "missing"}},
        {"--bogus", {"--bogus", "--help"}},
    };
    static const struct row attaches[] = {
        {"--server=", {"--server", "empty", "URL"}},
        {"--retry-s=-1", {"--retry-s", "-1"}},
    };

    static const struct row devs[] = {
        {"--web-dir=@D/none", {"--web-dir", "@D/none", "No such", "empty"}},
        {"--web-dir=@D/sub", {"controller", "--web-dir", "no index.html"}},
    };

    (void)arg;
    EACH("podterm", dev, devs);
    EACH("podterm", run, runs);
    EACH("podterm", attach, attaches);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_controllers_are_named),
        cmocka_unit_test(what_an_entry_of_an_archive_counts_is_told),
        cmocka_unit_test(the_gateways_are_named),
        cmocka_unit_test(the_agents_and_keepers_are_named),
        cmocka_unit_test(the_commands_are_named),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
