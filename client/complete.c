#include "client/complete.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "client/command.h"
#include "client/options.h"
#include "client/sessions.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct complete {
    const struct command *c;
    const char *word; /* under the cursor */
    char **words;     /* behind the command's name, without that */
    int count;
    int out_fd; /* what was standard output */
};

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static void offer(const struct complete *k, const char *text, const char *means)
{
    if (begins(text, k->word))
        dprintf(k->out_fd, "%s\t%s\n", text, means);
}

/* --- sessions --- */

static void too_late(int signum)
{
    (void)signum;
    _exit(0);
}

/* The server's options as they are typed; nothing may be printed, and nobody
 * may be asked for a password. */
static bool complete_remote(const struct complete *k, struct options *opt,
                            struct remote *remote)
{
    const struct conf_row rows[] = {OPTIONS_SERVER_ROWS(*opt)};
    const size_t row_count = sizeof(rows) / sizeof(*rows);
    own_mem char **flags = mem_zero((size_t)k->count * 2 + 2, sizeof(*flags));
    struct err ignored = {0};
    int n = 1;

    flags[0] = (char *)(uintptr_t) "podterm";
    for (int i = 0; i < k->count; i++)
        for (size_t r = 0; r < row_count; r++) {
            const size_t len = strlen(rows[r].name);

            if (strncmp(k->words[i], "--", 2) != 0 ||
                strncmp(k->words[i] + 2, rows[r].name, len) != 0)
                continue;
            if (k->words[i][2 + len] == '=') {
                flags[n++] = k->words[i];
            } else if (!k->words[i][2 + len] && rows[r].kind != CONF_BOOL &&
                       i + 1 < k->count) {
                flags[n++] = k->words[i];
                flags[n++] = k->words[i + 1];
            }
        }
    return conf_load(rows, row_count, "podterm", "", n, flags, NULL,
                     &ignored) == 0 &&
           options_remote(opt, remote, &ignored) == 0;
}

static void offer_session(const struct complete *k, const struct json *session)
{
    struct sessions_row r;
    char means[512];

    sessions_row(session, loop_wall_s(), &r);
    if (!id_is_valid(r.id))
        return;
    for (int i = 0; i < k->count; i++)
        if (strcmp(k->words[i], r.id) == 0)
            return; /* named already */
    snprintf(means, sizeof(means), "%s, %s, %s", r.bundle, r.state, r.age);
    offer(k, r.id, means);
}

static void offer_sessions(const struct complete *k)
{
    static struct options opt;
    struct sigaction late = {.sa_handler = too_late};
    struct err ignored = {0};
    struct remote remote;
    own_json struct json *page = NULL;
    const struct json *list;

    sigaction(SIGALRM, &late, NULL);
    alarm(COMPLETE_MS / 1000);
    if (!complete_remote(k, &opt, &remote))
        return;
    remote.is_quiet = true;
    page = remote_list(&remote, false, NULL, &ignored);
    list = json_get(page, "sessions");
    for (size_t i = 0; i < json_count(list); i++)
        offer_session(k, json_at(list, i));
    options_remote_fini(&remote);
}

/* --- options --- */

static bool is_typed(const struct complete *k, const char *flag)
{
    for (int i = 0; i < k->count; i++)
        if (begins(k->words[i], flag) &&
            (!k->words[i][strlen(flag)] || k->words[i][strlen(flag)] == '='))
            return true;
    return false;
}

static void offer_options(const struct complete *k)
{
    for (size_t i = 0; i < k->c->row_count; i++) {
        own_mem char *flag = mem_printf("--%s", k->c->rows[i].name);

        if (!is_typed(k, flag))
            offer(k, flag, k->c->rows[i].help);
    }
    for (const struct command_list *l = k->c->lists; l && l->name; l++) {
        own_mem char *flag = mem_printf("--%s", l->name);

        offer(k, flag, l->help);
    }
    offer(k, "--help", "tell about this command");
}

static void files(const struct complete *k)
{
    dprintf(k->out_fd, ":files\n");
}

