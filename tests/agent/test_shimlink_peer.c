/* Who is at the other end of the shim's socket: the kernel's word on peers
 * in this PID namespace, below it, beside it, and on what is no terminal. */
#include "agent/shimlink_peer.h"

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/programs.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define CANNOT 77 /* the kernel or our user makes no such peer */
#define NOBODY 65534

struct bench {
    char *dir;
    struct sockaddr_un at;
    int listen_fd;
    pid_t child; /* the outermost of the peer's processes */
};

static int setup(void **arg)
{
    struct bench *b = mem_zero(1, sizeof(*b));

    b->dir = scratch_new();
    b->at.sun_family = AF_UNIX;
    snprintf(b->at.sun_path, sizeof(b->at.sun_path), "%.90s/s", b->dir);
    b->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(
        bind(b->listen_fd, (struct sockaddr *)&b->at, sizeof(b->at)), errno);
    assert_return_code(chmod(b->at.sun_path, 0666), errno);
    assert_return_code(listen(b->listen_fd, 8), errno);
    *arg = b;
    return 0;
}

static void peer_end(struct bench *b)
{
    if (b->child > 0) {
        kill(b->child, SIGKILL);
        waitpid(b->child, NULL, 0);
    }
    b->child = 0;
}

static int teardown(void **arg)
{
    struct bench *b = *arg;

    peer_end(b);
    close(b->listen_fd);
    scratch_remove(b->dir);
    free(b);
    return 0;
}

/* --- peers --- */

static void peer_connect(const struct bench *b)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (connect(fd, (const struct sockaddr *)&b->at, sizeof(b->at)) < 0)
        _exit(1);
    pause();
    _exit(0);
}

