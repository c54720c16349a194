#include "sample-cli/secrets.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* No look at one place goes farther than this, so that text which begins one
 * thing again and again costs no more than other text. */
#define LOOK_MAX 256
#define VALUE_MIN 6 /* characters of a literal */

/* The text from where something was found. */
struct at {
    const char *p, *end;
};

typedef bool token_test(const char *token, size_t len);

static bool has_digit(const char *token, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (isdigit((unsigned char)token[i]))
            return true;
    return false;
}

static bool has_letter(const char *token, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (isalpha((unsigned char)token[i]))
            return true;
    return false;
}

/* The second part of a JWT is an object, too. */
static bool has_claims(const char *token, size_t len)
{
    return memmem(token, len, ".eyJ", 4) != NULL;
}

struct form {
    const char *begins;
    size_t more; /* characters of a token that follow at least */
    token_test *test;
    bool is_word; /* no letter or digit stands before it */
};

static const struct form forms[] = {
    {"sk-ant-", 8, NULL, false},
    {"sk-proj-", 16, NULL, false},
    {"AKIA", 16, NULL, false},
    {"ASIA", 16, NULL, false},
    {"ghp_", 30, NULL, false},
    {"gho_", 30, NULL, false},
    {"ghs_", 30, NULL, false},
    {"ghu_", 30, NULL, false},
    {"ghr_", 30, NULL, false},
    {"github_pat_", 20, NULL, false},
    {"glpat-", 16, NULL, false},
    {"xoxa-", 16, NULL, false},
    {"xoxb-", 16, NULL, false},
    {"xoxp-", 16, NULL, false},
    {"xoxr-", 16, NULL, false},
    {"xapp-", 16, NULL, false},
    {"AIza", 30, NULL, false},
    {"ya29.", 20, NULL, false},
    {"npm_", 30, NULL, false},
    {"sk_live_", 16, NULL, false},
    {"rk_live_", 16, NULL, false},
    {"hf_", 30, NULL, false},
    {"AGE-SECRET-KEY-1", 20, NULL, false},
    {"sk-", 20, has_digit, true},
    {"SG.", 30, NULL, true},
    {"pypi-", 40, NULL, false},
    {"hooks.slack.com/services/T", 8, NULL, false},
    {"eyJhbGciOi", 20, NULL, false}, /* JWTs: {"alg": ... */
    {"eyJ0eXAiOi", 20, NULL, false}, /* {"typ": ... */
    {"eyJraWQiOi", 20, NULL, false}, /* {"kid": ... */
    {"eyJ", 12, has_claims, false},
};

/* What a literal is called: one of these, anywhere in its name. */
static const char *const names[] = {
    "password",    "passwd",     "passphrase", "secret",
    "token",       "api_key",    "api-key",    "apikey",
    "access_key",  "accesskey",  "auth_key",   "private_key",
    "private-key", "privatekey", "credential", "accountkey",
};

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_quote(char c)
{
    return c == '"' || c == '\'' || c == '`';
}

static bool is_token(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.';
}

static size_t token_len(const char *text, size_t len)
{
    size_t n = 0;

    while (n < len && is_token(text[n]))
        n++;
    return n;
}

static bool at_take(struct at *a, char c)
{
    if (a->p == a->end || *a->p != c)
        return false;
    a->p++;
    return true;
}

static bool at_quote(struct at *a)
{
    bool is_one = a->p < a->end && is_quote(*a->p);

    a->p += is_one;
    return is_one;
}

static bool at_blanks(struct at *a)
{
    const char *start = a->p;

    while (a->p < a->end && is_blank(*a->p))
        a->p++;
    return a->p > start;
}

static bool at_word(struct at *a, const char *word)
{
    size_t n = strlen(word);

    if ((size_t)(a->end - a->p) < n || strncasecmp(a->p, word, n) != 0)
        return false;
    a->p += n;
    return true;
}

/* --- tokens --- */

/* A run that is no token has none farther on in it: it is looked at once. */
static bool text_has_form(const struct form *f, const char *text, size_t len)
{
    const char *end = text + len, *at = text;
    const size_t n = strlen(f->begins);

    while ((at = memmem(at, (size_t)(end - at), f->begins, n))) {
        bool is_inside =
            f->is_word && at > text && isalnum((unsigned char)at[-1]);
        size_t more;

        at += n;
        if (is_inside)
            continue;
        more = token_len(at, (size_t)(end - at));
        if (more >= f->more && (!f->test || f->test(at, more)))
            return true;
        at += more;
    }
    return false;
}

/* "-----BEGIN RSA PRIVATE KEY-----" and its relatives */
static bool text_has_key(const char *text, size_t len)
{
    const char *end = text + len, *at = text;

    while ((at = memmem(at, (size_t)(end - at), "-----BEGIN ", 11))) {
        size_t left = (size_t)(end - at);

        if (memmem(at, left < 64 ? left : 64, "PRIVATE KEY", 11))
            return true;
        at += 11;
    }
    return false;
}

