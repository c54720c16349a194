/*
 * What a bundle says it starts. The first byte says what the rest is: m = the
 * text of podterm.json, c = the request's words with a zero byte between.
 * The tree is always the same: a program, files that are none, links in and
 * out.
 */
#include "agent/manifest.h"
#include "base/mem.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEEN_AT "/seen"
#define WORDS_MAX 8

static char dir[] = "/tmp/podterm-fuzz-XXXXXX";
static int root_fd = -1;

static const char *const names[] = {MANIFEST_FILE, "bin/prog", "bin/plain",
                                    "run",         "out",      "bin"};

static void remove_tree(void)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (unlinkat(root_fd, names[i], 0) < 0)
            unlinkat(root_fd, names[i], AT_REMOVEDIR);
    rmdir(dir);
}

static void prepare(void)
{
    if (!mkdtemp(dir))
        abort();
    root_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0 || mkdirat(root_fd, "bin", 0755) < 0 ||
        symlinkat("bin/prog", root_fd, "run") < 0 ||
        symlinkat("/bin/sh", root_fd, "out") < 0)
        abort();
    close(openat(root_fd, "bin/prog", O_WRONLY | O_CREAT, 0755));
    close(openat(root_fd, "bin/plain", O_WRONLY | O_CREAT, 0644));
    atexit(remove_tree);
}

/* A bare name, or a file in the tree that may be executed. */
static void check(char *const *argv)
{
    struct open_how how = {.flags = O_PATH, .resolve = RESOLVE_BENEATH};
    size_t prefix = strlen(SEEN_AT "/");
    struct stat st;
    long fd;

    if (!argv[0] || !argv[0][0])
        abort();
    if (!strchr(argv[0], '/'))
        return;
    if (strncmp(argv[0], SEEN_AT "/", prefix) != 0)
        abort();
    fd = syscall(SYS_openat2, root_fd, argv[0] + prefix, &how, sizeof(how));
    if (fd < 0 || fstat((int)fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        !(st.st_mode & 0111))
        abort();
    close((int)fd);
}

static void judge(char *const *command)
{
    char **argv = NULL;
    struct err e = {0};

    if (manifest_argv(root_fd, SEEN_AT, command, &argv, &e) < 0) {
        if (e.kind != ERR_INPUT || argv)
            abort();
        return;
    }
    check(argv);
    for (char **p = argv; *p; p++)
        free(*p);
    free(argv);
}

static void try_manifest(const uint8_t *data, size_t size)
{
    int fd = openat(root_fd, MANIFEST_FILE, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    close(fd);
    judge(NULL);
}

static void try_command(const uint8_t *data, size_t size)
{
    char *text = mem_strn((const char *)data, size), *at = text;
    char *command[WORDS_MAX + 1] = {0};

    for (int i = 0; i < WORDS_MAX && at < text + size; i++) {
        command[i] = at;
        at += strlen(at) + 1;
    }
    unlinkat(root_fd, MANIFEST_FILE, 0);
    if (command[0] && command[0][0]) /* the spec's own rule */
        judge(command);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (root_fd < 0)
        prepare();
    if (size == 0)
        return 0;
    if (data[0] == 'm')
        try_manifest(data + 1, size - 1);
    else if (data[0] == 'c')
        try_command(data + 1, size - 1);
    return 0;
}
