/* podterm-gateway: the internet-facing relay. */
#include "base/log.h"
#include "base/proc.h"
#include "gateway/server.h"
#include "gateway/settings.h"

#include <stdlib.h>

static struct gateway gateway; /* large: 64 KiB of it is the read buffer */

static int run(struct gateway *gw)
{
    struct err e = {0};
    int status = EXIT_FAILURE;

    proc_undumpable();
    if (log_init("gateway", gw->set.log_level) < 0)
        err_set(&e, ERR_INPUT,
                "--log-level: \"%.20s\" is none of debug, info, warn, error",
                gw->set.log_level);
    else if (server_start(gw, &e) == 0)
        status = server_run(gw); /* returns after SIGTERM, drained */
    if (e.kind)
        log_err(&e, "gateway.failed");
    server_stop(gw);
    return status;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    int rc = settings_load(&gateway.set, argc, argv, &e);
    int status = rc > 0 ? EXIT_SUCCESS : EXIT_FAILURE;

    if (rc < 0) {
        log_init("gateway", "info");
        log_err(&e, "gateway.failed");
    } else if (rc == 0) {
        status = run(&gateway);
    }
    settings_fini(&gateway.set);
    return status;
}
