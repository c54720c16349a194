/*
 * Sessions as Jobs, from POST to their end, on a real cluster: typed input and
 * exit code, images of any kind, refusals, DELETE.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "controller/jobspec.h"
#include "tests/lib/clusterbed.h"
#include "tests/lib/clusterrun.h"
#include "tests/lib/clustertalk.h"
#include "tests/lib/programs.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SAID_MAX (1 << 20)

static struct clusterbed *bed;

static int setup(void **arg)
{
    (void)arg;
    bed = clusterbed_new(NULL, NULL);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    clusterbed_free(bed);
    return 0;
}

/* Type one line to a program that asks for it, and see it end with 7. */
static void talk(struct stack_session *ss)
{
    struct stack_link l = {0};
    struct buf said;

    buf_init(&said, SAID_MAX);
    clusterbed_attach(bed, &l, ss, 0);
    clusterbed_expect(bed, &l, &said, "name?");
    assert_int_equal(clusterbed_count(bed, "secrets", ss->sid), 1);
    stack_type(&l, l.input_acked, "ann\n", 4);
    clusterbed_expect(bed, &l, &said, NULL);
    assert_non_null(strstr(buf_cstr(&said), "hello ann"));
    assert_string_equal(l.reason, "exited");
    assert_int_equal(l.exit_code, 7);
    stack_cut(&l);
    buf_fini(&said);
}

/* Complete, and nothing of its key is left; the Job stays for its TTL. */
static void is_complete(const struct stack_session *ss)
{
    own_json struct json *j =
        stack_wait(&bed->stack, ss->who, ss->sid, "ended", 20000);
    own_json struct json *job = NULL;
    int64_t code = -1;

    assert_string_equal(json_get_str(j, "reason"), "exited");
    assert_int_equal(json_get_int(j, "exit_code", &code), 0);
    assert_int_equal(code, 7);
    assert_string_equal(json_get_str(j, "egress"), "none");
    clusterbed_wait_none(bed, "secrets", ss->sid);
    assert_int_equal(clusterbed_call(bed, "GET", NULL, &job,
                                     "/apis/batch/v1/namespaces/%s/jobs/s-%s",
                                     bed->ns, ss->sid),
                     200);
    assert_null(json_find(json_get(json_get(job, "status"), "conditions"),
                          "type", "Failed"));
}

static void a_session_from_post_to_typed_input_and_exit_code(void **arg)
{
    struct stack_bundle b;
    struct stack_session ss;

    (void)arg;
    clusterbed_pack(bed, "ask",
                    "printf 'name? '; read x; echo hello $x; exit 7", &b);
    stack_create(&bed->stack, "ann", &b, "", &ss);
    talk(&ss);
    is_complete(&ss);
    stack_session_fini(&ss);
}

static void the_sample_bundle_in_the_shipped_image(void **arg)
{
    const char *path = getenv("PODTERM_BUNDLE");
    struct stack_link l = {0};
    struct stack_bundle b;
    struct stack_session ss;
    struct buf said;

    (void)arg;
    if (!path)
        fail_msg("PODTERM_BUNDLE is not set: the sample bundle");
    buf_init(&said, SAID_MAX);
    clusterbed_take(bed, "sample", path, &b);
    stack_create(&bed->stack, "ann", &b, "", &ss);
    clusterbed_attach(bed, &l, &ss, 0);
    clusterbed_expect(bed, &l, &said, NULL);
    assert_string_equal(l.reason, "exited");
    assert_int_equal(l.exit_code, 0);
    assert_non_null(strstr(buf_cstr(&said), "files"));
    stack_cut(&l);
    stack_session_fini(&ss);
    buf_fini(&said);
}

static void a_static_program_in_an_empty_image(void **arg)
{
    own_mem char *source = mem_printf("%s/ask.c", bed->stack.dir);
    own_mem char *program = mem_printf("%s/ask", bed->stack.dir);
    own_mem char *cc =
        mem_printf("musl-gcc -static -O2 -o %s %s", program, source);
    const char *image = getenv("PODTERM_SCRATCH_IMAGE");
    own_mem char *more = mem_printf(",\"image\":\"%s\"", image ? image : "");
    FILE *f = fopen(source, "w");
    struct stack_bundle b;
    struct stack_session ss;

    (void)arg;
    assert_non_null(f);
    fputs("#include <stdio.h>\n"
          "int main(void)\n{\n    char x[80];\n"
          "    printf(\"name? \");\n    fflush(stdout);\n"
          "    if (scanf(\"%79s\", x) == 1)\n"
          "        printf(\"hello %s\\n\", x);\n    return 7;\n}\n",
          f);
    fclose(f);
    assert_int_equal(system(cc), 0);
    clusterbed_pack_file(bed, "static", program, &b);
    stack_create(&bed->stack, "ann", &b, more, &ss);
    talk(&ss);
    is_complete(&ss);
    stack_session_fini(&ss);
}

