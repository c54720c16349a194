/*
 * A session as the API shows it. Source: controller/openapi.yaml, Session.
 */
#ifndef PODTERM_CONTROLLER_VIEW_H
#define PODTERM_CONTROLLER_VIEW_H

#include "base/json.h"
#include "base/store.h"

#include <stdbool.h>
#include <stdint.h>

/* is_owner: with what only the owner may know. The caller's. */
struct json *view_session(const struct store_session *row,
                          const char *attach_url, bool is_owner);

/* "2026-01-02T03:04:05.678Z" */
#define VIEW_TIME_MAX 32
void view_time(int64_t wall_ms, char out[VIEW_TIME_MAX]);

#endif
