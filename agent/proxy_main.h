/*
 * The egress proxy's process: `podterm-agent --proxy`, started by the main
 * process with two descriptors and nothing else of it.
 */
#ifndef PODTERM_AGENT_PROXY_MAIN_H
#define PODTERM_AGENT_PROXY_MAIN_H

#include "agent/proxy.h"
#include "base/err.h"
#include "base/json.h"

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
