#include "base/json.h"

#include "base/json_scan.h"
#include "base/mem.h"
#include "base/own.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSON_INT_MAX 9007199254740991.0   /* 2^53 - 1 */
#define JSON_TEXT_MAX ((size_t)256 << 20) /* bytes of our own texts */
#define JSON_SHOWN_MAX 64                 /* bytes of a name in an error */

/* `struct json` is cJSON under another name, so that nobody else sees it. */
static cJSON *raw(const struct json *j)
{
    return (cJSON *)(uintptr_t)j;
}

static struct json *cooked(cJSON *c)
{
    return (struct json *)c;
}

static void *json_must(void *p)
{
    if (!p)
        abort(); /* out of memory */
    return p;
}

/* --- memory --- */

/* Trees hold secrets (a session's environment): whatever cJSON frees, at the
 * end or on a way out in the middle, is wiped. */
static void json_forget(void *p)
{
    if (p)
        explicit_bzero(p, malloc_usable_size(p));
    free(p);
}

__attribute__((constructor)) static void json_hooks(void)
{
    cJSON_InitHooks(
        &(cJSON_Hooks){.malloc_fn = malloc, .free_fn = json_forget});
}

/* --- parsing --- */

/* A name for an error text: quoted, escaped, cut. */
static int json_name_fail(struct err *e, const char *what, const char *name)
{
    struct buf b;

    buf_init(&b, 8 * JSON_SHOWN_MAX);
    json_quote(&b, name, strnlen(name, JSON_SHOWN_MAX));
    err_set(e, ERR_INPUT, "JSON: %s %s", what, buf_cstr(&b));
    buf_fini(&b);
    return -1;
}

