#include "controller/routes.h"

#include "base/seal.h"
#include "controller/devissuer.h"
#include "controller/health.h"
#include "controller/page.h"
#include "controller/sessions.h"

#include <stdio.h>
#include <string.h>

const struct route routes[] = {
    {"POST", "/api/sessions", AUTH_IDENTITY, PLACE_API, sessions_create},
    {"GET", "/api/sessions", AUTH_IDENTITY, PLACE_API, sessions_list},
    {"GET", "/api/sessions/{id}", AUTH_IDENTITY, PLACE_API, sessions_get},
    {"PATCH", "/api/sessions/{id}", AUTH_IDENTITY, PLACE_API, sessions_patch},
    {"DELETE", "/api/sessions/{id}", AUTH_IDENTITY, PLACE_API, sessions_delete},
    {"POST", "/api/sessions/{id}/token", AUTH_IDENTITY, PLACE_API,
     sessions_token},
    {"GET", "/.well-known/jwks.json", AUTH_NONE, PLACE_API, health_jwks},
    {"GET", "/web/config.json", AUTH_NONE, PLACE_API, page_config},
    {"GET", "/dev/token", AUTH_DEV, PLACE_API, devissuer_token},
    {"GET", "/livez", AUTH_NONE, PLACE_API, health_livez},
    {"GET", "/readyz", AUTH_NONE, PLACE_METRICS, health_readyz},
    {"GET", "/metrics", AUTH_MACHINE, PLACE_METRICS, health_metrics},
};
const size_t route_count = sizeof routes / sizeof *routes;

/* Does path match the pattern? {id} takes one well-formed session id. */
static bool matches(const char *pattern, const char *path, char sid[ID_SIZE])
{
    const char *hole = strstr(pattern, "{id}");
    size_t before;

    if (!hole)
        return strcmp(pattern, path) == 0;
    before = (size_t)(hole - pattern);
    if (strncmp(pattern, path, before) != 0 ||
        strnlen(path + before, ID_LEN) < ID_LEN ||
        strcmp(hole + 4, path + before + ID_LEN) != 0)
        return false;
    memcpy(sid, path + before, ID_LEN);
    sid[ID_LEN] = '\0';
    return id_is_valid(sid);
}

const struct route *routes_find(const char *method, const char *path,
                                char sid[ID_SIZE], char *allow,
                                size_t allow_size)
{
    size_t used = 0;

    allow[0] = '\0';
    for (size_t i = 0; i < route_count; i++) {
        if (!matches(routes[i].path, path, sid))
            continue;
        if (strcmp(routes[i].method, method) == 0) {
            allow[0] = '\0';
            return &routes[i];
        }
        if (used < allow_size)
            used += (size_t)snprintf(allow + used, allow_size - used, "%s%s",
                                     used ? ", " : "", routes[i].method);
    }
    return NULL;
}
