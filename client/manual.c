#include "client/manual.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/own.h"

#include <stdlib.h>
#include <string.h>

#define MANUAL_WIDTH 78
#define MANUAL_DATE "2026-11-28" /* of the last change of what is told */
#define MANUAL_TEXT_MAX 4096

/* --- what both say --- */

static const char *const about_all[] = {
    "podterm opens a terminal on a program that runs alone: fetched as a "
    "bundle, verified by its SHA-256, started in a cage of its own. The "
    "connection may drop; the program does not notice, and not one byte is "
    "lost or doubled.",
    "podterm COMMAND --help tells a command's options, as do the manual pages "
    "podterm-COMMAND(1). Each option may be set in the environment instead; "
    "the option wins. What podterm says itself goes to standard error, in "
    "colours only on a terminal, and not where NO_COLOR is set or TERM is "
    "dumb.",
    NULL};

static const struct command_exit exits_all[] = {
    {"0", "done; or detached from a session that goes on"},
    {"1 to 255", "of run and attach: the program's own exit code"},
    {"128 + n", "the program was ended by signal n, or podterm was"},
    {"125", "podterm failed, or the server refused"},
    {NULL, NULL}};

/* "help (s, 1 to 86400) [600]" */
static void option_text(const struct conf_row *row, struct buf *b)
{
    buf_printf(b, "%s", row->help);
    if (row->kind == CONF_INT)
        buf_printf(b, " (%s%s%lld to %lld)", row->unit,
                   row->unit[0] ? ", " : "", (long long)row->min,
                   (long long)row->max);
    if (row->value && row->value[0])
        buf_printf(b, " [%s]", row->value);
}

/* What stands behind --NAME; "" = nothing. */
static const char *option_unit(const struct conf_row *row)
{
    if (row->kind == CONF_INT)
        return "N";
    if (row->kind == CONF_BOOL)
        return "";
    return row->unit[0] ? row->unit : "TEXT";
}

static const struct command_exit *exits_of(const struct command *c)
{
    if (!c)
        return exits_all;
    return c->exits ? c->exits : command_exits;
}

/* --- as text --- */

/* Words, broken before MANUAL_WIDTH, each line indented. */
static void wrap(FILE *to, int indent, const char *text)
{
    int column = 0;

    while (*text) {
        const int word = (int)strcspn(text, " ");

        if (column > 0 && column + 1 + word > MANUAL_WIDTH) {
            fputc('\n', to);
            column = 0;
        }
        if (column == 0)
            column = fprintf(to, "%*s%.*s", indent, "", word, text);
        else
            column += fprintf(to, " %.*s", word, text);
        text += word;
        text += strspn(text, " ");
    }
    fputc('\n', to);
}

static void help_option(FILE *to, const struct conf_row *row)
{
    char env[CONF_ENV_MAX];
    struct buf b;

    buf_init(&b, MANUAL_TEXT_MAX);
    option_text(row, &b);
    conf_env_name(row->name, env);
    fprintf(to, "  --%s%s%s\n", row->name, option_unit(row)[0] ? " " : "",
            option_unit(row));
    wrap(to, 6, buf_cstr(&b));
    fprintf(to, "      %s\n", env);
    buf_fini(&b);
}

static void help_exits(FILE *to, const struct command *c)
{
    fputs("\nExit codes:\n", to);
    for (const struct command_exit *x = exits_of(c); x->code; x++) {
        own_mem char *line = mem_printf("%s: %s", x->code, x->means);

        wrap(to, 2, line);
    }
}

static void help_all(FILE *to)
{
    fprintf(to, "usage: podterm COMMAND [options]\n\n");
    for (size_t i = 0; command_at(i); i++)
        fprintf(to, "  %-10s  %s\n", command_at(i)->name,
                command_at(i)->summary);
    for (size_t i = 0; about_all[i]; i++) {
        fputc('\n', to);
        wrap(to, 0, about_all[i]);
    }
    help_exits(to, NULL);
}

void manual_help(const struct command *c, FILE *to)
{
    if (!c) {
        help_all(to);
        return;
    }
    for (size_t i = 0; c->usages[i]; i++)
        fprintf(to, "%s podterm %s%s%s\n", i ? "      " : "usage:", c->name,
                c->usages[i][0] ? " " : "", c->usages[i]);
    fprintf(to, "\npodterm %s: %s\n", c->name, c->summary);
    for (size_t i = 0; c->about[i]; i++) {
        fputc('\n', to);
        wrap(to, 0, c->about[i]);
    }
    if (c->row_count > 0)
        fputs("\nOptions (each may be set in the environment by the name below "
              "it; the option\nwins):\n",
              to);
    for (const struct command_list *l = c->lists; l && l->name; l++) {
        fprintf(to, "  --%s %s\n", l->name, l->unit);
        wrap(to, 6, l->help);
        fputs("      (may be repeated; not from the environment)\n", to);
    }
    for (size_t i = 0; i < c->row_count; i++)
        help_option(to, &c->rows[i]);
    help_exits(to, c);
}

