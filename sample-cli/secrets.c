#include "sample-cli/secrets.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

/* Of a path's last part, in lower case. */
static const char *const files[] = {
    ".env",
    ".env.*",
    "*.env",
    ".envrc",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.p8",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "*.ppk",
    "*.gpg",
    "*.asc",
    "*.age",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    "*_rsa",
    "*_ed25519",
    ".netrc",
    "_netrc",
    ".npmrc",
    ".yarnrc*",
    ".pypirc",
    ".pgpass",
    ".my.cnf",
    ".git-credentials",
    ".htpasswd",
    "htpasswd",
    ".dockercfg",
    ".dockerconfigjson",
    "kubeconfig*",
    "*.kubeconfig",
    "*.tfvars",
    "*.tfvars.json",
    "*.tfstate*",
    "credentials",
    "credentials.*",
    "*credentials*.json",
    "service-account*.json",
    "secret",
    "secrets",
    "secret.*",
    "secrets.*",
    "*.secret",
    "*.secrets",
    "password*",
    "passwd*",
    "shadow",
    "*.token",
    "token",
    "vault*.y*ml",
    ".bash_history",
    ".zsh_history",
    ".psql_history",
    "*.ovpn",
};

/* Of any part before the last. */
static const char *const dirs[] = {
    ".ssh",    ".gnupg",  ".aws",    ".azure",   ".kube",
    ".docker", ".gcloud", "secrets", ".secrets", ".password-store",
};

#define COUNT(a) (sizeof(a) / sizeof(*(a)))
#define NAME_MAX_LEN 255

/* One part of a path against patterns; a longer name than any is no match. */
static bool secrets_match(const char *const *patterns, size_t count,
                          const char *part, size_t len)
{
    char name[NAME_MAX_LEN + 1];

    if (len > NAME_MAX_LEN)
        return false;
    for (size_t i = 0; i < len; i++)
        name[i] = (char)tolower((unsigned char)part[i]);
    name[len] = 0;
    for (size_t i = 0; i < count; i++)
        if (fnmatch(patterns[i], name, 0) == 0)
            return true;
    return false;
}

bool secrets_in_name(const char *path)
{
    const char *slash;

    for (; (slash = strchr(path, '/')); path = slash + 1)
        if (secrets_match(dirs, COUNT(dirs), path, (size_t)(slash - path)))
            return true;
    return secrets_match(files, COUNT(files), path, strlen(path));
}

struct form {
    const char *begins;
    size_t more; /* characters of a token that follow at least */
};

static const struct form forms[] = {
    {"sk-ant-", 8},
    {"sk-proj-", 16},
    {"AKIA", 16},
    {"ASIA", 16},
    {"ghp_", 30},
    {"gho_", 30},
    {"ghs_", 30},
    {"github_pat_", 20},
    {"glpat-", 16},
    {"xoxb-", 16},
    {"xoxp-", 16},
    {"xapp-", 16},
    {"AIza", 30},
    {"ya29.", 20},
    {"npm_", 30},
    {"sk_live_", 16},
    {"rk_live_", 16},
    {"hf_", 30},
    {"AGE-SECRET-KEY-1", 20},
    {"ghu_", 30},
    {"ghr_", 30},
    {"xoxa-", 16},
    {"xoxr-", 16},
    {"sk-", 40},
    {"SG.", 40},
    {"pypi-", 40},
    {"eyJhbGciOi", 20}, /* JWTs: {"alg": ... */
    {"eyJ0eXAiOi", 20}, /* {"typ": ... */
    {"eyJraWQiOi", 20}, /* {"kid": ... */
};

static size_t token_len(const char *text, size_t len)
{
    size_t n = 0;

    while (n < len && (isalnum((unsigned char)text[n]) || text[n] == '_' ||
                       text[n] == '-' || text[n] == '.'))
        n++;
    return n;
}

bool secrets_in_text(const char *text, size_t len)
{
    const char *at = text;

    /* "-----BEGIN RSA PRIVATE KEY-----" and its relatives */
    while ((at = memmem(at, len - (size_t)(at - text), "-----BEGIN ", 11))) {
        size_t left = len - (size_t)(at - text);

        if (memmem(at, left < 64 ? left : 64, "PRIVATE KEY", 11))
            return true;
        at += 11;
    }
    for (size_t i = 0; i < COUNT(forms); i++) {
        const size_t n = strlen(forms[i].begins);

        for (at = text;
             (at = memmem(at, len - (size_t)(at - text), forms[i].begins, n));
             at += n)
            if (token_len(at + n, len - (size_t)(at - text) - n) >=
                forms[i].more)
                return true;
    }
    return false;
}
