#include "sample-cli/lang.h"

#include <string.h>
#include <strings.h>

struct known {
    const char *word;
    enum lang lang;
};

static const struct known endings[] = {
    {"c", LANG_C},
    {"h", LANG_C_HEADER},
    {"cc", LANG_CPP},
    {"cpp", LANG_CPP},
    {"cxx", LANG_CPP},
    {"hpp", LANG_CPP},
    {"css", LANG_CSS},
    {"go", LANG_GO},
    {"htm", LANG_HTML},
    {"html", LANG_HTML},
    {"java", LANG_JAVA},
    {"js", LANG_JAVASCRIPT},
    {"mjs", LANG_JAVASCRIPT},
    {"cjs", LANG_JAVASCRIPT},
    {"jsx", LANG_JAVASCRIPT},
    {"json", LANG_JSON},
    {"mk", LANG_MAKE},
    {"md", LANG_MARKDOWN},
    {"markdown", LANG_MARKDOWN},
    {"py", LANG_PYTHON},
    {"rs", LANG_RUST},
    {"sh", LANG_SHELL},
    {"bash", LANG_SHELL},
    {"tf", LANG_TERRAFORM},
    {"toml", LANG_TOML},
    {"ts", LANG_TYPESCRIPT},
    {"tsx", LANG_TYPESCRIPT},
    {"yaml", LANG_YAML},
    {"yml", LANG_YAML},
};

static const struct known names[] = {
    {"Makefile", LANG_MAKE},
    {"GNUmakefile", LANG_MAKE},
    {"makefile", LANG_MAKE},
};

static const struct known interpreters[] = {
    {"sh", LANG_SHELL},       {"bash", LANG_SHELL},
    {"dash", LANG_SHELL},     {"python", LANG_PYTHON},
    {"python3", LANG_PYTHON}, {"node", LANG_JAVASCRIPT},
};

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static const struct known *lang_find(const struct known *table, size_t count,
                                     const char *word, size_t len)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(table[i].word) == len &&
            strncasecmp(table[i].word, word, len) == 0)
            return &table[i];
    return NULL;
}

/* The interpreter of "#!/usr/bin/env -S python3 -x" is python3. */
static enum lang lang_by_interpreter(const char *text, size_t len)
{
    const char *end = memchr(text, '\n', len), *at = text + 2;

    if (len < 2 || text[0] != '#' || text[1] != '!')
        return LANG_TEXT;
    if (!end)
        end = text + len;
    while (at < end) {
        const struct known *k;
        const char *word, *slash;

        while (at < end && (*at == ' ' || *at == '\t'))
            at++;
        word = at;
        while (at < end && *at != ' ' && *at != '\t' && *at != '\r')
            at++;
        slash = memrchr(word, '/', (size_t)(at - word));
        if (slash)
            word = slash + 1;
        k = lang_find(interpreters, COUNT(interpreters), word,
                      (size_t)(at - word));
        if (k)
            return k->lang;
        if (at < end && *at == '\r')
            break;
    }
    return LANG_TEXT;
}

enum lang lang_of(const char *path, const void *bytes, size_t len)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    const struct known *k;

    if (len && memchr(bytes, 0, len < LANG_LOOK_MAX ? len : LANG_LOOK_MAX))
        return LANG_BINARY;
    k = lang_find(names, COUNT(names), name, strlen(name));
    if (!k && dot && dot != name)
        k = lang_find(endings, COUNT(endings), dot + 1, strlen(dot + 1));
    if (k)
        return k->lang;
    return len ? lang_by_interpreter(bytes, len) : LANG_TEXT;
}

const char *lang_name(enum lang lang)
{
    static const char *const all[LANG_COUNT] = {
#define X(id, name) name,
        LANGS(X)
#undef X
    };

    return all[lang];
}