/* A fork whose child does not outlive its parent. */
static pid_t fork_bound(void)
{
    pid_t pid = fork();

    if (pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid;
}

/* Go on as PID 1 of a new namespace. */
static void new_namespace(void)
{
    pid_t pid;

    if (unshare(CLONE_NEWPID | (geteuid() ? CLONE_NEWUSER : 0)) < 0)
        _exit(CANNOT);
    pid = fork_bound();
    if (pid != 0) {
        waitpid(pid, NULL, 0);
        _exit(0);
    }
}

/* A peer `depth` namespaces below ours, `forks` processes behind each PID 1.
 * Returns the accepted connection. */
static int peer_at(struct bench *b, int depth, int forks, uid_t uid)
{
    int fd;

    b->child = fork_bound();
    if (b->child == 0) {
        close(b->listen_fd);
        while (depth-- > 0)
            new_namespace();
        while (forks-- > 0) {
            pid_t pid = fork_bound();

            if (pid != 0) {
                waitpid(pid, NULL, 0);
                _exit(0);
            }
        }
        if (uid && setuid(uid) < 0)
            _exit(CANNOT);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of user clears it */
        peer_connect(b);
    }
    fcntl(b->listen_fd, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 5000; i++) {
        int status;

        fd = accept4(b->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            return fd;
        if (waitpid(b->child, &status, WNOHANG) == b->child) {
            b->child = 0;
            if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT)
                skip();
            fail_msg("the peer did not come: %x", status);
        }
        usleep(1000);
    }
    fail_msg("no peer");
    return -1;
}

static void judged(int fd, uid_t uid, bool is_caged, bool is_taken)
{
    struct err e = {0};
    int r = shimlink_check_peer(fd, uid, is_caged, &e);

    if (r != (is_taken ? 0 : -1))
        fail_msg("%s: %s", is_taken ? "refused" : "taken", e.text);
    if (!is_taken)
        assert_int_equal(e.kind, ERR_DENIED);
    else
        assert_int_equal(e.kind, ERR_NONE);
}

static void a_neighbour_is_no_caged_shim(void **arg)
{
    struct bench *b = *arg;
    own_fd int fd = peer_at(b, 0, 0, 0);

    judged(fd, geteuid(), false, true);
    judged(fd, geteuid(), true, false);
    judged(fd, geteuid() + 1, false, false);
    judged(fd, NOBODY, false, geteuid() == NOBODY);
}

static void pid_1_right_below_us_is_the_shim(void **arg)
{
    struct bench *b = *arg;
    own_fd int fd = peer_at(b, 1, 0, 0);

    judged(fd, geteuid(), true, true);
    judged(fd, geteuid(), false, true);
    judged(fd, geteuid() + 1, true, false);
}

static void the_program_beside_the_shim_is_not(void **arg)
{
    struct bench *b = *arg;
    own_fd int fd = peer_at(b, 1, 1, 0);

    judged(fd, geteuid(), true, false);
}

/* The program may make a namespace of its own and be PID 1 in that. */
static void pid_1_of_a_deeper_namespace_is_not(void **arg)
{
    struct bench *b = *arg;
    own_fd int fd = peer_at(b, 2, 0, 0);

    judged(fd, geteuid(), true, false);
}

static void another_users_pid_1_is_not(void **arg)
{
    struct bench *b = *arg;
    own_fd int fd = -1;

    if (geteuid() != 0)
        skip();
    fd = peer_at(b, 1, 0, NOBODY);
    judged(fd, 0, true, false);
    judged(fd, NOBODY, true, true);
}

static void a_peer_that_has_gone_grows_into_nobody(void **arg)
{
    struct bench *b = *arg;
    own_fd int fd = peer_at(b, 1, 1, 0);

    peer_end(b);
    for (int i = 0; i < 1000; i++) {
        char c;

        if (recv(fd, &c, 1, MSG_DONTWAIT) == 0)
            break;
        usleep(1000);
    }
    judged(fd, geteuid(), true, false);
}

/* As in a pod: we are in a namespace beside the peer's, whose pid we see as
 * 0, and whose user may be none of ours. */
static void a_peer_beside_us_is_known_by_its_user(void **arg)
{
    struct bench *b = *arg;
    int status;
    pid_t judge, peer;

    if (geteuid() != 0)
        skip();
    judge = fork_bound();
    if (judge == 0) {
        struct err e = {0};
        int fd;

        new_namespace(); /* its waiting half says 0 whatever we say */
        fd = accept4(b->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (shimlink_check_peer(fd, 0, true, &e) < 0 ||
            shimlink_check_peer(fd, 1000, true, &e) == 0)
            _exit(1);
        close(fd);
        fd = accept4(b->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        /* the overflow user may be anybody outside our user namespace */
        if (shimlink_check_peer(fd, 1000, true, &e) < 0 ||
            shimlink_check_peer(fd, NOBODY, true, &e) < 0)
            _exit(1);
        /* ... so we say it by a file */
        {
            own_mem char *ok = mem_printf("%s/ok", b->dir);

            close(open(ok, O_WRONLY | O_CREAT, 0600));
        }
        _exit(0);
    }
    for (int i = 0; i < 2; i++) {
        peer = fork_bound();
        if (peer == 0) {
            if (i == 1 && setuid(NOBODY) < 0)
                _exit(1);
            peer_connect(b);
        }
        usleep(50000);
        if (i == 1)
            assert_int_equal(waitpid(judge, &status, 0), judge);
        kill(peer, SIGKILL);
        waitpid(peer, NULL, 0);
    }
    {
        own_mem char *ok = mem_printf("%s/ok", b->dir);

        assert_int_equal(access(ok, F_OK), 0);
    }
}

static void what_is_no_unix_socket_is_refused(void **arg)
{
    own_fd int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct err e = {0};

    (void)arg;
    assert_int_equal(shimlink_check_peer(fd, geteuid(), false, &e), -1);
    assert_int_equal(shimlink_check_peer(-1, geteuid(), false, &e), -1);
}

/* --- terminals --- */

static void master_judged(int fd, bool is_taken)
{
    struct err e = {0};

    assert_int_equal(shimlink_check_master(fd, &e), is_taken ? 0 : -1);
    if (is_taken)
        assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    else
        assert_int_equal(e.kind, ERR_PEER);
}

static void only_a_master_to_read_and_write_is_a_terminal(void **arg)
{
    own_fd int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    own_fd int slave = -1, read_only = -1, write_only = -1, path = -1;
    own_fd int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    own_fd int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int ends[2];

    (void)arg;
    assert_return_code(master, errno);
    assert_int_equal(fcntl(master, F_GETFL) & O_NONBLOCK, 0);
    assert_int_equal(unlockpt(master), 0);
    slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    read_only = open("/dev/ptmx", O_RDONLY | O_NOCTTY | O_CLOEXEC);
    write_only = open("/dev/ptmx", O_WRONLY | O_NOCTTY | O_CLOEXEC);
    path = open("/dev/ptmx", O_PATH | O_CLOEXEC);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    master_judged(master, true);
    master_judged(master, true); /* as after our restart */
    master_judged(slave, false);
    master_judged(read_only, false);
    master_judged(write_only, false);
    master_judged(path, false);
    master_judged(file, false);
    master_judged(sock, false);
    master_judged(ends[0], false);
    master_judged(-1, false);
    close(ends[0]);
    close(ends[1]);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_neighbour_is_no_caged_shim),
        T(pid_1_right_below_us_is_the_shim),
        T(the_program_beside_the_shim_is_not),
        T(pid_1_of_a_deeper_namespace_is_not),
        T(another_users_pid_1_is_not),
        T(a_peer_that_has_gone_grows_into_nobody),
        T(a_peer_beside_us_is_known_by_its_user),
        T(what_is_no_unix_socket_is_refused),
        T(only_a_master_to_read_and_write_is_a_terminal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
