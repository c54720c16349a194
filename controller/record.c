/* {"v":1, ..., "mac":"HEX"}: the MAC is of all bytes before its comma. */
#include "controller/record.h"

#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/own.h"
#include "controller/create.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAC_HEAD ",\"mac\":\""
#define MAC_HEAD_LEN (sizeof MAC_HEAD - 1)
#define MAC_TAIL "\"}"
#define MAC_TAIL_LEN (sizeof MAC_TAIL - 1)
#define MAC_LEN (MAC_HEAD_LEN + SHA256_HEX + MAC_TAIL_LEN)

static void mac_of(const struct keys *keys, const void *bytes, size_t len,
                   uint8_t mac[SHA256_BYTES])
{
    uint8_t key[SHA256_BYTES];

    hkdf_sha256(keys->session_secret, sizeof keys->session_secret, RECORD_INFO,
                key, sizeof key);
    hmac_sha256(key, sizeof key, bytes, len, mac);
    wipe(key, sizeof key);
}

/* --- writing --- */

static char *body_text(const struct store_session *row,
                       const char *installation, bool with_viewers)
{
    own_json struct json *j = json_object();
    struct json *viewers;

    json_set_int(j, "v", RECORD_VERSION);
    json_set_str(j, "installation", installation);
    json_set_str(j, "id", row->id);
    json_set_str(j, "iss", row->owner_iss);
    json_set_str(j, "sub", row->owner_sub);
    json_set_int(j, "created_ms", row->created_ms);
    json_set_str(j, "url", row->bundle_url);
    json_set_str(j, "sha256", row->bundle_sha256);
    viewers = json_set(j, "viewers", json_array());
    for (int i = 0; with_viewers && i < STORE_VIEWERS_MAX; i++)
        if (row->viewers[i][0])
            json_set_str(viewers, NULL, row->viewers[i]);
    json_set_bool(j, "viewer_history", row->viewer_history);
    json_set_int(j, "lifetime_s", row->lifetime_s);
    json_set_int(j, "idle_s", row->idle_s);
    json_set_str(j, "egress", egress_mode_name(row->egress));
    json_set_str(j, "psk_id", row->psk_id);
    return json_text(j);
}

char *record_text(const struct store_session *row, const char *installation,
                  const struct keys *keys)
{
    own_mem char *body = body_text(row, installation, true);
    uint8_t mac[SHA256_BYTES];
    char hex[SHA256_HEX + 1];
    size_t len;

    if (strlen(body) - 1 + MAC_LEN > RECORD_MAX) {
        free(body);
        body = body_text(row, installation, false);
    }
    len = strlen(body) - 1; /* the brace closes behind the MAC */
    mac_of(keys, body, len, mac);
    hex_encode(mac, sizeof mac, hex);
    return mem_printf("%.*s" MAC_HEAD "%s" MAC_TAIL, (int)len, body, hex);
}

/* --- reading --- */

static int judge_mac(const char *text, size_t len, const struct keys *keys,
                     struct err *e)
{
    const char *at;
    uint8_t said[SHA256_BYTES], mac[SHA256_BYTES];

    if (len <= MAC_LEN || len > RECORD_MAX)
        return err_set(e, ERR_DENIED, "the session's record is none");
    at = text + len - MAC_LEN;
    if (memcmp(at, MAC_HEAD, MAC_HEAD_LEN) != 0 ||
        hex_decode(at + MAC_HEAD_LEN, SHA256_HEX, said, sizeof said) < 0)
        return err_set(e, ERR_DENIED, "the session's record has no MAC");
    mac_of(keys, text, len - MAC_LEN, mac);
    if (!same_bytes(said, mac, sizeof mac))
        return err_set(e, ERR_DENIED,
                       "the session's record was not written with our keys");
    return 0;
}

static int take_text(const struct json *j, const char *name, char *out,
                     size_t size, struct err *e)
{
    const char *text = json_get_str(j, name);

    if (!text || !*text || strlen(text) >= size)
        return err_set(e, ERR_INPUT, "%s must be a text of 1 to %zu bytes",
                       name, size - 1);
    snprintf(out, size, "%s", text);
    return 0;
}

static int take_int(const struct json *j, const char *name, int64_t min,
                    int64_t *out, struct err *e)
{
    if (json_get_int(j, name, out) < 0 || *out < min)
        return err_set(e, ERR_INPUT, "%s must be a whole number from %lld on",
                       name, (long long)min);
    return 0;
}

