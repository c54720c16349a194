/*
 * A program's cage in a real pod, whose network is its agent's too: what the
 * kernel holds, and what the session says of it.
 */
#include "base/layer.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/cagejudge.h"
#include "tests/lib/clusterbed.h"
#include "tests/lib/clusterfiles.h"
#include "tests/lib/clusterlog.h"
#include "tests/lib/programs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SAID_MAX (1 << 20)
#define ALL                                                                    \
    (LAYER_NAMESPACES | LAYER_CALLS | LAYER_FILES | LAYER_PORTS | LAYER_SCOPES)

/* As it is without a word; and with a proxy, strictly. */
static struct clusterbed *bed, *strict;
static char *template, *domains;
static const char *strict_flags[] = {
    "--isolation",       "strict", "--egress",       "proxy", "--program-http",
    "--program-domains", NULL,     "--job-template", NULL,    NULL};
static char where[256]; /* HOST:PORT that pods reach */

static int setup(void **arg)
{
    struct stack_bundle any;
    char aliases[256];
    const char *const changes[][2] = {{"      restartPolicy: Never\n", aliases},
                                      {NULL, NULL}};
    const char *colon;

    (void)arg;
    bed = clusterbed_new(NULL, NULL);
    clusterbed_pack(bed, "any", "true", &any);
    assert_int_equal(sscanf(any.url, "http://%255[^/]", where), 1);
    colon = strrchr(where, ':');
    assert_non_null(colon);
    /* a name that the agent's own resolver knows, and no other's */
    snprintf(aliases, sizeof(aliases),
             "      restartPolicy: Never\n"
             "      hostAliases: [{ip: %.*s, hostnames: [web.example, "
             "off.example]}]\n",
             (int)(colon - where), where);
    template = clusterfiles_template(bed, "named", changes);
    domains = mem_printf("web.example:%s", colon + 1);
    strict_flags[6] = domains;
    strict_flags[8] = template;
    strict = clusterbed_new(NULL, strict_flags);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    clusterbed_free(strict);
    clusterbed_free(bed);
    free(template);
    free(domains);
    return 0;
}

/* What a program says from its beginning to its end, and its record then. */
static char *run(struct clusterbed *b, const struct stack_bundle *program,
                 const char *more, struct json **record, char **log)
{
    struct stack_link l = {0};
    struct stack_session ss;
    struct buf said;
    char *text;

    buf_init(&said, SAID_MAX);
    stack_create(&b->stack, "ann", program, more, &ss);
    clusterbed_attach(b, &l, &ss, 0);
    clusterbed_expect(b, &l, &said, NULL);
    if (log)
        *log = clusterlog_agent(b, ss.sid);
    *record = stack_wait(&b->stack, ss.who, ss.sid, "ended", 20000);
    text = mem_str(buf_cstr(&said));
    stack_cut(&l);
    stack_session_fini(&ss);
    buf_fini(&said);
    return text;
}

static char *run_script(struct clusterbed *b, const char *script,
                        struct json **record)
{
    own_mem char *bash = mem_printf("bash <<'EOF'\n%s\nEOF\n", script);
    struct stack_bundle program;

    clusterbed_pack(b, "script", bash, &program);
    return run(b, &program, "", record, NULL);
}

static void says(const char *text, const char *want)
{
    if (!strstr(text, want))
        fail_msg("not \"%s\": %s", want, text);
}

/* The agent was asked, and has answered from what the kernel had. */
static void holds(const struct json *record, int layers, const char *egress)
{
    own_mem char *text = json_text(record);

    if (layer_of_json(json_get(record, "cage")) != layers)
        fail_msg("not %d: %s", layers, text);
    assert_string_equal(json_get_str(record, "egress"), egress);
    assert_string_equal(json_get_str(record, "isolation"), "full");
}

static void without_egress_there_is_no_socket(void **arg)
{
    own_json struct json *record = NULL;
    own_mem char *script =
        mem_printf("for to in %s 127.0.0.1/7440 127.0.0.1/7441; do "
                   "(exec 3<>/dev/tcp/${to/://}) && echo THROUGH; "
                   "(exec 3<>/dev/udp/${to/://}) && echo THROUGH; done; "
                   "sleep 2; echo done",
                   where);
    own_mem char *said = run_script(bed, script, &record);

    (void)arg;
    says(said, "Address family not supported");
    says(said, "done");
    assert_null(strstr(said, "THROUGH"));
    holds(record, ALL & ~LAYER_PORTS, "none");
}