/* The cluster sees it after the pod's end, in its own time. */
static void wait_failed(const char *sid)
{
    int64_t until = loop_now_ms() + CLUSTERBED_GONE_MS;
    bool is_failed = false;

    while (!is_failed) {
        own_json struct json *job = NULL;
        const struct json *failed;

        assert_int_equal(
            clusterbed_call(bed, "GET", NULL, &job,
                            "/apis/batch/v1/namespaces/%s/jobs/s-%s", bed->ns,
                            sid),
            200);
        failed = json_find(json_get(json_get(job, "status"), "conditions"),
                           "type", "Failed");
        is_failed = failed && json_get_is(failed, "status", "True");
        if (!is_failed && loop_now_ms() > until)
            fail_msg("the Job of %s has not failed", sid);
        poll(NULL, 0, 200);
    }
}

/* The Job fails, and both it and the record say why. */
static void a_refused_bundle_fails_its_job_visibly(void **arg)
{
    own_json struct json *j = NULL, *pod = NULL;
    const struct json *runner;
    struct stack_bundle b;
    struct stack_session ss;
    int64_t code = 0;

    (void)arg;
    clusterbed_pack(bed, "refused", "exit 0", &b);
    b.sha256[0] = b.sha256[0] == '0' ? '1' : '0';
    stack_create(&bed->stack, "ann", &b, "", &ss);
    j = stack_wait(&bed->stack, "ann", ss.sid, "ended", CLUSTERBED_START_MS);
    assert_string_equal(json_get_str(j, "reason"), "bundle_refused");
    assert_non_null(strstr(json_get_str(j, "detail"), "SHA-256"));
    pod = clusterbed_pod(bed, ss.sid);
    assert_string_equal(json_get_str(json_get(pod, "status"), "phase"),
                        "Failed");
    runner = json_at(json_get(json_get(pod, "status"), "containerStatuses"), 0);
    assert_int_equal(
        json_get_int(json_get(json_get(runner, "state"), "terminated"),
                     "exitCode", &code),
        0);
    assert_int_equal(code, 70);
    wait_failed(ss.sid);
    clusterbed_wait_none(bed, "secrets", ss.sid);
    stack_session_fini(&ss);
}

static void a_deleted_session_leaves_no_object(void **arg)
{
    own_json struct json *j = NULL;
    struct stack_bundle b;
    struct clustertalk t;

    (void)arg;
    clusterbed_pack(bed, "sleep", "echo up; sleep 600", &b);
    clustertalk_begin(&t, bed, "ann", &b, "", "up");
    assert_int_equal(clusterbed_count(bed, "jobs", t.ss.sid), 1);
    assert_int_equal(clusterbed_count(bed, "secrets", t.ss.sid), 1);
    clustertalk_delete(&t);
    j = stack_wait(&bed->stack, "ann", t.ss.sid, "ended", 20000);
    assert_string_equal(json_get_str(j, "reason"), "deleted");
    clusterbed_wait_nothing(bed, t.ss.sid);
    clustertalk_fini(&t);
}

/* DELETE before there is a pod. */
static void a_session_deleted_at_once_leaves_no_object(void **arg)
{
    own_json struct json *j = NULL;
    struct stack_bundle b;
    struct stack_session ss;

    (void)arg;
    clusterbed_pack(bed, "never", "sleep 600", &b);
    stack_create(&bed->stack, "ann", &b, "", &ss);
    assert_int_equal(stack_delete(&bed->stack, "ann", ss.sid), 202);
    j = stack_wait(&bed->stack, "ann", ss.sid, "ended", 60000);
    assert_string_equal(json_get_str(j, "reason"), "deleted");
    clusterbed_wait_nothing(bed, ss.sid);
    stack_session_fini(&ss);
}

/* What never will be is told as an end, with the platform's own word. */
static void an_image_that_does_not_exist_ends_the_session_in_words(void **arg)
{
    own_json struct json *j = NULL;
    struct stack_bundle b;
    struct stack_session ss;

    (void)arg;
    clusterbed_pack(bed, "noimage", "exit 0", &b);
    stack_create(&bed->stack, "ann", &b,
                 ",\"image\":\"localhost/Not An Image\"", &ss);
    j = stack_wait(&bed->stack, "ann", ss.sid, "ended", CLUSTERBED_START_MS);
    assert_string_equal(json_get_str(j, "reason"), "start_failed");
    assert_non_null(strstr(json_get_str(j, "detail"), "InvalidImageName"));
    clusterbed_wait_none(bed, "pods", ss.sid);
    stack_session_fini(&ss);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_from_post_to_typed_input_and_exit_code),
        cmocka_unit_test(the_sample_bundle_in_the_shipped_image),
        cmocka_unit_test(a_static_program_in_an_empty_image),
        cmocka_unit_test(a_refused_bundle_fails_its_job_visibly),
        cmocka_unit_test(a_deleted_session_leaves_no_object),
        cmocka_unit_test(a_session_deleted_at_once_leaves_no_object),
        cmocka_unit_test(
            an_image_that_does_not_exist_ends_the_session_in_words),
    };

    return CLUSTERRUN(tests, setup, teardown);
}
