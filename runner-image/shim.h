/*
 * The shim protocol (PROTOCOL.md 8): numbers, layouts and limits that shim
 * and agent share. Needs nothing but libc; usable by both.
 *
 * A message is u32 length of what follows (1..SHIM_MESSAGE_MAX), u8 type,
 * body; integers are big-endian. A string is u32 length and bytes without
 * a zero byte. START:
 *   u16 cols, u16 rows
 *   u8 sandbox version (2), u8 isolation (0 none, 1 full),
 *   u64 nproc, u64 nofile, u64 data_bytes, u64 fsize_bytes, u64 cpu_s
 *       (0 = as it is)
 *   u8 layers wanted, u8 layers without which the program is not started
 *       (SHIM_LAYER_*)
 *   u8 count (0..SHIM_FILTERS_MAX), seccomp filters, in the order in which
 *       they are set: u8 when (enum shim_when), u16 instructions
 *       (1..SHIM_FILTER_MAX), and each: u16 code, u8 jt, u8 jf, u32 k
 *   u16 count (0..SHIM_PATHS_MAX), paths that may be read and executed
 *   u16 count (0..SHIM_PATHS_MAX), paths that may be written, too
 *   u8 count (0..SHIM_PORTS_MAX), u16 TCP ports that may be connected to
 *   u8 network version (3), u8 egress (0 none, 1 open, 2 proxy),
 *   u8 count (0..SHIM_PORTS_MAX), u16 ports of 127.0.0.1: the shim listens
 *       there and sends a LISTENER for each
 *   string cwd
 *   u16 count (1..SHIM_ARGS_MAX), argv strings
 *   u16 count (0..SHIM_ENV_MAX), "NAME=value" strings
 */
#ifndef PODTERM_SHIM_H
#define PODTERM_SHIM_H

#include <stdint.h>

#define SHIM_VERSION 1
#define SHIM_SANDBOX_VERSION 2
#define SHIM_NETWORK_VERSION 3

#define SHIM_SOCKET "shim.sock" /* in the ipc directory */
#define SHIM_COOKIE "cookie"

/* Where a runner under --isolation full finds things. */
#define SHIM_CAGE_IPC "/run/podterm/ipc"
#define SHIM_CAGE_BUNDLE "/run/podterm/bundle"
#define SHIM_CAGE_HOME "/home/user"

#define SHIM_LENGTH_BYTES 4
#define SHIM_MESSAGE_MAX 98304 /* bytes: type and body */
#define SHIM_COOKIE_BYTES 32
#define SHIM_ARGS_MAX 1024
#define SHIM_ENV_MAX 1024
#define SHIM_TEXT_MAX 256  /* bytes of FAILED's text */
#define SHIM_SIZE_MAX 1000 /* cells, either way */
#define SHIM_SIGNAL_MAX 31 /* no real-time signals */

#define SHIM_FILTERS_MAX 4
#define SHIM_FILTER_MAX 2048 /* instructions */
#define SHIM_PATHS_MAX 64
#define SHIM_PORTS_MAX 4

#define SHIM_PROXY_PORT 3128  /* where the program finds its proxy */
#define SHIM_BROKER_PORT 3129 /* and who keeps the keys of its APIs */
#define SHIM_BACKLOG 256      /* connections that wait for either */

#define SHIM_DIAL_MS 50     /* between two tries to reach the agent */
#define SHIM_DIAL_FAST_MS 2 /* the same, just after start or loss */
#define SHIM_DIAL_FAST_FOR_MS 500
#define SHIM_HELLO_MS 5000       /* for the agent's HELLO_OK */
#define SHIM_AGENT_WAIT_MS 60000 /* without an agent: end and leave with 71 */
#define SHIM_SWEEP_MS 600        /* killing what is left, not as PID 1 */

enum shim_type {
    SHIM_HELLO = 0x01,
    SHIM_STARTED = 0x02,
    SHIM_EXITED = 0x03,
    SHIM_STOPPING = 0x04,
    SHIM_FAILED = 0x05,
    SHIM_LISTENER = 0x06,
    SHIM_BYTES_UP = 0x07, /* reserved */
    SHIM_START = 0x11,
    SHIM_SIGNAL = 0x12,
    SHIM_LEAVE = 0x13,
    SHIM_HELLO_OK = 0x14,
    SHIM_BYTES_DOWN = 0x17, /* reserved */
};

enum shim_state { SHIM_WAITING = 0, SHIM_RUNNING = 1, SHIM_ENDED = 2 };
enum shim_end {
    SHIM_END_CODE = 0,
    SHIM_END_SIGNAL = 1,
    SHIM_END_MEMORY = 2, /* a signal too: the kernel's, for want of memory */
};
enum shim_isolation { SHIM_ISOLATION_NONE = 0, SHIM_ISOLATION_FULL = 1 };
enum shim_egress {
    SHIM_EGRESS_NONE = 0,
    SHIM_EGRESS_OPEN = 1,
    SHIM_EGRESS_PROXY = 2,
};

/* What the kernel keeps a program from, each by itself. STARTED says which of
 * them hold: what the kernel took, not what was asked for. */
enum shim_layer {
    SHIM_LAYER_CALLS = 1,  /* system calls: seccomp */
    SHIM_LAYER_FILES = 2,  /* Landlock, of any ABI */
    SHIM_LAYER_PORTS = 4,  /* Landlock, ABI 4: TCP ports */
    SHIM_LAYER_SCOPES = 8, /* Landlock, ABI 6: abstract sockets, signals */
};
#define SHIM_LAYERS_ALL 15

enum shim_when {
    SHIM_ALWAYS = 0,
    SHIM_UNLESS_PORTS = 1, /* the kernel judges no ports */
};

/* Bodies of fixed size, bytes. FAILED is 4 and its text. STARTED: i32 pid,
 * u8 layers that hold, u8 ABI of Landlock (0 = none). LISTENER: u16 port. */
#define SHIM_HELLO_BYTES (3 + 4 + SHIM_COOKIE_BYTES)
#define SHIM_STARTED_BYTES 6
#define SHIM_LISTENER_BYTES 2
#define SHIM_EXITED_BYTES 5
#define SHIM_FAILED_BYTES 4

struct shim_limits {
    uint64_t nproc; /* each 0 = as it is */
    uint64_t nofile;
    uint64_t data_bytes;
    uint64_t fsize_bytes;
    uint64_t cpu_s;
};

#endif
