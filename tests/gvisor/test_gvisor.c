/*
 * Sessions under gVisor: the template as the component makes it, real pods
 * whose agent and runner are two containers of one sandbox. tests/gvisor/run
 * starts a cluster whose node has runsc.
 */
#include "base/frame.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/clusterfiles.h"
#include "tests/lib/clusterrun.h"
#include "tests/lib/clustertalk.h"
#include "tests/lib/manifests.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"
#include "tests/lib/wspeer.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct clusterbed *bed;
static char *dir, *template;
static const char *more[] = {"--job-template", NULL, NULL, NULL, NULL};

static const char class[] = "{apiVersion: node.k8s.io/v1, kind: RuntimeClass, "
                            "metadata: {name: gvisor}, handler: runsc}\n";

static int setup(void **arg)
{
    own_mem char *gke = manifests_render("gke");
    own_mem char *text = manifests_template(gke), *applied = NULL;
    own_mem char *path = NULL;

    (void)arg;
    dir = scratch_new();
    path = mem_printf("%s/class.yaml", dir);
    template = mem_printf("%s/template.yaml", dir);
    more[1] = template;
    tree_put(dir, "class.yaml", class);
    tree_put(dir, "template.yaml", text);
    applied = MANIFESTS_ASK("apply", "-f", path);
    bed = clusterbed_new(NULL, more);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    clusterbed_free(bed);
    free(template);
    scratch_remove(dir);
    return 0;
}

/* From POST to the program's end with 7. */
static void run_to_end(struct clustertalk *t, const struct stack_bundle *b)
{
    clustertalk_begin(t, bed, "ann", b, "", NULL);
    assert_string_equal(t->link.reason, "exited");
    if (t->link.exit_code != 7)
        fail_msg("%d: %s", t->link.exit_code, buf_cstr(&t->said));
}

static void resize(struct stack_link *l, uint16_t cols, uint16_t rows)
{
    uint8_t msg[FRAME_HEAD_MAX + 4];

    wspeer_send(l->peer, 2, msg, frame_size(msg, FRAME_RESIZE, cols, rows));
}

static void a_session_runs_in_a_sandbox(void **arg)
{
    struct stack_bundle b;
    struct clustertalk t;

    (void)arg;
    clusterbed_pack(bed, "sandbox",
                    "trap 'stty size' WINCH; cat /proc/version; stty size\n"
                    "printf 'name? '\n"
                    "until read x; do :; done; echo hello $x; exit 7",
                    &b);
    clustertalk_begin(&t, bed, "ann", &b, "", "name?");
    assert_non_null(strstr(buf_cstr(&t.said), "-gvisor "));
    assert_non_null(strstr(buf_cstr(&t.said), "24 80"));
    resize(&t.link, 101, 37);
    clustertalk_expect(&t, "37 101");
    clustertalk_type(&t, "ann\n");
    clustertalk_expect(&t, NULL);
    assert_non_null(strstr(buf_cstr(&t.said), "hello ann"));
    assert_string_equal(t.link.reason, "exited");
    assert_int_equal(t.link.exit_code, 7);
    stack_cut(&t.link);
    clusterbed_wait_none(bed, "secrets", t.ss.sid);
    clustertalk_fini(&t);
}

static void a_deleted_session_leaves_nothing(void **arg)
{
    struct stack_bundle b;
    struct clustertalk t;

    (void)arg;
    clusterbed_pack(bed, "stays", "trap '' TERM; echo up; sleep 600", &b);
    clustertalk_begin(&t, bed, "ann", &b, "", "up");
    clustertalk_delete(&t);
    clusterbed_wait_nothing(bed, t.ss.sid);
    clustertalk_fini(&t);
}

/*
 * What SECURITY.md's sixth rule stands on, by the program itself: the socket's
 * directory cannot be changed; to connect shows the agent's uid and no pid;
 * what the program listens on shows its uid, though the one that listened is
 * dead; and a HELLO of its is not answered. Ends with 7, or with the number
 * of what did not hold.
 */
