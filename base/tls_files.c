#include "base/tls_files.h"

#include <string.h>

static bool is_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Look at a file that may be missing. Is it another than it was? The time of
 * its change is told too, since a copy may keep that of its writing. */
static bool has_changed(const char *path, struct stat *was)
{
    struct stat now;
    bool is_same;

    if (stat(path, &now) < 0)
        memset(&now, 0, sizeof(now));
    is_same = now.st_dev == was->st_dev && now.st_ino == was->st_ino &&
              now.st_size == was->st_size &&
              is_same_time(now.st_mtim, was->st_mtim) &&
              is_same_time(now.st_ctim, was->st_ctim);
    *was = now;
    return !is_same;
}

/* Both are looked at, whatever the first has shown. */
static bool have_changed(struct tls_files *f)
{
    bool cert = has_changed(f->cert_path, &f->cert);
    bool key = has_changed(f->key_path, &f->key);

    return cert || key;
}

void tls_files_init(struct tls_files *f, const char *cert_path,
                    const char *key_path)
{
    *f = (struct tls_files){.cert_path = cert_path, .key_path = key_path};
    if (cert_path)
        have_changed(f);
}

bool tls_files_look(struct tls_files *f)
{
    bool is_due = f->is_due;

    if (!f->cert_path)
        return false;
    f->is_due = false;
    if (!have_changed(f))
        return is_due;
    f->is_told = false;
    return true;
}

void tls_files_ask(struct tls_files *f)
{
    f->is_due = true;
    f->is_told = false;
}

bool tls_files_failed(struct tls_files *f)
{
    bool is_news = !f->is_told;

    f->is_due = f->is_told = true;
    return is_news;
}
