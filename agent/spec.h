/*
 * The session spec: what the controller tells the agent (PROTOCOL.md 6).
 * Parsed strictly: an unknown member, a missing one, a value out of its
 * limit fails with the member's name.
 */
#ifndef PODTERM_AGENT_SPEC_H
#define PODTERM_AGENT_SPEC_H

#include "base/addr.h"
#include "base/err.h"
#include "base/frame.h"
#include "base/json.h"
#include "base/minisign.h"
#include "base/token.h"
#include "base/url.h"
#include "base/vocab.h"

#include <stdbool.h>
#include <stdint.h>

#define SPEC_ARGS_MAX 256
#define SPEC_ARG_BYTES_MAX 4096
#define SPEC_ENV_COUNT_MAX 256
#define SPEC_ENV_BYTES_MAX 32768 /* of all names and values */
#define SPEC_KEYS_MAX 8          /* signing keys */

struct spec_fetch {
    struct url_policy url; /* domains, allow_http, file_root */
    struct addr_policy addr;
    struct domain_list public_cache_hosts;
    int64_t max_bytes, max_s, min_bytes_s, max_redirects;
    struct minisign_key keys[SPEC_KEYS_MAX];
    int key_count;
};

struct spec_unpack { /* 0 is refused: every limit is stated */
    int64_t max_entries;
    int64_t max_bytes;
    int64_t max_ratio; /* produced to archive bytes */
    int64_t max_depth; /* path components */
    int64_t max_name;  /* bytes of a whole name */
};

struct spec_limits { /* resource limits of the program; 0 = as it is */
    int64_t nproc, nofile, data_bytes, fsize_bytes, cpu_s;
};

struct agent_spec {
    char sid[ID_SIZE];
    char psk_id[ID_SIZE];
    int64_t created_ms;
    char owner_iss[TOKEN_STR_MAX];
    char owner_sub[TOKEN_STR_MAX];
    struct frame_viewers viewers; /* version 0: those of the spec itself */
    bool viewer_history;

    char bundle_url[URL_MAX];
    char bundle_sha256[65];
    int64_t bundle_size;    /* 0 = not told */
    char *bundle_signature; /* owned; NULL = none */
    char **command;         /* owned, NULL-terminated; NULL = not told */
    char **env;             /* owned, NULL-terminated "NAME=value" */
    uint16_t cols, rows;

    int64_t lifetime_s, idle_s, linger_s, linger_detached_s, hold_s;
    int64_t attach_max_s;
    int64_t ring_bytes, window_bytes, input_window_bytes;

    char token_iss[TOKEN_STR_MAX];
    char token_aud[TOKEN_STR_MAX];
    int64_t token_skew_s;
    struct token_keys *token_keys; /* owned */

    struct spec_fetch fetch;
    struct spec_unpack unpack;
    char isolation[8];      /* namespaces: "full", "none" */
    char cage[8];           /* the kernel's layers: "strict", "best", "open" */
    bool is_network_shared; /* with the agent: a pod's */
    char egress[8];         /* "none", "proxy", "open" */
    char *proxy_rules;  /* owned: proxy_rules_of's JSON; NULL but for "proxy" */
    char *broker_rules; /* owned: broker_rules_of's JSON; NULL = no broker */
    bool has_api[BROKER_API_COUNT]; /* at it */
    struct spec_limits limits;
    char *file_root; /* owned; fetch.url.file_root points here */
};

/* Parse the whole text. 0, or -1 with ERR_INPUT naming the member. *out is
 * filled only on success; spec_fini releases it. */
int spec_parse(const char *text, size_t len, struct agent_spec *out,
               struct err *e);
/* The same from a tree, which stays the caller's. */
int spec_of(const struct json *root, struct agent_spec *out, struct err *e);
/* Its member "token" alone into s: a warm spec has the same. */
int spec_token(const struct json *root, struct agent_spec *s, struct err *e);
/* Takes NULL and half-filled ones; wipes the environment. */
void spec_fini(struct agent_spec *s);
/* Wipe the program's environment: it has it now. */
void spec_env_forget(struct agent_spec *s);

#endif
