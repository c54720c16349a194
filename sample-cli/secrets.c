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

bool secrets_in_path(const char *path)
{
    return secrets_in_name(path) || secrets_in_text(path, strlen(path));
}
