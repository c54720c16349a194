#include "sample-cli/review.h"

#include "sample-cli/api.h"
#include "sample-cli/claude.h"
#include "sample-cli/text.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_SENT_MAX 110 /* bytes of names in a detail */
#define NAMES_KEPT_MAX 70

enum part { PART_BRIEF, PART_NAMES, PART_COMMAND, PART_API, PART_COUNT };

static bool is_set(const char *text)
{
    return text && *text;
}

static bool review_has_api(const struct review *r)
{
    return is_set(r->conf.key) || is_set(r->conf.url);
}

const char *review_by(enum review_way way)
{
    switch (way) {
    case REVIEW_BY_COMMAND:
        return "the claude command";
    case REVIEW_BY_API:
        return "the Messages API";
    default:
        return "nobody";
    }
}

const struct task *review_try(const struct review *r, enum review_way way)
{
    return &r->parts[way == REVIEW_BY_API ? PART_API : PART_COMMAND];
}

const char *review_model(const struct review *r)
{
    if (is_set(r->conf.model))
        return r->conf.model;
    return r->way == REVIEW_BY_API ? REVIEW_MODEL : NULL;
}

/* --- what is sent --- */

static bool review_goes_on(void *task)
{
    return !task_is_stopped(task);
}

static int review_brief(struct task *t, void *arg, struct err *e)
{
    struct review *r = arg;
    char size[TEXT_NUMBER_MAX], all[TEXT_NUMBER_MAX], left[64] = "";
    const struct brief *b = &r->brief;

    (void)e;
    if (!r->command && !review_has_api(r) && !r->conf.is_shown) {
        task_tell(t, "there is nobody to ask");
        return TASK_SKIP;
    }
    if (!brief_make(r->look, (size_t)r->conf.bytes_max, review_goes_on, t,
                    &r->brief))
        return TASK_STOP;
    if (b->secret)
        snprintf(left, sizeof(left), "; %zu kept back: may hold secrets",
                 b->secret);
    task_tell(t, "%s: %zu of %s findings, parts of %zu file%s%s",
              text_size((int64_t)b->text.len, size), b->findings,
              text_number(findings_total(&r->look->findings), all), b->files,
              b->files == 1 ? "" : "s", left);
    return TASK_OK;
}

/* As many of them as have room, safe to show: the report has all. */
static void review_list(const struct review *r, char *const *names,
                        size_t listed, size_t count, size_t max,
                        struct buf *out)
{
    const size_t start = out->len;
    struct buf name;
    size_t i;

    buf_init(&name, 10 * (WALK_PATH_MAX + 1));
    for (i = 0; i < listed; i++) {
        buf_clear(&name);
        (void)text_escape(&name, names[i], strlen(names[i]), r->conf.is_utf8);
        if (out->len - start + name.len > max)
            break;
        buf_printf(out, "%s%s", i ? ", " : "", buf_cstr(&name));
    }
    if (i < count)
        buf_printf(out, "%s%zu more", i ? " and " : "", count - i);
    buf_fini(&name);
}

/* Before anything is sent. */
static int review_names(struct task *t, void *arg, struct err *e)
{
    struct review *r = arg;
    const struct brief *b = &r->brief;
    struct buf names;

    (void)e;
    if (!b->files && !b->secret)
        return TASK_SKIP;
    buf_init(&names, TASK_DETAIL_MAX);
    if (b->files) {
        buf_printf(&names, "parts of ");
        review_list(r, b->sent, b->files, b->files, NAMES_SENT_MAX, &names);
    }
    if (b->secret) {
        buf_printf(&names, "%skept back: ", names.len ? "; " : "");
        review_list(r, b->kept,
                    b->secret < BRIEF_KEPT_MAX ? b->secret : BRIEF_KEPT_MAX,
                    b->secret, NAMES_KEPT_MAX, &names);
    }
    task_tell(t, "%s", buf_cstr(&names));
    buf_fini(&names);
    return TASK_OK;
}

/* --- who is asked --- */

static bool review_is_shown(const struct review *r, struct task *t)
{
    if (r->conf.is_shown)
        task_tell(t, "not asked: --review-show");
    return r->conf.is_shown;
}

/* A peer that goes away while we write to it is an error of that write. Of
 * this thread alone, so that `sample-cli | head` ends as ever. */
