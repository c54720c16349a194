/* The table of commands. */
#include "client/command.h"

#include <string.h>

static const struct command *const commands[] = {
    &command_run, &command_attach, &command_ls,         &command_share,
    &command_end, &command_dev,    &command_completion, &command_version,
};
#define COMMANDS 8
_Static_assert(sizeof(commands) == COMMANDS * sizeof(void *), "COMMANDS");

const struct command_exit command_exits[] = {
    {"0", "done"},
    {"125", "podterm failed, or the server refused; a sentence on standard "
            "error says why and what to do"},
    {NULL, NULL}};

const struct command *command_at(size_t i)
{
    return i < COMMANDS ? commands[i] : NULL;
}

const struct command *command_find(const char *name)
{
    for (size_t i = 0; command_at(i); i++)
        if (strcmp(command_at(i)->name, name) == 0)
            return command_at(i);
    return NULL;
}
