/*
 * The archive of a session between our cache and its agent, as root: agents
 * run under uids of their own there and cannot come at the cache. A session
 * is given a link to its archive, which it can only read; what its agent
 * fetched instead is taken into the cache, if it has the digest the session
 * asked for. So a taken-over agent changes nothing another session runs, and
 * reads no archive but its own.
 */
#ifndef PODTERM_CONTROLLER_ARCHIVE_H
#define PODTERM_CONTROLLER_ARCHIVE_H

#include "base/worker.h"
#include "controller/launcher.h"
#include "controller/settings.h"

/* Names in the session directory (PROTOCOL.md 7), which the keeper tells its
 * agent. */
#define ARCHIVE_CACHED "agent/cached"
#define ARCHIVE_KEEP "agent/archive"

struct archive;

/* The one `what` asks for, in the session's directory. */
struct archive *archive_new(const struct settings *s, const char *session_dir,
                            const struct launch *what);
void archive_free(struct archive *a); /* takes NULL */

/* Before the agent starts. Blocking, any thread. */
void archive_give(const struct archive *a);
/* Its agent has what it needs. Takes a over; on the loop. When w has too much
 * to do, nothing is taken: the next session's may be. */
void archive_take(struct archive *a, struct worker *w);

#endif
