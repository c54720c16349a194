#include "tests/lib/onesession.h"

struct stack *stack;
struct stack_session ann;
struct direct agent;

int onesession_setup(void **state)
{
    struct stack_bundle b;

    (void)state;
    stack = stack_new(NULL);
    stack_pack(stack, "one", "sleep 1000", &b);
    stack_create(stack, "ann", &b, ",\"viewers\":[\"vic\"]", &ann);
    json_free(stack_wait(stack, "ann", ann.sid, "running", 10000));
    direct_find(stack, ann.sid, &agent);
    return 0;
}

int onesession_teardown(void **state)
{
    (void)state;
    stack_session_fini(&ann);
    stack_free(stack);
    return 0;
}
