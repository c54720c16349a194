#include "controller/brokerkeys.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/keyfile.h"

#define KEYS_MAX (BROKER_API_COUNT * (KEYFILE_LINE_MAX * 2 + 64))

int brokerkeys_check(const char *path, struct err *e)
{
    struct buf key;
    int r;

    buf_init_secret(&key, KEYFILE_LINE_MAX);
    r = keyfile_read_line(path, &key, e);
    buf_fini_secret(&key);
    return r;
}

static int add(struct json *all, enum broker_api api, const char *path,
               struct err *e)
{
    struct buf key;
    int r;

    buf_init_secret(&key, KEYFILE_LINE_MAX);
    r = keyfile_read_line(path, &key, e);
    if (r == 0)
        json_set_strn(all, broker_api_name(api), (const char *)key.data,
                      key.len);
    buf_fini_secret(&key);
    return r < 0 ? err_wrap(e, "the key for %s", broker_api_name(api)) : 0;
}

int brokerkeys_fd(const struct settings *s, struct err *e)
{
    own_json struct json *all = json_object();
    struct buf text;
    int fd = -1;

    for (int a = 0; a < BROKER_API_COUNT; a++)
        if (s->apis[a].key_file &&
            add(all, (enum broker_api)a, s->apis[a].key_file, e) < 0)
            return -1;
    buf_init_secret(&text, KEYS_MAX);
    buf_reserve(&text, KEYS_MAX); /* it moves never, and leaves no part */
    if (json_append(&text, all) == 0)
        fd = file_sealed("broker-keys", text.data, text.len, e);
    buf_fini_secret(&text);
    return fd;
}
