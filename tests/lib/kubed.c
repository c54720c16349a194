#include "tests/lib/kubed.h"

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/certs.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void make_dir(struct kubed *k)
{
    k->dir = scratch_new();
    certs_make(k->dir, "srv", "IP:127.0.0.1");
    tree_put(k->dir, "token", "first\n");
}

static void make_kube(struct kubed *k)
{
    own_mem char *ca = mem_printf("%s/srv-ca.pem", k->dir);
    struct kube_conf conf = {0};

    conf.server =
        mem_printf("https://127.0.0.1:%d", fileserver_port(k->server));
    conf.ca = tree_get(ca, &(size_t){0});
    conf.token_path = mem_printf("%s/token", k->dir);
    k->kube = kube_new(&conf);
}

void kubed_start(struct kubed *k, const struct fileserver_reply *script,
                 size_t count)
{
    make_dir(k);
    k->server = fileserver_start("", 0, script, count, k->dir);
    make_kube(k);
}

void kubed_start_with(struct kubed *k, fileserver_decide decide, void *arg)
{
    make_dir(k);
    k->server = fileserver_start_with(decide, arg, k->dir);
    make_kube(k);
}

void kubed_stop(struct kubed *k)
{
    kube_free(k->kube);
    fileserver_stop(k->server);
    scratch_remove(k->dir);
    *k = (struct kubed){0};
}

struct fileserver_reply kubed_says(const char *text)
{
    return (struct fileserver_reply){.status = 200,
                                     .trick = FILESERVER_NO_RANGE,
                                     .body = text,
                                     .len = strlen(text)};
}

struct fileserver_reply kubed_refuses(int status, const char *status_object)
{
    struct fileserver_reply r = kubed_says(status_object ? status_object : "");

    r.status = status;
    return r;
}

const char *kubed_asked(struct kubed *k, int i)
{
    static char line[512];
    const char *head = fileserver_head(k->server, i);

    snprintf(line, sizeof(line), "%.*s", (int)strcspn(head, "\r\n"), head);
    return line;
}
