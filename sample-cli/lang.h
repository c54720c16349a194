/*
 * Which language a file is written in: by its name, else by the interpreter
 * its first line names. Pure.
 */
#ifndef PODTERM_SAMPLE_CLI_LANG_H
#define PODTERM_SAMPLE_CLI_LANG_H

#include <stddef.h>

#define LANGS(X)                                                               \
    X(C, "C")                                                                  \
    X(C_HEADER, "C header")                                                    \
    X(CPP, "C++")                                                              \
    X(CSS, "CSS")                                                              \
    X(GO, "Go")                                                                \
    X(HTML, "HTML")                                                            \
    X(JAVA, "Java")                                                            \
    X(JAVASCRIPT, "JavaScript")                                                \
    X(JSON, "JSON")                                                            \
    X(MAKE, "Make")                                                            \
    X(MARKDOWN, "Markdown")                                                    \
    X(PYTHON, "Python")                                                        \
    X(RUST, "Rust")                                                            \
    X(SHELL, "Shell")                                                          \
    X(TERRAFORM, "Terraform")                                                  \
    X(TOML, "TOML")                                                            \
    X(TYPESCRIPT, "TypeScript")                                                \
    X(YAML, "YAML")                                                            \
    X(TEXT, "other text")                                                      \
    X(BINARY, "binary")

enum lang {
#define X(id, name) LANG_##id,
    LANGS(X)
#undef X
        LANG_COUNT
};

/* Binary means: a zero byte among the first LANG_LOOK_MAX, git's rule. */
#define LANG_LOOK_MAX 8000

enum lang lang_of(const char *path, const void *bytes, size_t len);
const char *lang_name(enum lang lang);

#endif
