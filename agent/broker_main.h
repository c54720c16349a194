/*
 * The key broker's process: `podterm-agent --broker`, started by the main
 * process with a link to it, a listening socket and, on one machine, the keys;
 * nothing else. It alone reads keys, and anew for each request.
 */
#ifndef PODTERM_AGENT_BROKER_MAIN_H
#define PODTERM_AGENT_BROKER_MAIN_H

#include "agent/broker.h"
#include "base/err.h"
#include "base/json.h"

#define BROKER_KEYS_MAX 16384 /* bytes of all keys' JSON */

/*
 * {"apis":[{"name":"anthropic","upstream":"https://…"}],"requests":1,
 *  "bytes":1,"per_minute":1,"allow_cidrs":"","deny_cidrs":""}
 * upstream may be absent. -1 ERR_INPUT naming the member; *out is to be freed
 * by broker_rules_fini either way.
 */
int broker_rules_of(const struct json *j, struct broker_rules *out,
                    struct err *e);
/* The same judgement alone: which APIs they are of. */
int broker_rules_check(const struct json *j, bool has_api[BROKER_API_COUNT],
                       struct err *e);
void broker_rules_fini(struct broker_rules *r);

/* The key of an API: out of the JSON object {"anthropic":"…"} that a sealed
 * descriptor holds, or the file of its name in a directory (a mounted Secret).
 * -1 ERR_ABSENT, ERR_INPUT, ERR_SYSTEM. */
int broker_key_of_fd(int fd, enum broker_api api, struct buf *out,
                     struct err *e);
int broker_key_of_dir(const char *dir, enum broker_api api, struct buf *out,
                      struct err *e);

/* podterm-agent --broker SID [DIR]: its exit status. The line of rules that
 * comes to it: {"rules":{…},"spent_requests":0,"spent_bytes":0}; what it says:
 * {"refused":"…"}, {"spent_requests":1,"spent_bytes":2}. */
int broker_child_main(int argc, char **argv);

#endif