static int json_name_order(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted, since a text of nothing but names would make pairs by the
 * hundred million. */
static int json_check_names(const cJSON *object, struct err *e)
{
    own_mem const char **names = NULL;
    size_t count = 0, at = 0;

    for (const cJSON *c = object->child; c; c = c->next)
        count++;
    if (count < 2)
        return 0;
    names = mem_zero(count, sizeof(*names));
    for (const cJSON *c = object->child; c; c = c->next)
        names[at++] = c->string;
    qsort(names, count, sizeof(*names), json_name_order);
    for (size_t i = 1; i < count; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            return json_name_fail(e, "duplicate name", names[i]);
    return 0;
}

static int json_check(const cJSON *j, struct err *e)
{
    if (cJSON_IsObject(j) && json_check_names(j, e) < 0)
        return -1;
    if (cJSON_IsObject(j) || cJSON_IsArray(j))
        for (const cJSON *c = j->child; c; c = c->next)
            if (json_check(c, e) < 0)
                return -1;
    return 0;
}

struct json *json_parse(const void *text, size_t len, struct err *e)
{
    struct json *j = json_parse_upto(text, len, JSON_NODES_MAX, e);

    if (!j && e->kind == ERR_TOO_LARGE)
        e->kind = ERR_INPUT;
    return j;
}

struct json *json_parse_upto(const void *text, size_t len, size_t nodes_max,
                             struct err *e)
{
    cJSON *root;

    if (json_scan(text, len, nodes_max, e) < 0)
        return NULL;
    root = cJSON_ParseWithLength(text, len);
    if (!root) {
        err_set(e, ERR_INPUT, "JSON: it cannot be read");
        return NULL;
    }
    if (json_check(root, e) < 0) {
        cJSON_Delete(root);
        return NULL;
    }
    return cooked(root);
}

void json_free(struct json *root)
{
    cJSON_Delete(raw(root));
}

/* --- building --- */

struct json *json_object(void)
{
    return json_must(cJSON_CreateObject());
}

struct json *json_array(void)
{
    return json_must(cJSON_CreateArray());
}

struct json *json_set(struct json *to, const char *at, struct json *child)
{
    json_must(child);
    if (json_is_array(to)) {
        assert(!at);
        cJSON_AddItemToArray(raw(to), raw(child));
        return child;
    }
    assert(json_is_object(to) && at);
    cJSON_DeleteItemFromObjectCaseSensitive(raw(to), at);
    if (!cJSON_AddItemToObject(raw(to), at, raw(child)))
        abort();
    return child;
}

void json_drop(struct json *object, const char *name)
{
    cJSON_DeleteItemFromObjectCaseSensitive(raw(object), name);
}

void json_set_str(struct json *to, const char *at, const char *value)
{
    assert(value);
    json_set(to, at, cooked(cJSON_CreateString(value)));
}

void json_set_strn(struct json *to, const char *at, const char *v, size_t len)
{
    own_mem char *copy = mem_strn(v, len);

    json_set_str(to, at, copy);
}

void json_set_int(struct json *to, const char *at, int64_t value)
{
    assert((double)value >= -JSON_INT_MAX && (double)value <= JSON_INT_MAX);
    json_set_num(to, at, (double)value);
}

void json_set_num(struct json *to, const char *at, double value)
{
    assert(isfinite(value));
    json_set(to, at, cooked(cJSON_CreateNumber(value)));
}

void json_set_bool(struct json *to, const char *at, bool value)
{
    json_set(to, at, cooked(cJSON_CreateBool(value)));
}

void json_set_null(struct json *to, const char *at)
{
    json_set(to, at, cooked(cJSON_CreateNull()));
}

struct json *json_dup(const struct json *j)
{
    cJSON *copy = json_must(cJSON_Duplicate(raw(j), true));

    cJSON_free(copy->string); /* the name belonged to the old place */
    copy->string = NULL;
    return cooked(copy);
}

/* --- reading --- */

bool json_is_object(const struct json *j)
{
    return cJSON_IsObject(raw(j));
}

bool json_is_array(const struct json *j)
{
    return cJSON_IsArray(raw(j));
}

bool json_is_string(const struct json *j)
{
    return cJSON_IsString(raw(j));
}

bool json_is_number(const struct json *j)
{
    return cJSON_IsNumber(raw(j));
}

bool json_is_bool(const struct json *j)
{
    return cJSON_IsBool(raw(j));
}

bool json_is_null(const struct json *j)
{
    return cJSON_IsNull(raw(j));
}

static const cJSON *json_first(const struct json *j)
{
    return json_is_object(j) || json_is_array(j) ? raw(j)->child : NULL;
}

const struct json *json_get(const struct json *object, const char *name)
{
    if (!json_is_object(object))
        return NULL;
    for (cJSON *c = raw(object)->child; c; c = c->next)
        if (strcmp(c->string, name) == 0)
            return cooked(c);
    return NULL;
}

size_t json_count(const struct json *array_or_object)
{
    size_t count = 0;

    for (const cJSON *c = json_first(array_or_object); c; c = c->next)
        count++;
    return count;
}

const struct json *json_at(const struct json *array_or_object, size_t index)
{
    const cJSON *c = json_first(array_or_object);

    while (c && index--)
        c = c->next;
    return (const struct json *)c;
}

const char *json_name(const struct json *member)
{
    return member ? raw(member)->string : NULL;
}

const char *json_str(const struct json *j)
{
    return json_is_string(j) ? raw(j)->valuestring : NULL;
}

int json_int(const struct json *j, int64_t *out)
{
    double v;

    if (!json_is_number(j))
        return -1;
    v = raw(j)->valuedouble;
    if (!(v >= -JSON_INT_MAX && v <= JSON_INT_MAX) || v != trunc(v))
        return -1;
    *out = (int64_t)v;
    return 0;
}

const char *json_get_str(const struct json *object, const char *name)
{
    return json_str(json_get(object, name));
}

bool json_get_is(const struct json *object, const char *name, const char *text)
{
    const char *is = json_get_str(object, name);

    return is && strcmp(is, text) == 0;
}

const struct json *json_find(const struct json *array, const char *name,
                             const char *text)
{
    for (size_t i = 0; i < json_count(array); i++)
        if (json_get_is(json_at(array, i), name, text))
            return json_at(array, i);
    return NULL;
}

int json_get_int(const struct json *object, const char *name, int64_t *out)
{
    return json_int(json_get(object, name), out);
}

int json_get_bool(const struct json *object, const char *name, bool *out)
{
    const struct json *j = json_get(object, name);

    if (!json_is_bool(j))
        return -1;
    *out = cJSON_IsTrue(raw(j));
    return 0;
}

int json_only(const struct json *object, const char *const *names,
              struct err *e)
{
    if (!json_is_object(object))
        return err_set(e, ERR_INPUT, "JSON: an object is expected");
    for (const cJSON *c = raw(object)->child; c; c = c->next) {
        const char *const *n = names;

        while (*n && strcmp(*n, c->string) != 0)
            n++;
        if (!*n)
            return json_name_fail(e, "unknown member", c->string);
    }
    return 0;
}

/* --- text --- */

static int json_quote_ascii(struct buf *b, uint8_t c)
{
    static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";

    for (size_t i = 0; i + 1 < sizeof(shorts); i += 2)
        if ((uint8_t)shorts[i] == c)
            return buf_printf(b, "\\%c", shorts[i + 1]);
    if (c < 0x20 || c == 0x7f)
        return buf_printf(b, "\\u%04x", c);
    return buf_append_u8(b, c);
}

/* One character, n bytes; n 0 = an invalid byte. */
static int json_quote_char(struct buf *b, const uint8_t *p, size_t n)
{
    if (n == 0 || p[0] == 0)
        return buf_append_str(b, "\\ufffd");
    if (n == 1)
        return json_quote_ascii(b, p[0]);
    if (n == 2 && p[0] == 0xc2 && p[1] < 0xa0) /* C1: 8-bit CSI and kin */
        return buf_printf(b, "\\u%04x", p[1]);
    return buf_append(b, p, n);
}

int json_quote(struct buf *b, const char *text, size_t len)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t before = b->len, i = 0;
    int r = buf_append_u8(b, '"');

    while (r == 0 && i < len) {
        size_t n = utf8_step(p + i, len - i);

        r = json_quote_char(b, p + i, n);
        i += n ? n : 1;
    }
    if (r == 0)
        r = buf_append_u8(b, '"');
    if (r < 0)
        b->len = before;
    return r;
}

/* cJSON prints numbers above 10^15 wrongly rounded; ours come back equal. */
static int json_put_number(struct buf *b, double v)
{
    char text[40];

    if (v == trunc(v) && fabs(v) <= JSON_INT_MAX)
        return buf_printf(b, "%" PRId64, (int64_t)v);
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, v);
        if (strtod(text, NULL) >= v && strtod(text, NULL) <= v)
            break;
    }
    return buf_append_str(b, text);
}

