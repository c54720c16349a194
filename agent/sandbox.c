#include "agent/sandbox.h"

#include "base/layer.h"

#include <stdio.h>
#include <string.h>

/* Where systems keep programs and what they are configured by. A directory
 * that is not there is none; links are followed. */
static const char *const system_paths[] = {
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc",
    "/proc", "/nix",
    /* how much memory and how many processors there are */
    "/sys/fs/cgroup", "/sys/devices/system/cpu"};

/* And in an image of its own, where nothing is somebody else's. */
static const char *const image_paths[] = {"/opt", "/srv",       "/var",
                                          "/app", "/workspace", "/home"};

static const char *const scratch_paths[] = {"/tmp", "/var/tmp", "/dev"};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* --- what is asked for --- */

static void add_paths(const char **list, const char *const *more, size_t count)
{
    while (*list)
        list++;
    memcpy(list, more, count * sizeof(*more));
}

static void plan_files(struct sandbox *s, const struct agent_spec *spec,
                       const char *root, const char *home)
{
    add_paths(s->readable, system_paths, COUNT(system_paths));
    if (strcmp(spec->isolation, "full") == 0)
        add_paths(s->readable, image_paths, COUNT(image_paths));
    add_paths(s->readable, &root, 1);
    add_paths(s->writable, scratch_paths, COUNT(scratch_paths));
    add_paths(s->writable, &home, 1);
    s->cage.readable = s->readable;
    s->cage.writable = s->writable;
}

/* Another's network, the agent's: only the kernel keeps the program from it. */
static bool is_network_shut(const struct agent_spec *spec)
{
    return spec->is_network_shared && strcmp(spec->egress, "open") != 0;
}

static void plan_layers(struct shimlink_cage *c, const struct agent_spec *spec)
{
    const bool is_shut = is_network_shut(spec);

    c->port_count = is_shut ? sandbox_ports(spec, c->ports) : 0;
    c->want = SHIM_LAYER_CALLS | SHIM_LAYER_FILES | SHIM_LAYER_SCOPES;
    if (c->port_count)
        c->want |= SHIM_LAYER_PORTS;
    if (strcmp(spec->cage, "strict") == 0)
        c->must = c->want & (uint8_t)~SHIM_LAYER_SCOPES; /* namespaces, too */
    else if (is_shut)
        c->must = SHIM_LAYER_CALLS; /* or it had all of the agent's */
}

static void add_filter(struct shimlink_cage *c, enum shim_when when,
                       const struct callfilter *f)
{
    c->filters[c->filter_count++] = (struct shimlink_filter){
        .when = when, .code = f->code, .count = f->count};
}

static int plan_calls(struct sandbox *s, const struct agent_spec *spec,
                      struct err *e)
{
    struct shimlink_cage *c = &s->cage;
    const bool has_udp = strcmp(spec->egress, "open") == 0;

    if (callfilter_calls(has_udp, &s->calls, e) < 0 ||
        callfilter_arguments(&s->arguments, e) < 0)
        return -1;
    add_filter(c, SHIM_ALWAYS, &s->calls);
    add_filter(c, SHIM_ALWAYS, &s->arguments);
    if (!is_network_shut(spec))
        return 0;
    if (callfilter_no_inet(&s->no_inet, e) < 0)
        return -1;
    add_filter(c, c->port_count ? SHIM_UNLESS_PORTS : SHIM_ALWAYS, &s->no_inet);
    return 0;
}

int sandbox_init(struct sandbox *s, const struct agent_spec *spec,
                 const char *root, const char *home, struct err *e)
{
    memset(s, 0, sizeof(*s));
    if (strcmp(spec->cage, "open") == 0)
        return 0;
    plan_files(s, spec, root, home);
    plan_layers(&s->cage, spec);
    if (plan_calls(s, spec, e) == 0)
        return 0;
    sandbox_fini(s);
    return -1;
}

void sandbox_fini(struct sandbox *s)
{
    callfilter_fini(&s->calls);
    callfilter_fini(&s->arguments);
    callfilter_fini(&s->no_inet);
}

int sandbox_ports(const struct agent_spec *spec, uint16_t out[SHIM_PORTS_MAX])
{
    int count = 0;

    if (spec->proxy_rules)
        out[count++] = SHIM_PROXY_PORT;
    if (spec->broker_rules)
        out[count++] = SHIM_BROKER_PORT;
    return count;
}

/* --- what holds --- */

unsigned sandbox_layers(const struct agent_spec *spec, uint8_t held)
{
    unsigned layers = 0;

    if (strcmp(spec->isolation, "full") == 0)
        layers |= LAYER_NAMESPACES;
    if (held & SHIM_LAYER_CALLS)
        layers |= LAYER_CALLS;
    if (held & SHIM_LAYER_FILES)
        layers |= LAYER_FILES;
    if (held & SHIM_LAYER_PORTS)
        layers |= LAYER_PORTS;
    if (held & SHIM_LAYER_SCOPES)
        layers |= LAYER_SCOPES;
    return layers;
}

void sandbox_missing(const struct agent_spec *spec, uint8_t held,
                     uint8_t landlock, char out[SANDBOX_TEXT_MAX])
{
    struct shimlink_cage asked = {0};
    unsigned gone;

    out[0] = 0;
    if (strcmp(spec->cage, "open") == 0)
        return;
    plan_layers(&asked, spec);
    gone = asked.want & (unsigned)~held & ~(unsigned)SHIM_LAYER_SCOPES;
    if (gone & SHIM_LAYER_CALLS)
        snprintf(out, SANDBOX_TEXT_MAX,
                 "this program's system calls are not filtered: the kernel "
                 "takes no filter");
    else if (gone & SHIM_LAYER_PORTS)
        snprintf(out, SANDBOX_TEXT_MAX,
                 "this program has no network: the kernel's Landlock, which "
                 "would hold it to its proxy, is %s",
                 landlock ? "too old" : "missing");
    else if (gone)
        snprintf(out, SANDBOX_TEXT_MAX,
                 "this program's files are not held by Landlock: the kernel "
                 "has none");
}
