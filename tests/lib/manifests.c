#include "tests/lib/manifests.h"

#include "base/mem.h"
#include "base/own.h"
#include "base/yaml.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include <cmocka.h>

#define WORDS_MAX 32

static void run(struct child *c, const char *const *words, bool must_work)
{
    const char *cluster = getenv("PODTERM_CLUSTER");
    own_mem char *path =
        cluster ? mem_printf("%s/bin/kubectl", cluster) : mem_str("kubectl");
    const char *argv[WORDS_MAX + 2] = {path};

    for (int i = 0; i < WORDS_MAX && words[i]; i++)
        argv[i + 1] = words[i];
    c->argv = argv;
    if (must_work)
        child_expect(c, 0);
    else
        child_run(c);
    c->argv = NULL;
}

void manifests_kubectl(struct child *c, const char *const *words)
{
    run(c, words, false);
}

char *manifests_ask(const char *const *words)
{
    struct child c = {0};
    char *out;

    run(&c, words, true);
    out = mem_strn(c.out, c.len);
    child_fini(&c);
    return out;
}

int manifests_lock(void)
{
    own_mem char *path =
        mem_printf("%s/installation", getenv("PODTERM_CLUSTER"));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    return fd;
}

char *manifests_render(const char *overlay)
{
    own_mem char *path = mem_printf("infra/k8s/overlays/%s", overlay);

    return MANIFESTS_ASK("kustomize", path);
}

char *manifests_next(char **text)
{
    char *from = *text, *end;

    if (!from || !*from)
        return NULL;
    end = strstr(from, "\n---\n");
    *text = end ? end + 5 : NULL;
    if (end)
        end[1] = '\0';
    return from;
}

bool manifests_is(const char *document, const char *kind)
{
    own_mem char *line = mem_printf("\nkind: %s\n", kind);

    return strstr(document, line) != NULL;
}

char *manifests_template(const char *rendered)
{
    own_mem char *copy = mem_str(rendered);
    char *at = copy, *doc;
    struct err e = {0};

    while ((doc = manifests_next(&at))) {
        own_json struct json *j = NULL;
        const char *text;

        if (!strstr(doc, "session-job.yaml: |"))
            continue;
        j = yaml_parse(doc, strlen(doc), &e);
        text = json_get_str(json_get(j, "data"), "session-job.yaml");
        assert_non_null(text);
        return mem_str(text);
    }
    fail_msg("no template in what was rendered");
    return NULL;
}