/* --- what stands after a name --- */

/* In quotes: no blanks, and nothing that is put in later. */
static bool at_is_quoted_value(struct at a)
{
    const char quote = a.p[-1], *start = a.p;

    while (a.p<a.end && * a.p> ' ' && *a.p != quote &&
           !memchr("$%{}<>()", *a.p, 8))
        a.p++;
    return a.p - start >= VALUE_MIN && (a.p == a.end || *a.p == quote);
}

/* Without quotes: all of the line, but for a comment. is_tight: nothing stood
 * between the '=' and it, as in a shell. Else it may be a type's name, or
 * words, and has both letters and digits. */
static bool at_is_bare_value(struct at a, bool is_tight)
{
    const char *start = a.p;
    size_t len;

    while (a.p < a.end && (is_token(*a.p) || memchr("/+=!@#^&*~:", *a.p, 11)))
        a.p++;
    len = (size_t)(a.p - start);
    if (len < VALUE_MIN || !has_letter(start, len) ||
        (!is_tight && !has_digit(start, len)))
        return false;
    if (a.p == a.end || *a.p == '\n' || *a.p == '\r')
        return true;
    return at_blanks(&a) && a.p < a.end && (*a.p == '#' || *a.p == '\n');
}

/* Behind "...password": the rest of the name, "=", ":", ":=" or "=>", and a
 * value that stands there. */
static bool at_is_assigned(struct at a)
{
    bool is_equals, is_apart;

    while (a.p < a.end &&
           (is_token(*a.p) || is_quote(*a.p) || *a.p == '[' || *a.p == ']'))
        a.p++;
    is_apart = at_blanks(&a);
    is_equals = at_take(&a, '=');
    if (!is_equals && !at_take(&a, ':'))
        return false;
    if (at_take(&a, is_equals ? '>' : '='))
        is_equals = false;
    if (at_blanks(&a))
        is_apart = true;
    if (at_quote(&a))
        return at_is_quoted_value(a);
    return at_is_bare_value(a, is_equals && !is_apart);
}

static bool at_is_named(struct at a)
{
    for (size_t i = 0; i < COUNT(names); i++) {
        struct at after = a;

        if (at_word(&after, names[i]) && at_is_assigned(after))
            return true;
    }
    return false;
}

/* "Authorization: Basic YWRt", in a program's quotes or not. */
static bool at_is_authorization(struct at a)
{
    const char *start;

    if (!at_word(&a, "authorization"))
        return false;
    while (a.p < a.end && (is_blank(*a.p) || memchr("\"':=,", *a.p, 5)))
        a.p++;
    if ((!at_word(&a, "basic") && !at_word(&a, "bearer") &&
         !at_word(&a, "token")) ||
        !at_blanks(&a))
        return false;
    start = a.p;
    while (a.p < a.end && (is_token(*a.p) || memchr("/+=", *a.p, 3)))
        a.p++;
    /* or it is a word of a sentence */
    return a.p - start >= 8 && has_digit(start, (size_t)(a.p - start));
}

/* A manifest of Kubernetes: "kind: Secret" */
static bool at_is_manifest(struct at a)
{
    if (!at_word(&a, "kind"))
        return false;
    (void)at_quote(&a);
    (void)at_blanks(&a);
    if (!at_take(&a, ':'))
        return false;
    (void)at_blanks(&a);
    (void)at_quote(&a);
    return at_word(&a, "Secret") && (a.p == a.end || !is_token(*a.p));
}

/* Of "scheme://user:password@host" what is behind the colon. */
static bool at_is_login(struct at a)
{
    static const char ends[] = "/?#\"'`<>{}$%()\\ \t\r\n";
    const char *colon = NULL;

    if (!at_word(&a, "://"))
        return false;
    for (; a.p < a.end && *a.p && !strchr(ends, *a.p); a.p++) {
        if (*a.p == '@')
            return colon && a.p - colon > 1;
        if (*a.p == ':' && !colon)
            colon = a.p;
    }
    return false;
}

static bool at_is_secret(struct at a)
{
    switch (*a.p) {
    case ':':
        return at_is_login(a);
    case 'k':
    case 'K':
        return at_is_manifest(a);
    case 'a':
    case 'A':
        return at_is_authorization(a) || at_is_named(a);
    case 'p':
    case 'P':
    case 's':
    case 'S':
    case 't':
    case 'T':
    case 'c':
    case 'C':
        return at_is_named(a);
    default:
        return false;
    }
}

bool secrets_in_text(const char *text, size_t len)
{
    if (text_has_key(text, len))
        return true;
    for (size_t i = 0; i < COUNT(forms); i++)
        if (text_has_form(&forms[i], text, len))
            return true;
    for (size_t i = 0; i < len; i++) {
        size_t left = len - i;
        struct at a = {text + i,
                       text + i + (left < LOOK_MAX ? left : LOOK_MAX)};

        if (at_is_secret(a))
            return true;
    }
    return false;
}