/* By its proxy, and no other way. */
static void what_is_named_is_reached_by_the_proxy_alone(void **arg)
{
    own_json struct json *record = NULL;
    own_mem char *script = mem_printf(
        "ask() { exec 3<>/dev/tcp/127.0.0.1/3128 && printf 'GET "
        "http://%%s/ HTTP/1.1\\r\\nHost: %%s\\r\\n\\r\\n' $1 $1 >&3; "
        "head -n 1 <&3; exec 3>&-; }; "
        "ask web.example:%s; ask off.example:%s; "
        "for to in %s 127.0.0.1/7440 127.0.0.1/7441 127.0.0.1/7442; do "
        "(exec 3<>/dev/tcp/${to/://}) && echo THROUGH; "
        "(exec 3<>/dev/udp/${to/://}) && echo THROUGH; done; "
        "echo $HTTPS_PROXY; sleep 2; echo done",
        strrchr(where, ':') + 1, strrchr(where, ':') + 1, where);
    own_mem char *said = run_script(strict, script, &record);

    (void)arg;
    says(said, "HTTP/1.0 200");
    says(said, "HTTP/1.1 403");
    says(said, "Permission denied");
    says(said, "http://127.0.0.1:3128");
    says(said, "done");
    assert_null(strstr(said, "THROUGH"));
    holds(record, ALL, "proxy");
}

/* The probes' ports are the agent's, whoever comes first after a kill. */
static void no_port_is_bound(void **arg)
{
    static const char source[] =
        "#include <arpa/inet.h>\n#include <errno.h>\n#include <stdio.h>\n"
        "#include <string.h>\n#include <sys/socket.h>\n#include <unistd.h>\n"
        "int main(void)\n{\n"
        "    static const int ports[] = {7440, 7441, 7442, 3128, 8080, 0};\n"
        "    for (int i = 0; i < 6; i++) {\n"
        "        struct sockaddr_in at = {.sin_family = AF_INET,\n"
        "            .sin_port = htons((unsigned short)ports[i])};\n"
        "        int fd = socket(AF_INET, SOCK_STREAM, 0);\n"
        "        int r = bind(fd, (struct sockaddr *)&at, sizeof at);\n"
        "        printf(\"%d %s\\n\", ports[i], r ? strerror(errno) : "
        "\"THROUGH\");\n"
        "        close(fd);\n    }\n    sleep(2);\n    return 0;\n}\n";
    own_json struct json *record = NULL;
    own_mem char *said = NULL;
    struct stack_bundle b;

    (void)arg;
    clusterfiles_compile(strict, "bind", source, &b);
    said = run(strict, &b, "", &record, NULL);
    says(said, "7441 Permission denied");
    says(said, "8080 Permission denied");
    assert_null(strstr(said, "THROUGH"));
}

/* tests/hostile, each attempt judged by its table's column for pods. */
static void a_hostile_program_is_refused(void **arg)
{
    own_mem char *exe = program_path("../tests/hostile/hostile");
    own_mem char *more =
        mem_printf(",\"command\":[\"bin/hostile\",\"POD=1\",\"CAGED=1\","
                   "\"AGENT=7440\",\"TCP=%s\"]",
                   strrchr(where, ':') + 1);
    own_mem char *archive = mem_printf("%s/both.tar.gz", strict->stack.dir);
    own_mem char *pack = mem_printf(
        "d=$(mktemp -d) && mkdir $d/bin && cp %s tests/hostile/hostile.py "
        "$d/bin && chmod -R a+rX,go-w $d && tar -C $d -czf %s . && "
        "rm -r $d",
        exe, archive);
    own_json struct json *record = NULL;
    own_mem char *said = NULL, *log = NULL;
    struct cage_count n;
    struct stack_bundle b;

    (void)arg;
    assert_int_equal(system(pack), 0);
    clusterbed_take(strict, "hostile", archive, &b);
    said = run(strict, &b, more, &record, &log);
    n = cagejudge("tests/hostile/README.md", "hostile.c", CAGE_POD, said, log);
    print_message("%d refused, %d have nothing to try, %d are its right\n",
                  n.refused, n.absent, n.through);
    assert_int_equal(n.wrong, 0);
    assert_true(n.refused >= 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_egress_there_is_no_socket),
        cmocka_unit_test(what_is_named_is_reached_by_the_proxy_alone),
        cmocka_unit_test(no_port_is_bound),
        cmocka_unit_test(a_hostile_program_is_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
