/*
 * The egress proxy's process: `podterm-agent --proxy`, started by the main
 * process with two descriptors and nothing else of it.
 */
#ifndef PODTERM_AGENT_PROXY_MAIN_H
#define PODTERM_AGENT_PROXY_MAIN_H

#include "agent/proxy.h"
#include "base/err.h"
#include "base/json.h"

#define PROXY_LINK_FD                                                          \
    3                         /* to the main process: its rules come, one line;
                             refusals go, a line each. At its end we end */
#define PROXY_LISTEN_FD 4     /* where the program connects */
#define PROXY_RULES_MAX 65536 /* bytes of that line */

/*
 * {"domains":"a,*.b:8443","allow_http":false,"allow_cidrs":"","deny_cidrs":""}
 * -1 ERR_INPUT naming the member; *out is to be freed by proxy_rules_fini
 * either way.
 */
int proxy_rules_of(const struct json *j, struct proxy_rules *out,
                   struct err *e);
void proxy_rules_fini(struct proxy_rules *r);

/* podterm-agent --proxy SID: its exit status. */
int proxy_child_main(int argc, char **argv);

#endif
