#include "tests/lib/clustertalk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

void clustertalk_begin(struct clustertalk *t, struct clusterbed *b,
                       const char *who, const struct stack_bundle *bundle,
                       const char *more, const char *text)
{
    memset(t, 0, sizeof *t);
    t->bed = b;
    buf_init(&t->said, CLUSTERTALK_SAID_MAX);
    stack_create(&b->stack, who, bundle, more, &t->ss);
    clusterbed_attach(b, &t->link, &t->ss, 0);
    clustertalk_expect(t, text);
}

void clustertalk_expect(struct clustertalk *t, const char *text)
{
    clusterbed_expect(t->bed, &t->link, &t->said, text);
}

void clustertalk_type(struct clustertalk *t, const char *line)
{
    stack_type(&t->link, t->typed, line, strlen(line));
    t->typed += strlen(line);
}

void clustertalk_again(struct clustertalk *t)
{
    int64_t from = (int64_t)t->link.output;

    stack_cut(&t->link);
    clusterbed_attach(t->bed, &t->link, &t->ss, from);
}

void clustertalk_delete(struct clustertalk *t)
{
    assert_int_equal(stack_delete(&t->bed->stack, t->ss.who, t->ss.sid), 202);
    clustertalk_expect(t, NULL);
    assert_string_equal(t->link.reason, "deleted");
    stack_cut(&t->link);
}

void clustertalk_fini(struct clustertalk *t)
{
    stack_cut(&t->link);
    stack_session_fini(&t->ss);
    buf_fini(&t->said);
}
