#include "controller/settings_internal.h"

#include "base/addr.h"
#include "base/url.h"

#include <string.h>
#include <unistd.h>

static int check_open(const struct settings *s, struct err *e)
{
    if (s->dev_issuer && geteuid() != 0)
        return err_set(e, ERR_INPUT,
                       "--egress open: programs run under your own uid here, "
                       "and with this machine's network one could get an "
                       "identity from /dev/token in your name; start as root, "
                       "where each has a uid of its own");
    return 0;
}

static int check_proxy(const struct settings *s, struct err *e)
{
    struct domain_list domains = {0};
    struct cidr_list allowed = {0};
    int r;

    if (!*s->program_domains)
        return err_set(e, ERR_INPUT,
                       "--egress proxy: --program-domains says what programs "
                       "may reach; for nothing at all: --egress none");
    r = domain_list_parse(s->program_domains, &domains, e);
    domain_list_fini(&domains);
    if (r < 0)
        return err_wrap(e, "--program-domains");
    r = cidr_list_parse(s->program_allow_cidrs, &allowed, e);
    cidr_list_fini(&allowed);
    return r < 0 ? err_wrap(e, "--program-allow-cidrs") : 0;
}

int settings_check_network(const struct settings *s, struct err *e)
{
    int mode = egress_mode_of(s->egress);

    if (mode < 0)
        return err_set(e, ERR_INPUT,
                       "--egress must be none, proxy or open, not \"%s\"",
                       s->egress);
    if (mode != EGRESS_PROXY &&
        (*s->program_domains || *s->program_allow_cidrs || s->program_http))
        return err_set(e, ERR_INPUT,
                       "--program-* belong to --egress proxy, and it is %s",
                       s->egress);
    if (mode == EGRESS_OPEN)
        return check_open(s, e);
    return mode == EGRESS_PROXY ? check_proxy(s, e) : 0;
}

/* A pod's network is its agent's too, and the kernel keeps the program from
 * it; a program without namespaces has the machine's. */
enum egress_mode settings_egress(const struct settings *s,
                                 const char *isolation)
{
    if (strcmp(isolation, "full") != 0)
        return EGRESS_OPEN;
    return (enum egress_mode)egress_mode_of(s->egress);
}

void settings_network_to_spec(const struct settings *s, const char *isolation,
                              struct json *spec)
{
    const enum egress_mode mode = settings_egress(s, isolation);
    struct json *j = json_set(spec, "network", json_object()), *rules;

    json_set_int(j, "v", 2);
    json_set_bool(j, "shared", s->is_kube);
    json_set_str(j, "egress", egress_mode_name(mode));
    settings_broker_to_spec(s, isolation, j);
    if (mode != EGRESS_PROXY)
        return;
    rules = json_set(j, "rules", json_object());
    json_set_str(rules, "domains", s->program_domains);
    json_set_bool(rules, "allow_http", s->program_http);
    json_set_str(rules, "allow_cidrs", s->program_allow_cidrs);
    json_set_str(rules, "deny_cidrs", s->deny_cidrs);
}