static const char attack[] =
    "#include <errno.h>\n#include <fcntl.h>\n#include <poll.h>\n#include "
    "<stdio.h>\n"
    "#include <string.h>\n#include <sys/mount.h>\n#include "
    "<sys/ptrace.h>\n#include <sys/socket.h>\n"
    "#include <sys/stat.h>\n#include <sys/un.h>\n#include <sys/wait.h>\n"
    "#include <unistd.h>\n"
    "struct ucred { int pid; unsigned uid, gid; };\n"
    "static int dial(const char *path, struct ucred *c)\n{\n"
    "    struct sockaddr_un to = {.sun_family = AF_UNIX};\n"
    "    socklen_t len = sizeof *c;\n"
    "    int fd = socket(AF_UNIX, SOCK_STREAM, 0);\n"
    "    strcpy(to.sun_path, path);\n"
    "    if (connect(fd, (void *)&to, sizeof to) < 0)\n        return -1;\n"
    "    return getsockopt(fd, SOL_SOCKET, 17, c, &len) < 0 ? -1 : fd;\n}\n"
    "static int serve(const char *path)\n{\n"
    "    struct sockaddr_un at = {.sun_family = AF_UNIX};\n"
    "    int fd = socket(AF_UNIX, SOCK_STREAM, 0);\n"
    "    strcpy(at.sun_path, path);\n"
    "    if (bind(fd, (void *)&at, sizeof at) < 0)\n        return -1;\n"
    "    return listen(fd, 4) < 0 ? -1 : fd;\n}\n"
    "#define S \"/run/podterm/ipc/shim.sock\"\n"
    "int main(void)\n{\n"
    "    unsigned char hello[44] = {0, 0, 0, 40, 1, 1};\n"
    "    struct ucred c;\n    char x;\n    int fd, up[2];\n"
    "    if (unlink(S) == 0)\n        return 10;\n"
    "    if (rename(S, \"/run/podterm/ipc/x\") == 0)\n        return 11;\n"
    "    if (serve(\"/run/podterm/ipc/mine\") >= 0 || errno != EROFS)\n"
    "        return 12;\n"
    "    if (open(\"/run/podterm/ipc/shim\", O_WRONLY) >= 0 ||\n"
    "        chmod(S, 0600) == 0)\n        return 13;\n"
    "    if (mount(0, \"/run/podterm/ipc\", 0, MS_REMOUNT, 0) == 0 ||\n"
    "        umount2(\"/run/podterm/ipc\", MNT_DETACH) == 0)\n"
    "        return 14;\n"
    "    if (ptrace(PTRACE_ATTACH, 1, 0, 0) == 0 ||\n"
    "        open(\"/proc/1/mem\", O_RDONLY) >= 0)\n        return 23;\n"
    "    if (access(\"/run/podterm/ipc/cookie\", F_OK) == 0)\n"
    "        return 15;\n"
    "    fd = dial(S, &c);\n"
    "    if (fd < 0)\n        return 16;\n"
    "    printf(\"agent: pid %d uid %u\\n\", c.pid, c.uid);\n"
    "    if (c.pid != 0 || c.uid != 10001)\n        return 17;\n"
    "    send(fd, hello, sizeof hello, MSG_NOSIGNAL);\n"
    "    if (poll(&(struct pollfd){fd, POLLIN, 0}, 1, 2000) > 0 &&\n"
    "        read(fd, &x, 1) > 0)\n        return 18;\n"
    "    if (pipe(up) < 0)\n        return 19;\n"
    "    if (fork() == 0) {\n"
    "        fd = serve(\"/tmp/mine\");\n"
    "        if (fork() == 0) {\n            sleep(20);\n"
    "            _exit(fd < 0);\n        }\n"
    "        _exit(write(up[1], \"u\", 1) < 0);\n    }\n"
    "    close(up[1]);\n"
    "    if (read(up[0], &x, 1) != 1)\n        return 20;\n"
    "    wait(0);\n"
    "    if (dial(\"/tmp/mine\", &c) < 0)\n        return 21;\n"
    "    printf(\"ours: pid %d uid %u\\n\", c.pid, c.uid);\n"
    "    return c.uid != 10002 ? 22 : 7;\n}\n";

static void the_shims_socket_cannot_be_replaced(void **arg)
{
    struct stack_bundle b;
    struct clustertalk t;

    (void)arg;
    clusterfiles_compile(bed, "attack", attack, &b);
    run_to_end(&t, &b);
    clustertalk_fini(&t);
}

/* The last one: the controller keeps a pool from here on. */
static void a_warm_runner_becomes_a_session(void **arg)
{
    struct stack_bundle b;
    struct clustertalk t;

    (void)arg;
    clusterbed_kill(bed, 0, SIGTERM);
    more[2] = "--warm-target";
    more[3] = "1";
    clusterbed_start(bed, 0);
    clusterbed_wait_warm(bed, 1);
    clusterbed_pack(bed, "warm", "cat /proc/version; exit 7", &b);
    run_to_end(&t, &b);
    assert_non_null(strstr(buf_cstr(&t.said), "-gvisor "));
    assert_int_equal(clusterbed_count(bed, "jobs", t.ss.sid), 0);
    clustertalk_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_runs_in_a_sandbox),
        cmocka_unit_test(a_deleted_session_leaves_nothing),
        cmocka_unit_test(the_shims_socket_cannot_be_replaced),
        cmocka_unit_test(a_warm_runner_becomes_a_session),
    };

    return CLUSTERRUN(tests, setup, teardown);
}
