#include "sample-cli/message.h"

#include <stdio.h>
#include <string.h>

static void message_word(char out[MESSAGE_WORD_MAX], const char *word)
{
    if (word)
        snprintf(out, MESSAGE_WORD_MAX, "%s", word);
}

bool message_is_passing(const char *type)
{
    return strcmp(type, "overloaded_error") == 0 ||
           strcmp(type, "rate_limit_error") == 0 ||
           strcmp(type, "api_error") == 0 || strcmp(type, "timeout_error") == 0;
}

bool message_error(const struct json *j, char *out, size_t size)
{
    const struct json *error = json_get(j, "error");
    const char *type = json_get_str(error, "type");
    const char *text = json_get_str(error, "message");

    if (!type)
        return false;
    snprintf(out, size, "%s%s%s", type, text ? ": " : "", text ? text : "");
    return true;
}

static int message_failed(const struct json *event, struct err *e)
{
    const char *type = json_get_str(json_get(event, "error"), "type");
    char text[ERR_TEXT_MAX];

    if (!message_error(event, text, sizeof(text)))
        return err_set(e, ERR_PEER, "an error event without a type");
    return err_set(e, message_is_passing(type) ? ERR_BUSY : ERR_PEER, "%s",
                   text);
}

static int message_delta(struct message *m, const struct json *delta,
                         struct err *e)
{
    const char *text = json_get_str(delta, "text");

    /* thinking, signatures and the input of tools are not for the reader */
    if (!text || !json_get_is(delta, "type", "text_delta") || !*text)
        return 0;
    m->has_text = true;
    return m->text(m->arg, text, strlen(text), e);
}

int message_event(struct message *m, const struct json *event, struct err *e)
{
    const char *type = json_get_str(event, "type");

    if (!type)
        return 0;
    if (strcmp(type, "error") == 0)
        return message_failed(event, e);
    if (strcmp(type, "content_block_delta") == 0)
        return message_delta(m, json_get(event, "delta"), e);
    if (strcmp(type, "message_start") == 0)
        message_word(m->model,
                     json_get_str(json_get(event, "message"), "model"));
    else if (strcmp(type, "message_delta") == 0)
        message_word(m->stop_reason,
                     json_get_str(json_get(event, "delta"), "stop_reason"));
    else if (strcmp(type, "message_stop") == 0)
        m->is_over = true;
    return 0;
}

int message_parse(struct message *m, const char *json, size_t len,
                  struct err *e)
{
    own_json struct json *event = json_parse(json, len, e);

    if (!event) {
        e->kind = ERR_PEER;
        return err_wrap(e, "an event that cannot be read");
    }
    return message_event(m, event, e);
}

const char *message_note(const struct message *m)
{
    static const struct {
        const char *reason, *note;
    } notes[] = {
        {"max_tokens", "cut: it reached the limit of tokens"},
        {"model_context_window_exceeded", "cut: the model's window is full"},
        {"refusal", "it declined to go on"},
        {"tool_use", "cut: it asked for a tool, and has none"},
        {"pause_turn", "cut: it paused"},
    };

    for (size_t i = 0; i < sizeof(notes) / sizeof(*notes); i++)
        if (strcmp(m->stop_reason, notes[i].reason) == 0)
            return notes[i].note;
    return NULL;
}
