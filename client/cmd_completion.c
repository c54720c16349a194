/* podterm completion: a script for a shell, which asks `podterm __complete`
 * (complete.h) what may follow. */
#include "base/own.h"
#include "client/command.h"
#include "client/options.h"
#include "client/say.h"

#include <stdio.h>
#include <string.h>

/* bash takes "=" and ":" for words of their own: they are put together again,
 * and what is in front of the last one is taken off what is offered. */
static const char bash[] =
    "# podterm completion for bash:  source <(podterm completion bash)\n"
    "_podterm() {\n"
    "    local words=() word i line glue='' cur front\n"
    "    for ((i = 1; i <= COMP_CWORD; i++)); do\n"
    "        word=${COMP_WORDS[i]}\n"
    "        if [[ ${#words[@]} -gt 0 && ($glue || $word == [=:]*) ]]; then\n"
    "            words[-1]+=$word\n"
    "        else\n"
    "            words+=(\"$word\")\n"
    "        fi\n"
    "        glue=\n"
    "        [[ $word != *[=:] ]] || glue=1\n"
    "    done\n"
    "    cur=${words[-1]}\n"
    "    front=\n"
    "    [[ $cur != *=* ]] || front=${cur%%=*}=\n"
    "    COMPREPLY=()\n"
    "    while IFS= read -r line; do\n"
    "        if [[ $line == :files ]]; then\n"
    "            compopt -o filenames 2>/dev/null\n"
    "            while IFS= read -r line; do COMPREPLY+=(\"$line\"); done < "
    "<(compgen -f -- \"${cur#\"$front\"}\")\n"
    "        else\n"
    "            COMPREPLY+=(\"${line%%$'\\t'*}\")\n"
    "        fi\n"
    "    done < <(command -- \"$1\" __complete \"${words[@]}\" 2>/dev/null)\n"
    "}\n"
    "complete -F _podterm podterm\n";

static const char zsh[] =
    "#compdef podterm\n"
    "# podterm completion for zsh:  source <(podterm completion zsh)\n"
    "_podterm() {\n"
    "    local line\n"
    "    local -a offers\n"
    "    while IFS= read -r line; do\n"
    "        if [[ $line == :files ]]; then\n"
    "            _files\n"
    "            return\n"
    "        fi\n"
    "        offers+=(\"${line%%$'\\t'*}:${line#*$'\\t'}\")\n"
    "    done < <(command -- \"${words[1]}\" __complete "
    "\"${(@)words[2,CURRENT]}\" 2>/dev/null)\n"
    "    [[ $PREFIX != --*=* ]] || compset -P '*='\n"
    "    (( ${#offers} )) && _describe podterm offers\n"
    "}\n"
    "if [[ ${funcstack[1]-} == _podterm ]]; then\n"
    "    _podterm \"$@\"\n"
    "else\n"
    "    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }\n"
    "    compdef _podterm podterm\n"
    "fi\n";

static const char fish[] =
    "# podterm completion for fish:  podterm completion fish | source\n"
    "function __podterm_complete\n"
    "    set -l words (commandline -opc)\n"
    "    set -l cur (commandline -ct)\n"
    "    set -l front ''\n"
    "    string match -q -- '--*=*' $cur; and set front (string replace -r "
    "'=.*' '=' -- $cur)\n"
    "    for line in (command $words[1] __complete $words[2..-1] \"$cur\" "
    "2>/dev/null)\n"
    "        if test \"$line\" = :files\n"
    "            __fish_complete_path (string replace -- $front '' $cur)\n"
    "        else\n"
    "            echo $front$line\n"
    "        end\n"
    "    end\n"
    "end\n"
    "complete -c podterm -f -a '(__podterm_complete)'\n";

static int completion_run(const struct command *c, int argc, char **argv)
{
    static const struct {
        const char *name, *script;
    } shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
    own_mem char **operands = NULL;
    struct err e = {0};
    size_t count = 0;
    int got = options_load(c, argc, argv, &operands, &count, NULL, &e);

    if (got == 1)
        return 0;
    for (size_t i = 0;
         got == 0 && count == 1 && i < sizeof(shells) / sizeof(*shells); i++)
        if (strcmp(operands[0], shells[i].name) == 0) {
            printf("%s", shells[i].script);
            return 0;
        }
    if (got == 0)
        err_set(&e, ERR_INPUT,
                "which shell? podterm completion bash, zsh or fish");
    return say_failed(NULL, &e);
}

const struct command command_completion = {
    .name = "completion",
    .summary = "print a completion script for a shell",
    .usages = (const char *const[]){"bash|zsh|fish", NULL},
    .about =
        (const char *const[]){
            "In bash: source <(podterm completion bash), in ~/.bashrc. In zsh "
            "the same with zsh, in ~/.zshrc; or its output as _podterm in a "
            "directory of $fpath. In fish: podterm completion fish | source, "
            "in ~/.config/fish/config.fish.",
            "Commands, options, files and session ids are completed; the "
            "latter where the server (of the command line or the environment) "
            "answers within 2 seconds. An identity command is run for it "
            "without a terminal.",
            NULL},
    .operand = COMMAND_SHELL,
    .run = completion_run,
};
