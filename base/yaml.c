#include "base/yaml.h"

#include "base/json_scan.h"
#include "base/mem.h"
#include "base/own.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define INT_CHARS_MAX 17 /* a sign and the 16 digits of 2^53 */

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the last one read */
    bool has_event;
    int depth, nodes;
    struct err *e;
};

static int refuse(const struct reader *r, const char *what)
{
    return err_set(r->e, ERR_INPUT, "line %zu: %s",
                   r->event.start_mark.line + 1, what);
}

static int next(struct reader *r)
{
    if (r->has_event)
        yaml_event_delete(&r->event);
    r->has_event = yaml_parser_parse(&r->parser, &r->event);
    if (r->has_event)
        return 0;
    return err_set(r->e, ERR_INPUT, "line %zu: %.120s",
                   r->parser.problem_mark.line + 1,
                   r->parser.problem ? r->parser.problem : "no YAML");
}

static int skip(struct reader *r, int count)
{
    while (count-- > 0)
        if (next(r) < 0)
            return -1;
    return 0;
}

/* --- scalars --- */

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(text, *words) == 0)
            return true;
    return false;
}

static bool is_spelled(const char *text, const char *digits)
{
    return *text && text[strspn(text, digits)] == '\0';
}

static int put_int(struct reader *r, struct json *to, const char *at,
                   const char *text)
{
    const char *digits = text + (*text == '-' || *text == '+');
    const int base = digits[0] == '0' && digits[1] ? 8 : 10;
    long long value;

    if (base == 8 && !is_spelled(digits, "01234567"))
        return refuse(r, "a number with a 0 in front");
    errno = 0;
    value = strtoll(text, NULL, base);
    if (strlen(digits) >= INT_CHARS_MAX || errno || value > 1LL << 52 ||
        value < -(1LL << 52))
        return refuse(r, "a number out of range");
    json_set_int(to, at, value);
    return 0;
}

static int put_num(struct reader *r, struct json *to, const char *at,
                   const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (*end || strlen(text) > JSON_NUMBER_MAX || value > 1e300 ||
        value < -1e300)
        return refuse(r, "a number that cannot be read: quote it if it is "
                         "none");
    json_set_num(to, at, value);
    return 0;
}

/* Does it begin as a number of any YAML does? */
static bool is_numeric(const char *text)
{
    text += *text == '-' || *text == '+';
    text += *text == '.';
    return *text >= '0' && *text <= '9';
}

/* 0x10, 0o7, 0b1, 1_000, 12:30 (a number to the base 60, once). */
static bool is_torn_number(const char *text)
{
    const char *digits = text + (*text == '-' || *text == '+');

    if (digits[0] == '0' && digits[1] && strchr("xXoObB", digits[1]))
        return is_spelled(digits + 2, "0123456789abcdefABCDEF_");
    return strpbrk(digits, "_:") && is_spelled(digits, "0123456789_:.");
}

/* "1.2.3", "10m", "4Gi", "2024-01-01x", "::1": strings to all. */
static bool is_word(const char *text)
{
    return !is_spelled(text, "0123456789+-._eE") ||
           strchr(text, '.') != strrchr(text, '.');
}