/* --- as a page --- */

/* Does a sentence end before this blank? Not behind "~." or "f. i.". */
static bool is_end(const char *text, const char *blank)
{
    return blank - text >= 2 && strchr(".:;?", blank[-1]) && blank[1] &&
           ((blank[-2] >= 'a' && blank[-2] <= 'z') || blank[-2] == ')');
}

/* Text as troff takes it, a sentence a line of input. */
static void roff(FILE *to, const char *text)
{
    static const struct {
        char c;
        const char *name;
    } names[] = {{'\\', "\\e"},  {'-', "\\-"},   {'~', "\\(ti"},
                 {'^', "\\(ha"}, {'`', "\\(ga"}, {'\'', "\\(aq"},
                 {'"', "\\(dq"}};
    bool is_start = true;

    for (const char *c = text; *c; c++) {
        const char *name = NULL;

        if (*c == ' ' && is_end(text, c)) {
            fputc('\n', to);
            is_start = true;
            continue;
        }
        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
            if (names[i].c == *c)
                name = names[i].name;
        if (is_start && *c == '.')
            fputs("\\&", to);
        if (name)
            fputs(name, to);
        else
            fputc(*c, to);
        /* else it would take a blank more, as behind a sentence's end */
        if (strchr(".?", *c) && c[1] == ' ' && !is_end(text, c + 1))
            fputs("\\&", to);
        is_start = false;
    }
    fputc('\n', to);
}

static void page_option(FILE *to, const char *name, const char *unit,
                        const char *text, const char *env)
{
    fputs(".TP\n.B \\-\\-", to);
    if (unit[0]) {
        own_mem char *all = mem_printf("%s \"%s\"", name, unit);

        for (const char *c = all; *c; c++)
            fputs(*c == '-' ? "\\-" : (char[]){*c, 0}, to);
        fputc('\n', to);
    } else {
        roff(to, name);
    }
    roff(to, text);
    if (env)
        fprintf(to, ".br\n.RB [ %s ]\n", env);
    else
        roff(to, "(may be repeated; not from the environment)");
}

static void page_options(FILE *to, const struct command *c)
{
    char env[CONF_ENV_MAX];

    if (c->row_count == 0)
        return;
    fputs(".SH OPTIONS\n", to);
    roff(to, "Each option may be set in the environment by the name below it; "
             "the option wins.");
    for (const struct command_list *l = c->lists; l && l->name; l++)
        page_option(to, l->name, l->unit, l->help, NULL);
    for (size_t i = 0; i < c->row_count; i++) {
        struct buf b;

        buf_init(&b, MANUAL_TEXT_MAX);
        option_text(&c->rows[i], &b);
        conf_env_name(c->rows[i].name, env);
        page_option(to, c->rows[i].name, option_unit(&c->rows[i]), buf_cstr(&b),
                    env);
        buf_fini(&b);
    }
}

static void page_usages(FILE *to, const struct command *c)
{
    fputs(".SH SYNOPSIS\n", to);
    if (!c) {
        fputs(".B podterm\n", to);
        roff(to, "COMMAND [options]");
        return;
    }
    for (size_t i = 0; c->usages[i]; i++) {
        if (i)
            fputs(".br\n", to);
        fprintf(to, ".B podterm %s\n", c->name);
        if (c->usages[i][0])
            roff(to, c->usages[i]);
    }
}

static void page_commands(FILE *to)
{
    fputs(".SH COMMANDS\n", to);
    for (size_t i = 0; command_at(i); i++) {
        fprintf(to, ".TP\n.BR podterm\\-%s (1)\n", command_at(i)->name);
        roff(to, command_at(i)->summary);
    }
}

void manual_page(const struct command *c, FILE *to)
{
    const char *const *about = c ? c->about : about_all;

    fprintf(to,
            ".TH PODTERM%s%s 1 \"" MANUAL_DATE
            "\" \"podterm %s\" \"User Commands\"\n",
            c ? "\\-" : "", c ? c->name : "", PODTERM_VERSION);
    fprintf(to, ".SH NAME\npodterm%s%s \\- ", c ? "\\-" : "", c ? c->name : "");
    roff(to, c ? c->summary : "terminals on programs that run alone");
    page_usages(to, c);
    fputs(".SH DESCRIPTION\n", to);
    for (size_t i = 0; about[i]; i++) {
        if (i)
            fputs(".PP\n", to);
        roff(to, about[i]);
    }
    if (c)
        page_options(to, c);
    else
        page_commands(to);
    fputs(".SH EXIT STATUS\n", to);
    for (const struct command_exit *x = exits_of(c); x->code; x++) {
        fprintf(to, ".TP\n.B ");
        roff(to, x->code);
        roff(to, x->means);
    }
    fputs(".SH SEE ALSO\n", to);
    if (c)
        fputs(".BR podterm (1)\n", to);
    for (size_t i = 0; !c && command_at(i); i++)
        fprintf(to, ".BR podterm\\-%s (1)%s\n", command_at(i)->name,
                command_at(i + 1) ? "," : "");
}
