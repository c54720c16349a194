#include "controller/keys.h"

#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/ours.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct token_signer *load_or_make(const char *path, struct err *e)
{
    if (access(path, F_OK) == 0)
        return token_signer_load(path, e);
    return token_signer_make(path, e);
}

/* The standby takes a removed signer's place; a crash in between is healed
 * by the next start. */
static int promote(const char *signer, const char *standby, struct err *e)
{
    if (access(signer, F_OK) == 0 || access(standby, F_OK) != 0)
        return 0;
    if (rename(standby, signer) < 0)
        return err_sys(e, "%s", signer);
    return 0;
}

/* Both signers are there: what is public of them. */
static void make_set(struct keys *k)
{
    struct json *list;

    k->jwks = json_object();
    list = json_set(k->jwks, "keys", json_array());
    json_set(list, NULL, token_signer_jwk(k->signer));
    json_set(list, NULL, token_signer_jwk(k->standby));
    k->jwks_text = json_text(k->jwks);
}

static int load_signers(struct keys *k, const char *dir, struct err *e)
{
    own_mem char *signer = mem_printf("%s/signer.pem", dir);
    own_mem char *standby = mem_printf("%s/standby.pem", dir);

    if (promote(signer, standby, e) < 0)
        return -1;
    k->signer = load_or_make(signer, e);
    k->standby = k->signer ? load_or_make(standby, e) : NULL;
    if (!k->standby)
        return err_wrap(e, "signing keys in %s", dir);
    make_set(k);
    return 0;
}

static int publish(const struct keys *k, const char *state_dir, struct err *e)
{
    own_mem char *path = mem_printf("%s/jwks.json", state_dir);
    own_mem char *fresh = mem_printf("%s/.jwks.json.new", state_dir);
    size_t len = strlen(k->jwks_text);
    own_fd int fd = -1;

    unlink(fresh); /* a crash may have left one */
    fd =
        open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0 || write(fd, k->jwks_text, len) != (ssize_t)len ||
        fchmod(fd, 0644) < 0 || fsync(fd) < 0 || rename(fresh, path) < 0)
        return err_sys(e, "%s", path);
    return 0;
}

static void derive(struct keys *k)
{
    hkdf_sha256(k->session_secret, sizeof k->session_secret,
                "podterm launch seal", k->launch_seal, sizeof k->launch_seal);
}

int keys_load(struct keys *k, const char *state_dir, struct err *e)
{
    own_mem char *dir = mem_printf("%s/keys", state_dir);
    own_mem char *secret = mem_printf("%s/session_secret", dir);
    own_mem char *seal = mem_printf("%s/seal", dir);
    own_fd int fd = ours_dir(dir, 0700, e);

    if (fd < 0)
        return -1;
    if (load_signers(k, dir, e) < 0 ||
        seal_key_load_or_make(secret, k->session_secret, e) < 0 ||
        seal_key_load_or_make(seal, k->seal, e) < 0)
        return -1;
    derive(k);
    return publish(k, state_dir, e);
}

int keys_take(struct keys *k, const char *dir, const char *state_dir,
              struct err *e)
{
    own_mem char *signer = mem_printf("%s/signer.pem", dir);
    own_mem char *standby = mem_printf("%s/standby.pem", dir);
    own_mem char *secret = mem_printf("%s/session_secret", dir);
    own_mem char *seal = mem_printf("%s/seal", dir);

    k->signer = token_signer_load(signer, e);
    k->standby = k->signer ? token_signer_load(standby, e) : NULL;
    if (!k->standby || seal_key_load(secret, k->session_secret, e) < 0 ||
        seal_key_load(seal, k->seal, e) < 0)
        return err_wrap(e, "keys of --keys-dir");
    make_set(k);
    derive(k);
    return publish(k, state_dir, e);
}

void keys_fini(struct keys *k)
{
    token_signer_free(k->signer);
    token_signer_free(k->standby);
    json_free(k->jwks);
    free(k->jwks_text);
    wipe(k, sizeof *k);
}

void keys_session(const struct keys *k, const char *sid,
                  uint8_t out[SESSION_KEY_BYTES])
{
    own_mem char *info = mem_printf("podterm session key %s", sid);

    hkdf_sha256(k->session_secret, sizeof k->session_secret, info, out,
                SESSION_KEY_BYTES);
}

void keys_sealed(const struct keys *k, const char *sid,
                 uint8_t out[SEALED_KEY_BYTES])
{
    uint8_t key[SESSION_KEY_BYTES];

    keys_session(k, sid, key);
    seal_bytes(k->seal, sid, key, sizeof key, out);
    wipe(key, sizeof key);
}

void keys_pool(const struct keys *k, const char *id,
               uint8_t out[SESSION_KEY_BYTES])
{
    own_mem char *info = mem_printf("podterm warm runner %s", id);

    hkdf_sha256(k->session_secret, sizeof k->session_secret, info, out,
                SESSION_KEY_BYTES);
}

char *keys_token(const struct keys *k, const char *issuer, const char *audience,
                 const char *sid, const char *sub, enum role role,
                 const char *bundle_sha256, int64_t now_s, int64_t *expires_s,
                 struct err *e)
{
    struct session_claims c = {
        .role = role,
        .iat = now_s,
        .nbf = now_s,
        .exp = now_s + TOKEN_LIFE_S,
    };
    char *token;

    snprintf(c.iss, sizeof c.iss, "%s", issuer);
    snprintf(c.aud, sizeof c.aud, "%s", audience);
    snprintf(c.sub, sizeof c.sub, "%s", sub);
    snprintf(c.sid, sizeof c.sid, "%s", sid);
    snprintf(c.bnd, sizeof c.bnd, "%s", bundle_sha256);
    random_id(c.jti);
    token = session_token_sign(k->signer, &c, e);
    if (token)
        *expires_s = c.exp;
    return token;
}
