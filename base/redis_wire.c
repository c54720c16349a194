/*
 * The doorway on hiredis: its formatter, and its reader with values of our
 * own behind it. hiredis 1.2 takes any depth and then frees it by recursion,
 * and any number of elements; both are bounded where a value is made.
 */
#include "base/redis_internal.h"

#include "base/mem.h"
#include "base/seal.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#define REDIS_COMMAND_BYTES_MAX (1 << 20)

#if HIREDIS_MAJOR >= 1
typedef size_t redis_count;
#else
typedef int redis_count;
#endif

struct redis_wire {
    redisReader *reader;
    size_t fed, values; /* since the last reply was taken */
};

/* --- values --- */

void redis_reply_free(struct redis_reply *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->count; i++)
        redis_reply_free(r->items[i]); /* REDIS_DEPTH_MAX deep */
    free(r->items);
    free(r->text);
    free(r);
}

static void redis_wire_drop(void *r)
{
    redis_reply_free(r);
}

/* A new value in its place; NULL makes hiredis give up. */
static struct redis_reply *redis_wire_make(const redisReadTask *task,
                                           enum redis_kind kind)
{
    struct redis_reply *in = task->parent ? task->parent->obj : NULL;
    struct redis_wire *w = task->privdata;
    struct redis_reply *r;

    if (++w->values > REDIS_VALUES_MAX)
        return NULL;
    r = mem_zero(1, sizeof(*r));
    r->kind = kind;
    if (in)
        in->items[task->idx] = r;
    return r;
}

static void *redis_wire_text(const redisReadTask *task, char *text, size_t len)
{
    const bool is_error = task->type == REDIS_REPLY_ERROR;
    struct redis_reply *r;

    if (!is_error && task->type != REDIS_REPLY_STRING &&
        task->type != REDIS_REPLY_STATUS)
        return NULL; /* RESP3 */
    r = redis_wire_make(task, is_error ? REDIS_ERROR : REDIS_TEXT);
    if (!r)
        return NULL;
    r->text = mem_strn(text, len);
    r->len = len;
    return r;
}

static void *redis_wire_array(const redisReadTask *task, redis_count count)
{
    struct redis_reply *r;
    int depth = 1;

    for (const redisReadTask *up = task->parent; up; up = up->parent)
        depth++;
    if (depth > REDIS_DEPTH_MAX || (int64_t)count > REDIS_ITEMS_MAX ||
        task->type != REDIS_REPLY_ARRAY)
        return NULL;
    r = redis_wire_make(task, REDIS_ARRAY);
    if (!r)
        return NULL;
    r->count = (size_t)count;
    r->items = mem_zero(r->count + 1, sizeof(struct redis_reply *));
    return r;
}

static void *redis_wire_integer(const redisReadTask *task, long long value)
{
    struct redis_reply *r = redis_wire_make(task, REDIS_INTEGER);

    if (r)
        r->integer = value;
    return r;
}

static void *redis_wire_nil(const redisReadTask *task)
{
    return redis_wire_make(task, REDIS_NIL);
}

#if HIREDIS_MAJOR >= 1
/* RESP3, which we never ask for */
static void *redis_wire_double(const redisReadTask *task, double value,
                               char *text, size_t len)
{
    (void)task;
    (void)value;
    (void)text;
    (void)len;
    return NULL;
}

static void *redis_wire_bool(const redisReadTask *task, int value)
{
    (void)task;
    (void)value;
    return NULL;
}
#endif

static redisReplyObjectFunctions redis_values = {
    .createString = redis_wire_text,
    .createArray = redis_wire_array,
    .createInteger = redis_wire_integer,
    .createNil = redis_wire_nil,
#if HIREDIS_MAJOR >= 1
    .createDouble = redis_wire_double,
    .createBool = redis_wire_bool,
#endif
    .freeObject = redis_wire_drop,
};

/* --- reading --- */

struct redis_wire *redis_wire_new(void)
{
    struct redis_wire *w = mem_zero(1, sizeof(*w));

    w->reader = redisReaderCreateWithFunctions(&redis_values);
    if (!w->reader)
        abort(); /* out of memory */
    w->reader->privdata = w;
    return w;
}

void redis_wire_free(struct redis_wire *w)
{
    if (!w)
        return;
    redisReaderFree(w->reader);
    free(w);
}

int redis_wire_feed(struct redis_wire *w, const void *bytes, size_t len,
                    struct err *e)
{
    if (len > REDIS_REPLY_BYTES_MAX || w->fed > REDIS_REPLY_BYTES_MAX - len)
        return err_set(e, ERR_SYSTEM, "redis: a reply of more than %d bytes",
                       REDIS_REPLY_BYTES_MAX);
    w->fed += len;
    if (redisReaderFeed(w->reader, bytes, len) != REDIS_OK)
        return err_set(e, ERR_SYSTEM, "redis: what came is no reply");
    return 0;
}

int redis_wire_take(struct redis_wire *w, struct redis_reply **out,
                    struct err *e)
{
    void *reply = NULL;

    if (redisReaderGetReply(w->reader, &reply) != REDIS_OK)
        return err_set(e, ERR_SYSTEM, "redis: what came is no reply of ours");
    if (!reply)
        return 0;
    w->values = 0;
    w->fed = w->reader->len - w->reader->pos;
    *out = reply;
    return 1;
}

bool redis_wire_has_more(const struct redis_wire *w)
{
    return w->reader->pos < w->reader->len || w->reader->ridx >= 0;
}

/* --- writing --- */

void redis_arg_bytes(struct redis_cmd *c, const void *bytes, size_t len)
{
    if (c->count >= REDIS_ARGS_MAX)
        abort();
    c->args[c->count] = bytes;
    c->lens[c->count++] = len;
}

void redis_arg(struct redis_cmd *c, const char *text)
{
    redis_arg_bytes(c, text, strlen(text));
}

int redis_wire_put(struct buf *out, const struct redis_cmd *c, struct err *e)
{
    char *text = NULL, **args = (char **)(uintptr_t)c->args;
    const long long len =
        redisFormatCommandArgv(&text, c->count, (const char **)args, c->lens);
    int r = 0;

    if (len < 0)
        abort(); /* out of memory */
    if (len > REDIS_COMMAND_BYTES_MAX || buf_append(out, text, (size_t)len) < 0)
        r = err_set(e, ERR_TOO_LARGE, "redis: a command of %lld bytes", len);
    wipe(text, (size_t)len); /* a password, perhaps */
    redisFreeCommand(text);
    return r;
}
