#include "tests/lib/startbytes.h"

#include "runner-image/shim.h"

void start_put_no_cage(struct buf *b)
{
    buf_append_u8(b, 0);  /* layers wanted */
    buf_append_u8(b, 0);  /* and needed */
    buf_append_u8(b, 0);  /* filters */
    buf_append_u16(b, 0); /* paths to read */
    buf_append_u16(b, 0); /* and to write */
    buf_append_u8(b, 0);  /* ports */
}

void start_put_no_network(struct buf *b)
{
    buf_append_u8(b, SHIM_NETWORK_VERSION);
    buf_append_u8(b, SHIM_EGRESS_NONE);
    buf_append_u8(b, 0);
}
