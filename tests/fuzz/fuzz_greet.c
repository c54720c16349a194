/*
 * HELLO at the agent. The first byte says what the rest is: h = its JSON, in
 * which the word TOKEN stands for a right token; c = the claims of a token,
 * rightly signed here and sent in a right HELLO.
 */
#include "agent/greet.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW 1800000000
#define SID "abcdefghijklmnopqrstuvwxyz"
#define BND "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define OLDEST 1000
#define END 5000

static struct token_signer *signer;
static struct agent_spec spec;
static struct state state;
static char *good_token;

static char *sign(const char *payload, size_t len)
{
    own_json struct json *j = NULL;
    struct err e = {0};

    j = json_parse(payload, len, &e);
    return json_is_object(j) ? token_sign(signer, TOKEN_TYP_SESSION, j, &e)
                             : NULL;
}

static void prepare(void)
{
    static const char claims[] =
        "{\"iss\":\"i\",\"aud\":\"a\",\"sub\":\"alice\",\"sid\":\"" SID
        "\",\"jti\":\"" SID "\",\"bnd\":\"" BND
        "\",\"role\":\"owner\",\"iat\":1800000000,\"nbf\":1800000000,"
        "\"exp\":1800000060}";
    char path[] = "/tmp/podterm-fuzz-XXXXXX";
    own_json struct json *set = json_object();
    struct err e = {0};
    int fd = mkstemp(path);

    seal_init();
    signer = token_signer_make(NULL, &e);
    if (fd < 0 || !signer || state_open(&state, path, STATE_RING_MIN, &e) < 0)
        abort();
    close(fd);
    unlink(path);
    json_set(json_set(set, "keys", json_array()), NULL,
             token_signer_jwk(signer));
    spec.token_keys = token_keys_of(set, &e);
    good_token = sign(claims, strlen(claims));
    if (!spec.token_keys || !good_token)
        abort();
    strcpy(spec.sid, SID);
    strcpy(spec.bundle_sha256, BND);
    strcpy(spec.owner_sub, "alice");
    strcpy(spec.viewers.subjects[0], "bob");
    spec.viewers.count = 1;
    strcpy(spec.token_iss, "i");
    strcpy(spec.token_aud, "a");
    spec.token_skew_s = TOKEN_SKEW_S;
    state.head->output_oldest = OLDEST;
    state.head->output_end = END;
}

static void hello(const char *text, size_t len)
{
    struct frame f = {
        .type = FRAME_HELLO, .body = (const uint8_t *)text, .body_len = len};
    struct greet g = {0};
    struct err e = {0};

    memset(state.head->jtis, 0, sizeof(state.head->jtis));
    spec.viewer_history = len & 1;
    if (greet_hello(&spec, &state, &f, NOW, &g, &e) < 0) {
        if (e.kind != ERR_INPUT && e.kind != ERR_TOKEN && e.kind != ERR_DENIED)
            abort();
        return;
    }
    if (g.role >= ROLE_COUNT || g.output_from < OLDEST || g.output_from > END ||
        g.cols > FRAME_CELLS_MAX || g.rows > FRAME_CELLS_MAX ||
        !g.cols != !g.rows)
        abort();
    if (g.role == ROLE_VIEWER && !spec.viewer_history && g.output_from != END)
        abort();
    /* whatever it was, it is not taken twice */
    if (greet_hello(&spec, &state, &f, NOW, &g, &e) == 0 || e.kind != ERR_TOKEN)
        abort();
}

static void hello_with_token(const uint8_t *data, size_t size)
{
    const char *at = memmem(data, size, "TOKEN", 5);
    size_t head = at ? (size_t)(at - (const char *)data) : size;
    struct buf b;

    buf_init(&b, size + TOKEN_MAX);
    buf_append(&b, data, head);
    if (at) {
        buf_append_str(&b, good_token);
        buf_append(&b, at + 5, size - head - 5);
    }
    hello((const char *)b.data, b.len);
    buf_fini(&b);
}

static void hello_of_claims(const uint8_t *data, size_t size)
{
    own_mem char *token = sign((const char *)data, size), *text = NULL;

    if (!token)
        return;
    text = mem_printf("{\"token\":\"%s\"}", token);
    hello(text, strlen(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!signer)
        prepare();
    if (size == 0 || size > FRAME_HELLO_MAX)
        return 0;
    if (data[0] == 'h')
        hello_with_token(data + 1, size - 1);
    else if (data[0] == 'c')
        hello_of_claims(data + 1, size - 1);
    return 0;
}
