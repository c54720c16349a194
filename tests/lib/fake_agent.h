/*
 * A stand-in for podterm-agent that knows the shim protocol and nothing else:
 * listens in the ipc directory, starts `sh -c SCRIPT` in the runner, and
 * keeps what the terminal showed.
 */
#ifndef PODTERM_TESTS_LIB_FAKE_AGENT_H
#define PODTERM_TESTS_LIB_FAKE_AGENT_H

/*
 * Main of the stand-in, with podterm-agent's own flags. --spec names a file
 * with the script; its environment is PATH, HOME and the file's leading
 * lines of the form NAME=value. The terminal's output goes to the file
 * --report as it comes; --status is written at HELLO (CLOCK_MONOTONIC in
 * microseconds). When the program has exited: LEAVE 0. A script that begins
 * with "#stay" lets the agent stay then; "#go" makes it leave right after
 * STARTED without a LEAVE. Both come before the variables.
 */
int fake_agent_main(int argc, char **argv);

#endif