static int take_bool(const struct json *j, const char *name, bool *out,
                     struct err *e)
{
    if (json_get_bool(j, name, out) < 0)
        return err_set(e, ERR_INPUT, "%s must be true or false", name);
    return 0;
}

static int take_egress(const struct json *j, struct store_session *row,
                       struct err *e)
{
    int mode = egress_mode_of(json_get_str(j, "egress"));

    if (mode < 0)
        return err_set(e, ERR_INPUT, "egress must be none, open or proxy");
    row->egress = (uint8_t)mode;
    return 0;
}

/* What says whose it is, before the rest. */
static int judge(const struct json *j, const char *sid,
                 const char *installation, struct err *e)
{
    static const char *const names[] = {
        "v",      "installation", "id",         "iss",
        "sub",    "url",          "created_ms", "sha256",
        "idle_s", "lifetime_s",   "viewers",    "viewer_history",
        "egress", "psk_id",       "mac",        NULL};
    int64_t version = 0;

    if (json_get_int(j, "v", &version) < 0 || version != RECORD_VERSION)
        return err_set(e, ERR_INPUT,
                       "its version is %lld, and %d is what is known here",
                       (long long)version, RECORD_VERSION);
    if (!json_get_is(j, "installation", installation))
        return err_set(e, ERR_DENIED, "it is another installation's");
    if (!json_get_is(j, "id", sid) || !id_is_valid(sid))
        return err_set(e, ERR_DENIED, "it is another session's");
    return json_only(j, names, e);
}

static int fill(const struct json *j, struct store_session *row, struct err *e)
{
    if (take_text(j, "id", row->id, sizeof row->id, e) < 0 ||
        take_text(j, "iss", row->owner_iss, sizeof row->owner_iss, e) < 0 ||
        take_text(j, "sub", row->owner_sub, sizeof row->owner_sub, e) < 0 ||
        take_int(j, "created_ms", 1, &row->created_ms, e) < 0 ||
        take_text(j, "url", row->bundle_url, sizeof row->bundle_url, e) < 0 ||
        take_text(j, "sha256", row->bundle_sha256, sizeof row->bundle_sha256,
                  e) < 0 ||
        create_viewers(json_get(j, "viewers"), row->viewers, e) < 0 ||
        take_bool(j, "viewer_history", &row->viewer_history, e) < 0 ||
        take_int(j, "lifetime_s", 1, &row->lifetime_s, e) < 0 ||
        take_int(j, "idle_s", 0, &row->idle_s, e) < 0 ||
        take_egress(j, row, e) < 0 ||
        take_text(j, "psk_id", row->psk_id, sizeof row->psk_id, e) < 0)
        return -1;
    if (!id_is_valid(row->psk_id) || strlen(row->bundle_sha256) != SHA256_HEX ||
        strspn(row->bundle_sha256, "0123456789abcdef") != SHA256_HEX)
        return err_set(e, ERR_INPUT, "psk_id or sha256 is none");
    return 0;
}

int record_parse(const char *text, const char *sid, const char *installation,
                 const struct keys *keys, struct store_session *out,
                 struct err *e)
{
    own_mem struct store_session *row = mem_zero(1, sizeof *row);
    own_json struct json *j = NULL;
    size_t len = text ? strnlen(text, RECORD_MAX + 1) : 0;

    if (judge_mac(text, len, keys, e) < 0)
        return -1;
    j = json_parse(text, len, e);
    if (!j || judge(j, sid, installation, e) < 0 || fill(j, row, e) < 0)
        return err_wrap(e, "the session's record");
    row->state = STATE_PENDING;
    store_stage_add(row, "admitted", "done", "", row->created_ms);
    keys_sealed(keys, row->id, row->psk_sealed);
    *out = *row;
    return 0;
}

bool record_is_anothers(const char *text, const char *installation)
{
    own_json struct json *j = NULL;
    struct err ignored = {0};
    size_t len = text ? strnlen(text, RECORD_MAX + 1) : 0;

    if (len == 0 || len > RECORD_MAX)
        return false;
    j = json_parse(text, len, &ignored);
    return json_get_str(j, "installation") &&
           !json_get_is(j, "installation", installation);
}
