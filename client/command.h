/*
 * The commands of `podterm`, one file each (cmd_<name>.c). A command gets argv
 * with its own name as argv[0] and answers with the exit status.
 */
#ifndef PODTERM_CLIENT_COMMAND_H
#define PODTERM_CLIENT_COMMAND_H

#define EXIT_PODTERM 125 /* podterm itself failed, not the program */

int cmd_attach(int argc, char **argv);
int cmd_dev(int argc, char **argv);
int cmd_end(int argc, char **argv);
int cmd_ls(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_version(int argc, char **argv);

#endif
