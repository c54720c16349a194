/*
 * A session spec that is right in every member, as a controller would write
 * it, for tests to bend: PROTOCOL.md 6. Its keys are those of
 * tests/lib/token_fixture.h, whose setup comes first.
 */
#ifndef PODTERM_TESTS_LIB_SPEC_FIXTURE_H
#define PODTERM_TESTS_LIB_SPEC_FIXTURE_H

#include "base/json.h"

#define SPEC_VIEWER "bob"
#define SPEC_SECRET "hunter2-of-the-env"

/* The tree, the caller's (json_free). */
struct json *spec_fixture(void);
/* Put text (JSON) at a dotted path ("fetch.domains") of the spec; NULL takes
 * the member away. Returns the whole new tree, the caller's; spec is freed. */
struct json *spec_bend(struct json *spec, const char *path, const char *text);

#endif