static int json_put(struct buf *b, const cJSON *j);

static int json_put_items(struct buf *b, const cJSON *j, bool named)
{
    int r = buf_append_u8(b, named ? '{' : '[');

    for (const cJSON *c = j->child; c && r == 0; c = c->next) {
        if (c != j->child)
            r = buf_append_u8(b, ',');
        if (r == 0 && named)
            r = json_quote(b, c->string, strlen(c->string));
        if (r == 0 && named)
            r = buf_append_u8(b, ':');
        if (r == 0)
            r = json_put(b, c);
    }
    return r < 0 ? r : buf_append_u8(b, named ? '}' : ']');
}

static int json_put(struct buf *b, const cJSON *j)
{
    if (cJSON_IsObject(j) || cJSON_IsArray(j))
        return json_put_items(b, j, cJSON_IsObject(j));
    if (cJSON_IsString(j))
        return json_quote(b, j->valuestring, strlen(j->valuestring));
    if (cJSON_IsNumber(j))
        return json_put_number(b, j->valuedouble);
    if (cJSON_IsBool(j))
        return buf_append_str(b, cJSON_IsTrue(j) ? "true" : "false");
    return buf_append_str(b, "null");
}

int json_append(struct buf *b, const struct json *j)
{
    return json_put(b, raw(j));
}

char *json_text(const struct json *j)
{
    struct buf b;

    buf_init_secret(&b, JSON_TEXT_MAX); /* of a tree that may hold some */
    if (json_put(&b, raw(j)) < 0)
        abort(); /* a text of our own making without end */
    buf_cstr(&b);
    return (char *)b.data; /* the buffer's bytes are now the caller's */
}
