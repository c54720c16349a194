#include "controller/negotiate.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

/* Weights are thousandths. */
#define Q_MAX 1000
#define Q_LEAST 1 /* identity that is not named: before nothing at all */
#define Q_NONE (-1)

static const char *const names[CODING_COUNT] = {
    [CODING_GZIP] = "gzip",
    [CODING_BR] = "br",
};

const char *negotiate_name(enum coding c)
{
    return names[c];
}

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \t");
}

/* "0.75", "1", "1.000" -> thousandths and what follows; NULL: it is none. */
static const char *take_weight(const char *at, int *q)
{
    int value = (at[0] - '0') * Q_MAX, unit = Q_MAX / 10;

    if (at[0] != '0' && at[0] != '1')
        return NULL;
    at++;
    if (*at == '.')
        for (at++; *at >= '0' && *at <= '9'; at++, unit /= 10) {
            if (unit == 0)
                return NULL; /* a fourth digit */
            value += (*at - '0') * unit;
        }
    if (value > Q_MAX)
        return NULL;
    *q = value;
    return at;
}

/* ";q=0.5", or nothing, up to the element's end. -1: it is not understood. */
static int weight_of(const char *at, const char *end)
{
    int q = Q_MAX;

    at = skip_blanks(at);
    if (at >= end)
        return q;
    if (*at != ';')
        return Q_NONE;
    at = skip_blanks(at + 1);
    if ((*at != 'q' && *at != 'Q') || at[1] != '=')
        return Q_NONE;
    at = take_weight(at + 2, &q);
    return at && skip_blanks(at) >= end ? q : Q_NONE;
}

/* Which of ours is it, CODING_COUNT for "*", -1 for another? */
static int coding_of(const char *name, size_t len)
{
    static const struct {
        const char *name;
        int coding;
    } known[] = {
        {"identity", CODING_IDENTITY}, {"gzip", CODING_GZIP},
        {"x-gzip", CODING_GZIP},       {"br", CODING_BR},
        {"*", CODING_COUNT},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].name) == len &&
            strncasecmp(known[i].name, name, len) == 0)
            return known[i].coding;
    return -1;
}

/* q[CODING_COUNT] is that of "*". One named twice counts by its lower weight:
 * what is refused anywhere is not sent. */
static void read_weights(const char *accept, int q[CODING_COUNT + 1])
{
    for (int i = 0; i <= CODING_COUNT; i++)
        q[i] = Q_NONE;
    for (const char *at = accept; at && *at;) {
        const char *name = skip_blanks(at), *end = at + strcspn(at, ",");
        const size_t len = strcspn(name, " \t;,");
        const int coding = coding_of(name, len);
        const int weight = weight_of(name + len, end);

        if (coding >= 0 && weight >= 0 &&
            (q[coding] == Q_NONE || weight < q[coding]))
            q[coding] = weight;
        at = end + (*end == ',');
    }
}

int negotiate_coding(const char *accept, const int64_t sizes[CODING_COUNT])
{
    int q[CODING_COUNT + 1], best = -1;

    read_weights(accept, q);
    for (int i = 0; i < CODING_COUNT; i++) {
        if (q[i] == Q_NONE)
            q[i] = q[CODING_COUNT];
        if (q[i] == Q_NONE)
            q[i] = i == CODING_IDENTITY ? Q_LEAST : 0;
        if (sizes[i] < 0 || q[i] == 0)
            continue;
        if (best < 0 || q[i] > q[best] ||
            (q[i] == q[best] && sizes[i] < sizes[best]))
            best = i;
    }
    return best;
}

/* The tag in quotes at `at`: its length with them, 0 = there is none. */
static size_t tag_len(const char *at)
{
    size_t len = 1;

    if (at[0] != '"')
        return 0;
    while ((unsigned char)at[len] > ' ' && at[len] != '"' && at[len] != 0x7f)
        len++;
    return at[len] == '"' ? len + 1 : 0;
}

bool negotiate_has(const char *header, const char *etag)
{
    const char *at = header ? skip_blanks(header) : "";

    if (at[0] == '*')
        return *skip_blanks(at + 1) == '\0';
    while (*at) {
        size_t len;

        at += strspn(at, " \t,");
        if (strncmp(at, "W/", 2) == 0) /* compared weakly: 13.1.2 */
            at += 2;
        len = tag_len(at);
        if (len == strlen(etag) && memcmp(at, etag, len) == 0)
            return true;
        at = skip_blanks(at + len);
        if (len == 0 || (*at && *at != ','))
            return false;
    }
    return false;
}
