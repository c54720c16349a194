/*
 * libarchive, loaded when something is to be unpacked: with it come XML, ICU
 * and C++ libraries, which would cost the agent's other processes 10 ms and
 * half a megabyte each. Its functions are here under their own names.
 */
#ifndef PODTERM_AGENT_UNPACK_LIB_H
#define PODTERM_AGENT_UNPACK_LIB_H

#include "base/err.h"

/* Before any other use, and before doors are closed. 0, or -1 with *e. Any
 * thread. */
int unpack_lib_load(struct err *e);

#endif