static int put_plain(struct reader *r, struct json *to, const char *at,
                     const char *text)
{
    static const char *const null[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const truth[] = {"true", "True", "TRUE", NULL};
    static const char *const lie[] = {"false", "False", "FALSE", NULL};
    static const char *const torn[] = {
        "y",     "Y",    "n",    "N",     "yes",   "Yes",   "YES",   "no",
        "No",    "NO",   "on",   "On",    "ON",    "off",   "Off",   "OFF",
        ".inf",  ".Inf", ".INF", "-.inf", "-.Inf", "-.INF", "+.inf", "+.Inf",
        "+.INF", ".nan", ".NaN", ".NAN",  "<<",    "=",     NULL};

    if (is_one_of(text, torn))
        return refuse(r, "a word that YAML's versions read differently: "
                         "quote it, or write true or false");
    if (is_one_of(text, null))
        json_set_null(to, at);
    else if (is_one_of(text, truth) || is_one_of(text, lie))
        json_set_bool(to, at, is_one_of(text, truth));
    else if (!is_numeric(text))
        json_set_str(to, at, text);
    else if (is_spelled(text + (*text == '-' || *text == '+'), "0123456789"))
        return put_int(r, to, at, text);
    else if (is_torn_number(text))
        return refuse(r, "a number that YAML's versions read differently: "
                         "quote it, or write it in decimal");
    else if (is_word(text))
        json_set_str(to, at, text);
    else
        return put_num(r, to, at, text);
    return 0;
}

static int put_scalar(struct reader *r, struct json *to, const char *at)
{
    const char *text = (const char *)r->event.data.scalar.value;
    size_t len = r->event.data.scalar.length;

    if (memchr(text, '\0', len))
        return refuse(r, "a zero byte");
    if (r->event.data.scalar.plain_implicit)
        return put_plain(r, to, at, text);
    json_set_strn(to, at, text, len);
    return 0;
}

/* --- nodes --- */

static int check_node(struct reader *r)
{
    const yaml_event_t *ev = &r->event;
    const bool is_scalar = ev->type == YAML_SCALAR_EVENT;
    const bool is_map = ev->type == YAML_MAPPING_START_EVENT;

    if (ev->type == YAML_ALIAS_EVENT ||
        (is_scalar ? ev->data.scalar.anchor
         : is_map  ? ev->data.mapping_start.anchor
                   : ev->data.sequence_start.anchor))
        return refuse(r, "anchors and aliases are not taken");
    if (is_scalar ? ev->data.scalar.tag
        : is_map  ? ev->data.mapping_start.tag
                  : ev->data.sequence_start.tag)
        return refuse(r, "tags are not taken");
    if (++r->nodes > JSON_NODES_MAX)
        return refuse(r, "too many values");
    return 0;
}

static int put_node(struct reader *r, struct json *to, const char *at);

static int read_mapping(struct reader *r, struct json *map)
{
    while (next(r) == 0) {
        own_mem char *name = NULL;

        if (r->event.type == YAML_MAPPING_END_EVENT)
            return 0;
        if (r->event.type != YAML_SCALAR_EVENT)
            return refuse(r, "a name that is no string");
        if (check_node(r) < 0)
            return -1;
        name = mem_strn((const char *)r->event.data.scalar.value,
                        r->event.data.scalar.length);
        if (strlen(name) != r->event.data.scalar.length)
            return refuse(r, "a zero byte");
        if (strcmp(name, "<<") == 0)
            return refuse(r, "merge keys are not taken");
        if (json_get(map, name))
            return refuse(r, "a name that is twice in its mapping");
        if (next(r) < 0 || put_node(r, map, name) < 0)
            return -1;
    }
    return -1;
}

static int read_sequence(struct reader *r, struct json *list)
{
    while (next(r) == 0) {
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            return 0;
        if (put_node(r, list, NULL) < 0)
            return -1;
    }
    return -1;
}

/* The value that the last event begins. */
static int put_node(struct reader *r, struct json *to, const char *at)
{
    const bool is_map = r->event.type == YAML_MAPPING_START_EVENT;
    struct json *child;
    int result;

    if (check_node(r) < 0)
        return -1;
    if (r->event.type == YAML_SCALAR_EVENT)
        return put_scalar(r, to, at);
    if (r->depth == JSON_DEPTH_MAX)
        return refuse(r, "nested too deeply");
    r->depth++;
    child = json_set(to, at, is_map ? json_object() : json_array());
    result = is_map ? read_mapping(r, child) : read_sequence(r, child);
    r->depth--;
    return result;
}

/* --- the document --- */

static struct json *read_root(struct reader *r)
{
    struct json *root;

    if (skip(r, 2) < 0) /* to the document's start */
        return NULL;
    if (r->event.type == YAML_STREAM_END_EVENT) {
        refuse(r, "nothing is there");
        return NULL;
    }
    if (next(r) < 0)
        return NULL;
    if (r->event.type != YAML_MAPPING_START_EVENT) {
        refuse(r, "not a mapping");
        return NULL;
    }
    if (check_node(r) < 0)
        return NULL;
    r->depth = 1;
    root = json_object();
    if (read_mapping(r, root) == 0 && skip(r, 2) == 0) { /* its end */
        if (r->event.type == YAML_STREAM_END_EVENT)
            return root;
        refuse(r, "a second document");
    }
    json_free(root);
    return NULL;
}

struct json *yaml_parse(const void *text, size_t len, struct err *e)
{
    struct reader r = {.e = e};
    struct json *root;

    if (len > YAML_BYTES_MAX) {
        err_set(e, ERR_INPUT, "more than %d bytes", YAML_BYTES_MAX);
        return NULL;
    }
    if (!yaml_parser_initialize(&r.parser)) {
        err_set(e, ERR_SYSTEM, "out of memory");
        return NULL;
    }
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    /* (it aborts on NULL, which an empty file is) */
    yaml_parser_set_input_string(&r.parser, len ? text : (const void *)"", len);
    root = read_root(&r);
    if (r.has_event)
        yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    return root;
}
