#include "tests/lib/clusterrights.h"

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/clusteruser.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROLES_MAX 4
#define RBAC "/apis/rbac.authorization.k8s.io/v1"

static struct shipped {
    char *name;
    struct json *rules; /* as shipped */
} roles[ROLES_MAX];
static size_t role_count;

static void take_role(void *arg, struct json *doc)
{
    struct shipped *role = &roles[role_count];

    (void)arg;
    if (!json_get_is(doc, "kind", "Role"))
        return;
    assert_true(role_count < ROLES_MAX);
    role_count++;
    role->name = mem_str(json_get_str(json_get(doc, "metadata"), "name"));
    role->rules = json_dup(json_get(doc, "rules"));
}

static bool holds(const struct json *list, const char *text)
{
    for (size_t i = 0; i < json_count(list); i++)
        if (strcmp(json_str(json_at(list, i)), text) == 0)
            return true;
    return false;
}

static bool is_of(const struct clusterright *r, const struct json *rule)
{
    return holds(json_get(rule, "apiGroups"), r->group) &&
           holds(json_get(rule, "resources"), r->resource) &&
           holds(json_get(rule, "verbs"), r->verb);
}

const char *clusterrights_name(const struct clusterright *r)
{
    for (size_t i = 0; i < role_count; i++)
        for (size_t k = 0; k < json_count(roles[i].rules); k++) {
            const struct json *rule = json_at(roles[i].rules, k);

            if (is_of(r, rule))
                return json_str(json_at(json_get(rule, "resourceNames"), 0));
        }
    fail_msg("%s of %s is not shipped", r->verb, r->resource);
    return NULL;
}

/* A role's rules without one right (NULL = with all). */
static void set_role(struct clusterbed *bed, const struct shipped *role,
                     const struct clusterright *without)
{
    own_json struct json *body = json_object();
    struct json *rules = json_set(body, "rules", json_array());
    own_mem char *text = NULL;

    for (size_t i = 0; i < json_count(role->rules); i++) {
        struct json *rule = json_dup(json_at(role->rules, i));

        json_set(rules, NULL, rule);
        if (without && is_of(without, rule)) {
            const struct json *old = json_get(json_at(role->rules, i), "verbs");
            struct json *verbs = json_set(rule, "verbs", json_array());

            /* else more than one right would be gone */
            assert_int_equal(json_count(json_get(rule, "resources")), 1);
            for (size_t k = 0; k < json_count(old); k++)
                if (strcmp(json_str(json_at(old, k)), without->verb) != 0)
                    json_set_str(verbs, NULL, json_str(json_at(old, k)));
            if (json_count(verbs) == 0) /* a rule must have one */
                json_set_str(verbs, NULL, "none");
        }
    }
    text = json_text(body);
    assert_int_equal(clusterbed_call(bed, "PATCH", text, NULL,
                                     RBAC "/namespaces/%s/roles/%s", bed->ns,
                                     role->name),
                     200);
}

void clusterrights_set(struct clusterbed *bed,
                       const struct clusterright *without)
{
    for (size_t i = 0; i < role_count; i++)
        set_role(bed, &roles[i], without);
}

/* Each by itself: no rule names two resources in two groups. */
static size_t each_of(const struct json *rule, clusterrights_take *take)
{
    const struct json *groups = json_get(rule, "apiGroups"),
                      *resources = json_get(rule, "resources"),
                      *verbs = json_get(rule, "verbs");

    assert_int_equal(json_count(groups), 1);
    assert_int_equal(json_count(resources), 1);
    for (size_t i = 0; i < json_count(verbs); i++)
        take(json_str(json_at(verbs, i)), json_str(json_at(resources, 0)),
             json_str(json_at(groups, 0)));
    return json_count(verbs);
}

size_t clusterrights_each(clusterrights_take *take)
{
    size_t n = 0;

    for (size_t i = 0; i < role_count; i++)
        for (size_t k = 0; k < json_count(roles[i].rules); k++)
            n += each_of(json_at(roles[i].rules, k), take);
    return n;
}

void clusterrights_load(void)
{
    clusteruser_each(take_role, NULL);
}

void clusterrights_free(void)
{
    for (size_t i = 0; i < role_count; i++) {
        free(roles[i].name);
        json_free(roles[i].rules);
    }
    role_count = 0;
}
