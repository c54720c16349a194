/* Bundles where a stack lets them lie. */
#include "tests/lib/stack.h"

#include "base/digest.h"
#include "base/mem.h"
#include "base/own.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void stack_sha256(const char *path, char hex[65])
{
    struct digest *d = digest_new(DIGEST_SHA256);
    uint8_t buf[65536], sum[SHA256_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    assert_true(fd >= 0);
    while ((n = read(fd, buf, sizeof(buf))) > 0)
        digest_add(d, buf, (size_t)n);
    close(fd);
    digest_end(d, sum);
    digest_free(d);
    hex_encode(sum, sizeof(sum), hex);
}

static void stack_pack_dir(struct stack *s, const char *name,
                           struct stack_bundle *out)
{
    own_mem char *archive = mem_printf("%s/bundles/%s.tar.gz", s->dir, name);
    own_mem char *tar =
        mem_printf("chmod 755 %s/src-%s/bin/prog && tar -C %s/src-%s -czf %s .",
                   s->dir, name, s->dir, name, archive);

    assert_int_equal(system(tar), 0);
    snprintf(out->url, sizeof(out->url), "file://%s", archive);
    stack_sha256(archive, out->sha256);
}

static void stack_pack_begin(struct stack *s, const char *name)
{
    own_mem char *dir = mem_printf("%s/src-%s", s->dir, name);
    own_mem char *cmd = mem_printf("mkdir -p %s/bin && chmod 755 %s", dir, dir);

    assert_int_equal(system(cmd), 0);
}

void stack_pack(struct stack *s, const char *name, const char *script,
                struct stack_bundle *out)
{
    own_mem char *prog = mem_printf("%s/src-%s/bin/prog", s->dir, name);
    FILE *f;

    stack_pack_begin(s, name);
    f = fopen(prog, "w");
    assert_non_null(f);
    fprintf(f, "#!/bin/sh\n%s\n", script);
    fclose(f);
    stack_pack_dir(s, name, out);
}

void stack_pack_file(struct stack *s, const char *name, const char *path,
                     struct stack_bundle *out)
{
    own_mem char *copy =
        mem_printf("cp %s %s/src-%s/bin/prog", path, s->dir, name);

    stack_pack_begin(s, name);
    assert_int_equal(system(copy), 0);
    stack_pack_dir(s, name, out);
}

void stack_take(struct stack *s, const char *name, const char *path,
                struct stack_bundle *out)
{
    own_mem char *to = mem_printf("%s/bundles/%s.tar.gz", s->dir, name);
    own_mem char *cmd = mem_printf("install -m 0644 '%s' %s", path, to);

    if (system(cmd) != 0)
        fail_msg("%s cannot be read", path);
    snprintf(out->url, sizeof(out->url), "file://%s", to);
    stack_sha256(to, out->sha256);
}
