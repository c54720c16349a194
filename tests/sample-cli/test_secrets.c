#include "sample-cli/secrets.h"

#include "base/mem.h"
#include "base/own.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static void names_of_secret_files_are_known(void **state)
{
    static const char *const names[] = {
        ".env",
        "a/b/.env",
        ".env.production",
        "prod.env",
        "server.pem",
        "deep/ly/server.key",
        "id_rsa",
        "id_ed25519.pub",
        "my_rsa",
        ".netrc",
        ".npmrc",
        ".pgpass",
        ".git-credentials",
        "kubeconfig",
        "x.tfstate",
        "x.tfstate.backup",
        "credentials",
        "gcp-credentials-2.json",
        "service-account-x.json",
        "secrets.yaml",
        "passwords.txt",
        "shadow",
        "vault.yml",
        "a.token",
        ".bash_history",
        "store.kdbx",
        "signing.asc",
    };
    static const char *const upper[] = {".ENV", "SERVER.PEM", "Id_Rsa",
                                        "Secrets.YAML", "A/.SSH/config"};

    (void)state;
    for (size_t i = 0; i < COUNT(names); i++)
        if (!secrets_in_name(names[i]))
            fail_msg("%s is not known", names[i]);
    for (size_t i = 0; i < COUNT(upper); i++)
        if (!secrets_in_name(upper[i]))
            fail_msg("%s is not known", upper[i]);
}

static void all_in_a_directory_of_secrets_is_one(void **state)
{
    (void)state;
    assert_true(secrets_in_name(".ssh/config"));
    assert_true(secrets_in_name("home/.ssh/deep/er/known_hosts"));
    assert_true(secrets_in_name(".aws/config"));
    assert_true(secrets_in_name("a/secrets/readme.txt"));
    assert_true(secrets_in_name("a/.password-store/x"));
    assert_false(secrets_in_name("a.ssh/config"));
    assert_false(secrets_in_name(".sshd/config"));
}

static void other_names_are_free(void **state)
{
    static const char *const names[] = {
        "a.c",      "environment.c",
        "keys.c",   "src/secrets.d/x.c",
        "key",      "token.c",
        "README",   "envrc",
        "monkey.c", "passing.c",
        "pem/a.c",  "",
        "/",        "//",
        "a/",       "shadow.c",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(names); i++)
        if (secrets_in_name(names[i]))
            fail_msg("%s is taken for a secret", names[i]);
}

/* Names are bytes: no name hides what it ends in, and none reads beyond. */
static void hostile_names_hide_nothing(void **state)
{
    own_mem char *longest = mem_zero(4096, 1);

    (void)state;
    assert_true(secrets_in_name("\xff\xfe.pem"));
    assert_true(secrets_in_name("\xc3/.ssh/\xe2\x82"));
    assert_true(secrets_in_name("a\nb\033[2J.key"));
    assert_true(secrets_in_name("*?[].pem"));
    assert_true(secrets_in_name("\\.pem"));
    assert_false(secrets_in_name("*"));
    assert_false(secrets_in_name("["));
    memset(longest, 'a', 4095);
    assert_false(secrets_in_name(longest)); /* no file has such a name */
    memcpy(longest + 4095 - 5, "/.env", 5);
    assert_true(secrets_in_name(longest));
    memset(longest, '/', 4095);
    assert_false(secrets_in_name(longest));
    memset(longest, 'a', 4095); /* the longest that there is */
    longest[255] = 0;
    memcpy(longest + 251, ".pem", 4);
    assert_true(secrets_in_name(longest));
}

static bool in_text(const char *text)
{
    /* exactly so many bytes: a sanitizer sees one more that is read */
    size_t len = strlen(text);
    own_mem char *exact = malloc(len ? len : 1);

    memcpy(exact, text, len);
    return secrets_in_text(exact, len);
}

