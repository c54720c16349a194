#include "sample-cli/settings.h"

#include "base/conf.h"
#include "base/mem.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SETTINGS_SUMMARY                                                       \
    "looks over a source tree, stage by stage, and shows what it finds.\n"     \
    "usage: sample-cli [options] [DIRECTORY]; without one it looks over its "  \
    "own sources.\n"                                                           \
    "exit status: 0; 1 with --strict and findings; 2 when it could not look; " \
    "128 + the signal's number when INT, TERM or HUP has stopped it"

char *settings_source_of(const char *program)
{
    const char *name = strrchr(program, '/'), *dir = NULL;

    if (name)
        dir = memrchr(program, '/', (size_t)(name - program));
    if (!dir || name - dir != 4 || strncmp(dir, "/bin/", 5) != 0)
        return NULL;
    return mem_printf("%.*s/share/source", (int)(dir - program), program);
}

static int settings_own_root(struct settings *s, struct err *e)
{
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);

    if (n < 0)
        return err_sys(e, "/proc/self/exe");
    program[n] = 0;
    s->own_root = settings_source_of(program);
    if (!s->own_root || access(s->own_root, F_OK) < 0)
        return err_set(e, ERR_INPUT,
                       "this program does not have its sources with it: name "
                       "a directory to look over");
    s->look.root = s->own_root;
    return 0;
}

/* Else it would be said minutes later, in words of a library. */
static int settings_has_ca(const struct settings *s, struct err *e)
{
    const char *path = s->review.ca_path;

    if (!path || !*path || access(path, R_OK) == 0)
        return 0;
    return err_set(e, ERR_INPUT, "--review-ca %s: %s", path, strerror(errno));
}

int settings_load(struct settings *s, int argc, char **argv, struct err *e)
{
    struct settings new = {0};
    int64_t timeout_s = 0;
    const struct conf_row rows[] = {
        {"json", CONF_BOOL, &new.as_json, 0, 0, NULL, "",
         "print one JSON object, the review in it, and nothing else"},
        {"plain", CONF_BOOL, &new.is_plain, 0, 0, NULL, "",
         "no live view, no colours, also on a terminal"},
        {"strict", CONF_BOOL, &new.is_strict, 0, 0, NULL, "",
         "exit with 1 when there are more findings than are allowed"},
        {"allowed-findings", CONF_INT, &new.allowed, 0, 1000000000, "0", "",
         "findings that --strict lets pass"},
        {"line-max", CONF_INT, &new.look.line_max, 1, 1000000, "100",
         "characters", "a longer line is a finding"},
        {"large-bytes", CONF_INT, &new.look.large_bytes, 0, 1LL << 50,
         "1048576", "bytes", "a larger file is a finding"},
        {"file-bytes-max", CONF_INT, &new.look.file_bytes_max, 1, 1 << 30,
         "4194304", "bytes", "a larger file is not read"},
        {"entries-max", CONF_INT, &new.look.entries_max, 1, 1000000, "20000",
         "names", "after so many files and directories the walk ends"},
        {"depth-max", CONF_INT, &new.look.depth_max, 0, 200, "32",
         "directories", "what lies deeper is not looked at"},
        {"no-review", CONF_BOOL, &new.no_review, 0, 0, NULL, "",
         "ask nobody for a review"},
        {"review-model", CONF_STR, &new.review.model, 0, 100, "", "",
         "the model that is asked; without one the claude command's own, "
         "or " REVIEW_MODEL},
        {"review-timeout", CONF_INT, &timeout_s, 1, 3600, "180", "s",
         "what each way of asking may take"},
        {"review-bytes", CONF_INT, &new.review.bytes_max, BRIEF_BYTES_MIN,
         BRIEF_BYTES_MAX, "49152", "bytes", "what is sent, at most"},
        {"review-tokens", CONF_INT, &new.review.max_tokens, 1, 100000, "4000",
         "tokens", "what the API answers, at most"},
        {"review-show", CONF_BOOL, &new.review.is_shown, 0, 0, NULL, "",
         "show what would be sent, and ask nobody"},
        {"review-ca", CONF_STR, &new.review.ca_path, 0, 4096, "", "file",
         "PEM roots for the API instead of the system's"},
        {"skip", CONF_STR, &new.look.skip, 0, 1000,
         ".git,.hg,.svn,node_modules", "a,b",
         "directories of these names are passed over"},
    };
    int rest = 0;
    int r = conf_load(rows, sizeof(rows) / sizeof(*rows), "sample-cli",
                      SETTINGS_SUMMARY, argc, argv, &rest, e);

    if (r != 0)
        return r;
    if (argc - rest > 1 && argv[rest + 1][0] == '-')
        return err_set(e, ERR_INPUT,
                       "options come before the directory: "
                       "\"%.60s\"",
                       argv[rest + 1]);
    if (argc - rest > 1)
        return err_set(e, ERR_INPUT, "one directory at a time: \"%.60s\"",
                       argv[rest + 1]);
    if (rest < argc)
        new.look.root = argv[rest];
    else if (settings_own_root(&new, e) < 0) {
        settings_fini(&new);
        return -1;
    }
    if (settings_has_ca(&new, e) < 0) {
        settings_fini(&new);
        return -1;
    }
    new.review.timeout_ms = timeout_s * 1000;
    new.review.key = getenv("ANTHROPIC_API_KEY");
    new.review.url = getenv("ANTHROPIC_BASE_URL");
    new.review.path = getenv("PATH");
    *s = new;
    return 0;
}

void settings_fini(struct settings *s)
{
    free(s->own_root);
    s->own_root = NULL;
}