/* What the value of an option is like: false = word names no such option. */
static bool option_unit(const struct command *c, const char *word,
                        const char **unit)
{
    for (size_t i = 0; i < c->row_count; i++)
        if (c->rows[i].kind != CONF_BOOL && begins(word, "--") &&
            strcmp(word + 2, c->rows[i].name) == 0) {
            *unit = c->rows[i].unit;
            return true;
        }
    for (const struct command_list *l = c->lists; l && l->name; l++)
        if (begins(word, "--") && strcmp(word + 2, l->name) == 0) {
            *unit = l->unit;
            return true;
        }
    return false;
}

/* Those that are meant as they stand: strict|best|open, but not file|URL. */
static void offer_words(const struct complete *k, const char *unit)
{
    own_mem char *words = mem_str(unit);
    char *rest = words, *word;

    if (unit[strspn(unit, "abcdefghijklmnopqrstuvwxyz|")])
        return;
    while ((word = strsep(&rest, "|")))
        offer(k, word, "");
}

static void offer_value(const struct complete *k, const char *unit)
{
    extern char **environ;

    if (strstr(unit, "FILE") || strcmp(unit, "directory") == 0) {
        files(k);
        return;
    }
    if (strchr(unit, '|'))
        offer_words(k, unit);
    for (char **v = environ; begins(unit, "NAME[") && *v; v++) {
        own_mem char *name = mem_strn(*v, strcspn(*v, "="));

        offer(k, name, "yours");
    }
}

/* --- the rest --- */

static void offer_operands(const struct complete *k)
{
    static const char *const shells[] = {COMMAND_SHELLS};

    switch (k->c->operand) {
    case COMMAND_SESSION:
    case COMMAND_SESSIONS:
        offer_sessions(k);
        break;
    case COMMAND_FILE:
        files(k);
        break;
    case COMMAND_SHELL:
        for (size_t i = 0; i < sizeof(shells) / sizeof(*shells); i++)
            offer(k, shells[i], "");
        break;
    default:
        break;
    }
}

/* How many operands there are, and whether "--" came before. */
static int operands_of(const struct complete *k, bool *is_rest)
{
    const char *ignored;
    int n = 0;

    *is_rest = false;
    for (int i = 0; i < k->count; i++) {
        if (strcmp(k->words[i], "--") == 0)
            *is_rest = true;
        else if (*is_rest || k->words[i][0] != '-')
            n++;
        else if (option_unit(k->c, k->words[i], &ignored))
            i++;
    }
    return n;
}

static void complete_command(struct complete *k)
{
    const char *last = k->count ? k->words[k->count - 1] : "", *unit = "";
    const char *equals = strchr(k->word, '=');
    bool is_rest;
    const int n = operands_of(k, &is_rest);

    if (is_rest) {
        files(k);
    } else if (option_unit(k->c, last, &unit)) {
        offer_value(k, unit);
    } else if (begins(k->word, "--") && equals) {
        own_mem char *flag = mem_strn(k->word, (size_t)(equals - k->word));

        k->word = equals + 1;
        if (option_unit(k->c, flag, &unit))
            offer_value(k, unit);
    } else if (k->word[0] == '-') {
        offer_options(k);
    } else if (n == 0 || k->c->operand == COMMAND_SESSIONS) {
        offer_operands(k);
    } else if (k->c->is_prefix) {
        files(k);
    }
}

static void offer_commands(const struct complete *k)
{
    for (size_t i = 0; command_at(i); i++)
        offer(k, command_at(i)->name, command_at(i)->summary);
    offer(k, "help", "tell about a command");
    offer(k, "--help", "tell about podterm");
    offer(k, "--version", "print the version");
}

int complete_words(int count, char **words)
{
    struct complete k = {.out_fd = fcntl(1, F_DUPFD_CLOEXEC, 3)};
    const int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (count < 1 || k.out_fd < 0 || null_fd < 0)
        return 0;
    signal(SIGPIPE, SIG_IGN);
    for (int fd = 0; fd <= 2; fd++)
        dup2(null_fd, fd);
    k.word = words[count - 1];
    if (count == 1) {
        offer_commands(&k);
        return 0;
    }
    k.c = command_find(words[0]);
    k.words = words + 1;
    k.count = count - 2;
    if (k.c)
        complete_command(&k);
    else if (strcmp(words[0], "help") == 0 && count == 2)
        offer_commands(&k);
    return 0;
}
