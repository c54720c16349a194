#include "base/http_head.h"

#include <string.h>
#include <strings.h>

static bool is_token_char(char c)
{
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
        (c >= 'A' && c <= 'Z'))
        return true;
    return c && strchr("!#$%&'*+-.^_`|~", c);
}

bool http_text_is(struct http_text t, const char *word)
{
    return t.at && t.len == strlen(word) && strncasecmp(t.at, word, t.len) == 0;
}

bool http_text_is_token(struct http_text t)
{
    for (size_t i = 0; i < t.len; i++)
        if (!is_token_char(t.at[i]))
            return false;
    return t.len > 0;
}

bool http_text_is_visible(struct http_text t)
{
    for (size_t i = 0; i < t.len; i++)
        if (t.at[i] < 0x21 || t.at[i] > 0x7e)
            return false;
    return t.len > 0;
}

static struct http_text text_trim(struct http_text t)
{
    while (t.len && (t.at[0] == ' ' || t.at[0] == '\t')) {
        t.at++;
        t.len--;
    }
    while (t.len && (t.at[t.len - 1] == ' ' || t.at[t.len - 1] == '\t'))
        t.len--;
    return t;
}

long http_head_end(const char *bytes, size_t len, size_t *seen)
{
    size_t i = *seen;

    for (; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];

        if (i >= 1 && bytes[i - 1] == '\r' && c != '\n')
            return -1;
        if (c == '\n' && (i == 0 || bytes[i - 1] != '\r'))
            return -1;
        if ((c < 0x20 && c != '\t' && c != '\r' && c != '\n') || c == 0x7f)
            return -1;
        if (c == '\n' && i >= 3 && bytes[i - 2] == '\n') {
            *seen = i + 1;
            return (long)(i + 1);
        }
    }
    *seen = i;
    return 0;
}

/* http_head_end has seen that each has its CRLF. */
bool http_line_take(struct http_text *rest, struct http_text *line)
{
    const char *end = memchr(rest->at, '\r', rest->len);
    size_t len;

    if (!end)
        return false;
    len = (size_t)(end - rest->at);
    if (rest->len < len + 2 || end[1] != '\n')
        return false;
    *line = (struct http_text){rest->at, len};
    rest->at += len + 2;
    rest->len -= len + 2;
    return true;
}

int http_field_take(struct http_text line, struct http_text *name,
                    struct http_text *value)
{
    const char *colon = memchr(line.at, ':', line.len);

    if (!colon)
        return -1;
    *name = (struct http_text){line.at, (size_t)(colon - line.at)};
    *value = text_trim((struct http_text){colon + 1, line.len - name->len - 1});
    /* also refuses folding: a space is no token */
    return http_text_is_token(*name) ? 0 : -1;
}

int http_list_has(struct http_text list, const char *word, bool exact)
{
    int found = 0;

    for (;;) {
        const char *comma = memchr(list.at, ',', list.len);
        size_t len = comma ? (size_t)(comma - list.at) : list.len;
        struct http_text item = text_trim((struct http_text){list.at, len});

        if (!http_text_is_token(item))
            return -1;
        if (http_text_is(item, word) &&
            (!exact || memcmp(item.at, word, item.len) == 0))
            found = 1;
        if (!comma)
            return found;
        list.at += len + 1;
        list.len -= len + 1;
    }
}