static void review_no_sigpipe(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* How a way ended; what it could not say any more is marked. */
static int review_asked(struct review *r, struct task *t, enum review_way way,
                        int result, const struct err *e)
{
    char size[TEXT_NUMBER_MAX];

    reply_end(&r->reply);
    if (result == 0) {
        r->way = way;
        r->is_broken = false;
        task_tell(t, "%s%s%s", text_size((int64_t)r->reply.text.len, size),
                  r->note ? "; " : "", r->note ? r->note : "");
        return TASK_OK;
    }
    if (e->kind == ERR_ENDED)
        return TASK_STOP;
    if (r->reply.text.len) {
        r->way = way;
        r->is_broken = true;
    }
    return TASK_FAIL;
}

static int review_command(struct task *t, void *arg, struct err *e)
{
    struct review *r = arg;
    const struct claude_conf conf = {
        .path = r->command,
        .system = brief_question(),
        .model = is_set(r->conf.model) ? r->conf.model : NULL,
        .prompt = buf_cstr(&r->brief.text),
        .prompt_len = r->brief.text.len,
        .timeout_ms = r->conf.timeout_ms,
    };
    int result;

    if (review_is_shown(r, t))
        return TASK_SKIP;
    if (!r->command) {
        task_tell(t, "claude is not on PATH");
        return TASK_SKIP;
    }
    review_no_sigpipe();
    reply_start(&r->reply, t, r->conf.key);
    result = claude_ask(&conf, t, &r->reply, &r->note, e);
    return review_asked(r, t, REVIEW_BY_COMMAND, result, e);
}

static int review_api(struct task *t, void *arg, struct err *e)
{
    struct review *r = arg;
    const struct api_conf conf = {
        .url = is_set(r->conf.url) ? r->conf.url : NULL,
        .key = is_set(r->conf.key) ? r->conf.key : NULL,
        .model = is_set(r->conf.model) ? r->conf.model : REVIEW_MODEL,
        .system = brief_question(),
        .prompt = buf_cstr(&r->brief.text),
        .prompt_len = r->brief.text.len,
        .max_tokens = r->conf.max_tokens,
        .timeout_ms = r->conf.timeout_ms,
        .ca_path = is_set(r->conf.ca_path) ? r->conf.ca_path : NULL,
    };
    int result;

    if (review_is_shown(r, t))
        return TASK_SKIP;
    if (r->way == REVIEW_BY_COMMAND && !r->is_broken) {
        task_tell(t, "not needed");
        return TASK_SKIP;
    }
    if (!review_has_api(r)) {
        task_tell(t, "neither ANTHROPIC_API_KEY nor ANTHROPIC_BASE_URL is set");
        return TASK_SKIP;
    }
    if (api_check(&conf, e) < 0) {
        text_escape_err(e, r->conf.is_utf8);
        return TASK_FAIL;
    }
    review_no_sigpipe();
    reply_start(&r->reply, t, r->conf.key);
    r->way = REVIEW_BY_NONE;
    result = api_ask(&conf, t, &r->reply, &r->note, e);
    if (result < 0 && e->kind == ERR_SYSTEM) {
        task_tell(t, "%s", e->text); /* no library here */
        return TASK_SKIP;
    }
    return review_asked(r, t, REVIEW_BY_API, result, e);
}

/* Does it say that nobody has signed in? Its words, not ours: a guess, for a
 * hint alone. */
static bool review_is_unknown(const char *said)
{
    static const char *const words[] = {"log in",  "login",   "logged in",
                                        "sign in", "API key", "authenticat",
                                        "OAuth"};

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (strcasestr(said, words[i]))
            return true;
    return false;
}

/* How all of it ended: the last way that was really tried decides, and where
 * none could be, that is said. */
static int review_sum(struct task *t, void *arg, struct err *e)
{
    struct review *r = arg;

    if (r->way != REVIEW_BY_NONE && !r->is_broken) {
        task_tell(t, "by %s", review_by(r->way));
        return TASK_OK;
    }
    if (t->tasks[PART_API].state == TASK_FAILED)
        return err_set(e, ERR_PEER, "nobody has answered");
    if (review_is_shown(r, t))
        return TASK_SKIP;
    if (r->is_broken)
        return err_set(e, ERR_PEER, "the answer broke off");
    if (t->tasks[PART_COMMAND].state == TASK_FAILED)
        task_tell(t, "no answer: %s",
                  review_is_unknown(t->tasks[PART_COMMAND].detail)
                      ? "sign in with `claude`, or set ANTHROPIC_API_KEY"
                      : "the claude command has failed, and "
                        "ANTHROPIC_API_KEY is not set");
    else if (review_has_api(r))
        task_tell(t, "the API cannot be asked from here");
    else
        task_tell(t, "needs `claude` on PATH, or ANTHROPIC_API_KEY");
    return TASK_SKIP;
}

void review_init(struct review *r, const struct review_conf *conf,
                 struct look *look)
{
    *r = (struct review){
        .conf = *conf, .look = look, .command = claude_find(conf->path)};
    reply_init(&r->reply, conf->is_utf8);
    r->parts[PART_BRIEF] =
        (struct task){.title = "Gather what is sent", .run = review_brief};
    r->parts[PART_NAMES] =
        (struct task){.title = "Name the files in it", .run = review_names};
    r->parts[PART_COMMAND] =
        (struct task){.title = "Ask the claude command", .run = review_command};
    r->parts[PART_API] =
        (struct task){.title = "Ask the Messages API", .run = review_api};
    for (int i = 0; i < PART_COUNT; i++)
        r->parts[i].arg = r;
}

struct task review_task(struct review *r)
{
    return (struct task){.title = "Review by Claude",
                         .run = review_sum,
                         .arg = r,
                         .tasks = r->parts,
                         .count = PART_COUNT};
}

void review_fini(struct review *r)
{
    free(r->command);
    brief_fini(&r->brief);
    reply_fini(&r->reply);
    r->command = NULL;
}