/* (in two parts: this file is looked over, too) */
static void tokens_are_known_by_their_form(void **state)
{
    static const char *const texts[] = {
        "-----BEGIN "
        "RSA PRIVATE KEY-----",
        "x\n-----BEGIN "
        "PRIVATE KEY-----\n",
        "-----BEGIN "
        "OPENSSH PRIVATE KEY-----",
        "-----BEGIN "
        "PGP PRIVATE KEY BLOCK-----",
        "-----BEGIN CERTIFICATE-----\n...-----BEGIN "
        "EC PRIVATE KEY-----",
        "key = \"sk-ant-"
        "api03-AAAA\"",
        "sk-proj-"
        "0123456789abcdef",
        "AKIA"
        "IOSFODNN7EXAMPLE",
        "ghp_"
        "012345678901234567890123456789",
        "github_pat_"
        "01234567890123456789",
        "glpat-"
        "0123456789abcdef",
        "xoxb-"
        "0123456789-abcdef",
        "AIza"
        "012345678901234567890123456789",
        "hf_"
        "012345678901234567890123456789",
        "npm_"
        "012345678901234567890123456789",
        "AGE-SECRET-KEY-1"
        "0123456789ABCDEFGHIJ",
        "Authorization: Bearer eyJhbGciOi"
        "JSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        "eyJ0eXAiOi"
        "JKV1QiLCJhbGciOiJIUzI1NiJ9.e30.c2ln",
        "sk-"
        "0123456789012345678901234567890123456789",
        "SG."
        "0123456789012345678901.0123456789012345678901234",
        "pypi-"
        "AgEIcHlwaS5vcmcCJDAxMjM0NTY3ODkwMTIzNDU2Nzg5",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        if (!in_text(texts[i]))
            fail_msg("%zu: %s is not known", i, texts[i]);
}

/* (in two parts, as above) */
static void secrets_are_known_by_what_they_are_called(void **state)
{
    static const char *const texts[] = {
        "char *pass"
        "word = \"hunter2-prod\";",
        "aws_sec"
        "ret_access_key = \"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLE\"",
        "{\"pass"
        "wd\": \"hunter2\"}",
        "API_"
        "KEY='abcdef0123'",
        "'api-"
        "key' => 'abcdef0123'",
        "client_sec"
        "ret := `abcdef0123`",
        "db_pass"
        "word: hunter2-prod\n",
        "pass"
        "word=hunter2-prod",
        "pass"
        "word = hunter2-prod\r\n",
        "export DB_PASS"
        "WORD=hunterprod\nx",
        "TOK"
        "EN=abcdef0123 # of production\n",
        "DefaultEndpointsProtocol=https;Account"
        "Key=abcdefghij==",
        "postgres:/"
        "/admin:hunter2@db.example.org/x",
        "redis:/"
        "/:hunter2@localhost",
        "Authori"
        "zation: Basic YWRtaW46aHVudGVyMg==",
        "\"Authori"
        "zation\": \"Bearer abcdef0123456789\"",
        "apiVersion: v1\nki"
        "nd: Secret\ndata:\n",
        "{\"ki"
        "nd\": \"Secret\"}",
        "https://hooks.sl"
        "ack.com/services/T00000000/B0000000/XXXX",
        "sk-"
        "0123456789abcdefghij",
        "SG."
        "0123456789012345678901.012345678901",
        "eyJ"
        "hIjoxfQ.eyJ"
        "zdWIiOiIxIn0.c2ln",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        if (!in_text(texts[i]))
            fail_msg("%zu: %s is not known", i, texts[i]);
}

static void a_path_may_hold_one_too(void **state)
{
    (void)state;
    assert_true(secrets_in_path("a/gh"
                                "p_012345678901234567890123456789.h"));
    assert_true(secrets_in_path("a/gh"
                                "p_012345678901234567890123456789/b.h"));
    assert_true(secrets_in_path("a/.env"));
    assert_false(secrets_in_path("a/b.h"));
}

static void what_only_looks_a_little_like_one_is_free(void **state)
{
    static const char *const texts[] = {
        "",
        "-",
        "-----BEGIN ",
        "-----BEGIN CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----",
        "a PRIVATE KEY",
        "sk-ant-",
        "sk-ant- 12345678",
        "\"sk-ant-\" is how they begin",
        "AKIA",
        "AKIA IOSFODNN7EXAMPLE",
        "ghp_short",
        "hf_hub_download(repo)",
        "eyJ",
        "task-lists-are-free",
        "int sk; sk-1;",
        "const char *pass"
        "word = json_get_str(j, \"pass"
        "word\");",
        "int token = next_token(s);",
        "pass"
        "word = pass"
        "word;",
        "token: string;",
        "secret: boolean",
        "max_tokens: 409600",
        "TOKEN_TIMEOUT=300000",
        "TOKEN=$(cat file)",
        "PASSWORD=${DB_PASSWORD}",
        "if (token == \"something\")",
        "password: \"${DB_PASSWORD}\"",
        "token = \"%s-%s-%s\"",
        "password = \"\"",
        "the password: it is asked for\n",
        "https://example.org/a:b@c",
        "http://[::1]:8080/",
        "https://user@example.org",
        "\"%s://%s:%s@%s\"",
        "Authorization: Bearer %s",
        "Authorization: bearer authentication",
        "kind: SecretList",
        "kind: ConfigMap",
        "https://hooks.slack.com/services/",
        "a task-list-of-many-things-2-do",
        "sk-circle-fade-dot-animation",
        "eyJ.eyJ",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        if (in_text(texts[i]))
            fail_msg("\"%s\" is taken for a secret", texts[i]);
}

/* Wherever it stands, and whatever is around it; one that is cut off by the
 * text's end is none, and nothing behind that end is read. */
static void a_token_is_found_anywhere(void **state)
{
    static const char token[] = "AKIA"
                                "IOSFODNN7EXAMPLE";
    const size_t n = sizeof(token) - 1, size = 70000;
    own_mem char *text = mem_zero(size, 1);

    (void)state;
    for (size_t i = 0; i < size; i++)
        text[i] = (char)(i * 37 % 256 == 'A' ? 0 : i * 37);
    assert_false(secrets_in_text(text, size));
    for (size_t at = 0; at + n <= size; at += 6999) {
        own_mem char *copy = malloc(at + n);

        memcpy(copy, text, at);
        memcpy(copy + at, token, n);
        assert_true(secrets_in_text(copy, at + n));
        assert_false(secrets_in_text(copy, at + n - 1));
    }
}

/* Many beginnings and no end. (No more of them: TSan looks at all that follows
 * for each.) */
static void beginnings_alone_are_none(void **state)
{
    static const char begin[] = "-----BEGIN ";
    const size_t n = sizeof(begin) - 1, count = 10000;
    own_mem char *text = mem_zero(n * count, 1);

    (void)state;
    for (size_t i = 0; i < count; i++)
        memcpy(text + n * i, begin, n);
    assert_false(secrets_in_text(text, n * count));
    for (size_t i = 0; i + 7 <= n * count; i += 7)
        memcpy(text + i, "sk-ant-", 7);
    assert_true(secrets_in_text(text, n * count)); /* "sk-ant-sk-ant-" */
}

/* What begins again and again costs no more than it is long. */
static void many_words_and_no_value_are_looked_at_once(void **state)
{
    static const char *const words[] = {
        "password", "eyJ", "://a:", "sk-", "kind ", "authorization:"};
    const size_t size = 1 << 20;
    own_mem char *text = mem_zero(size, 1);

    (void)state;
    for (size_t i = 0; i < COUNT(words); i++) {
        const size_t n = strlen(words[i]);
        clock_t start = clock();

        for (size_t at = 0; at + n <= size; at += n)
            memcpy(text + at, words[i], n);
        assert_false(secrets_in_text(text, size / n * n));
        if (clock() - start > 10 * CLOCKS_PER_SEC) /* 2^40 steps are hours */
            fail_msg("%s", words[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_secret_files_are_known),
        cmocka_unit_test(all_in_a_directory_of_secrets_is_one),
        cmocka_unit_test(other_names_are_free),
        cmocka_unit_test(hostile_names_hide_nothing),
        cmocka_unit_test(tokens_are_known_by_their_form),
        cmocka_unit_test(secrets_are_known_by_what_they_are_called),
        cmocka_unit_test(a_path_may_hold_one_too),
        cmocka_unit_test(what_only_looks_a_little_like_one_is_free),
        cmocka_unit_test(a_token_is_found_anywhere),
        cmocka_unit_test(beginnings_alone_are_none),
        cmocka_unit_test(many_words_and_no_value_are_looked_at_once),
    };

    setlocale(LC_CTYPE, "C.UTF-8"); /* as main does: fnmatch asks it */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
