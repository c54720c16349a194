#include "tests/lib/fake_agent.h"

#include "base/buf.h"
#include "base/own.h"
#include "runner-image/shim.h"
#include "tests/lib/passed.h"
#include "tests/lib/startbytes.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SPEC_MAX 16384

static const char *flag(int argc, char **argv, const char *name)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return "";
}

static int listen_in(const char *dir)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = SHIM_SOCKET};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    own_fd int cookie = -1;

    if (chdir(dir) < 0)
        return -1;
    unlink(SHIM_SOCKET);
    cookie = open(SHIM_COOKIE, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (bind(fd, (void *)&at, sizeof(at)) < 0 || chmod(SHIM_SOCKET, 0666) < 0 ||
        listen(fd, 4) < 0 ||
        write(cookie, "0123456789abcdef0123456789abcdef", 32) != 32)
        return -1;
    return fd;
}

/* One message; its type, or -1 at the end. A descriptor goes to *fd. */
static int hear(int sock, int *fd)
{
    uint8_t raw[1024];
    size_t at = 0, want = SHIM_LENGTH_BYTES;

    while (at < want) {
        ssize_t n = passed_recv(sock, raw + at, want - at, fd);

        if (n <= 0)
            return -1;
        at += (size_t)n;
        if (at == SHIM_LENGTH_BYTES)
            want += (size_t)raw[2] << 8 | raw[3];
        if (want > sizeof(raw))
            return -1;
    }
    return raw[SHIM_LENGTH_BYTES];
}

static void say(int sock, uint8_t type, const void *body, size_t len)
{
    struct buf b;

    buf_init(&b, SHIM_LENGTH_BYTES + SHIM_MESSAGE_MAX);
    buf_append_u32(&b, (uint32_t)(len + 1));
    buf_append_u8(&b, type);
    buf_append(&b, body, len);
    if (send(sock, b.data, b.len, MSG_NOSIGNAL) < 0)
        perror("fake agent: send");
    buf_fini(&b);
}

static void put_str(struct buf *b, const char *text, size_t len)
{
    buf_append_u32(b, (uint32_t)len);
    buf_append(b, text, len);
}

static void start(int sock, const char *script)
{
    struct buf b, env;
    uint16_t count = 2;

    buf_init(&b, SHIM_MESSAGE_MAX);
    buf_init(&env, SHIM_MESSAGE_MAX);
    buf_append_u16(&b, 80);
    buf_append_u16(&b, 24);
    buf_append_u8(&b, SHIM_SANDBOX_VERSION);
    buf_append_u8(&b, SHIM_ISOLATION_FULL);
    for (int i = 0; i < 5; i++)
        buf_append_u64(&b, 0);
    start_put_no_cage(&b);
    start_put_no_network(&b);
    put_str(&b, "/", 1);
    put_str(&env, "PATH=/usr/bin:/bin", 18);
    put_str(&env, "HOME=" SHIM_CAGE_HOME, strlen("HOME=" SHIM_CAGE_HOME));
    for (;;) { /* leading NAME=value lines */
        size_t len = strcspn(script, "\n"), name = strcspn(script, "= \n");

        if (!name || script[name] != '=' || !script[len])
            break;
        put_str(&env, script, len);
        count++;
        script += len + 1;
    }
    buf_append_u16(&b, 3);
    put_str(&b, "sh", 2);
    put_str(&b, "-c", 2);
    put_str(&b, script, strlen(script));
    buf_append_u16(&b, count);
    buf_append(&b, env.data, env.len);
    say(sock, SHIM_START, b.data, b.len);
    buf_fini(&b);
    buf_fini(&env);
}

/* Terminal to the report until the link ends. */
static int serve(int sock, const char *spec, int report_fd)
{
    int master = -1, bad = 0;
    char bytes[4096];

    while (sock >= 0) {
        struct pollfd p[2] = {{sock, POLLIN, 0}, {master, POLLIN, 0}};
        int type = 0, r = poll(p, 2, -1);
        ssize_t n;

        if (r > 0 && p[1].revents) {
            n = read(master, bytes, sizeof(bytes));
            if (n > 0)
                bad |= write(report_fd, bytes, (size_t)n) != n;
            else if (errno == EIO)
                master = -1;
            if (n > 0)
                continue; /* all output before the shim's word */
        }
        if (r > 0 && p[0].revents)
            type = hear(sock, &master);
        if (type < 0)
            return 3;
        if (type == SHIM_STARTED && strncmp(spec, "#go", 3) == 0)
            return 0;
        if (type != SHIM_EXITED || strncmp(spec, "#stay", 5) == 0)
            continue;
        while (master >= 0 && ((n = read(master, bytes, sizeof(bytes))) > 0 ||
                               errno == EAGAIN))
            if (n > 0)
                bad |= write(report_fd, bytes, (size_t)n) != n;
        say(sock, SHIM_LEAVE, "", 1);
        return bad;
    }
    return 0;
}

int fake_agent_main(int argc, char **argv)
{
    char spec[SPEC_MAX] = "", text[64];
    const char *script = spec;
    own_fd int spec_fd = open(flag(argc, argv, "--spec"), O_RDONLY);
    own_fd int report = open(flag(argc, argv, "--report"),
                             O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    own_fd int status = open(flag(argc, argv, "--status"),
                             O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int listen_fd = listen_in(flag(argc, argv, "--ipc-dir")), none = -1;
    struct timespec ts;
    int sock;

    if (spec_fd < 0 || report < 0 || status < 0 || listen_fd < 0 ||
        read(spec_fd, spec, sizeof(spec) - 1) <= 0)
        return 1;
    sock = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (sock < 0 || hear(sock, &none) != SHIM_HELLO)
        return 2;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    snprintf(text, sizeof(text), "%lld\n",
             (long long)ts.tv_sec * 1000000 + ts.tv_nsec / 1000);
    if (write(status, text, strlen(text)) < 0)
        return 1;
    say(sock, SHIM_HELLO_OK, NULL, 0);
    if (*script == '#')
        script += strcspn(script, "\n") + 1;
    start(sock, script);
    return serve(sock, spec, report);
}
