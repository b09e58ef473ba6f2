# One message as views into somebody else's buffer. Nothing here is owned; whoever keeps a
# message beyond the call that handed it over copies the bytes.
#
#   hdr   the whole header block, from "NATS/1.0" to the empty line's CRLF; hdr_len 0 = none
#   body  the payload without the header block
from libc.stdint cimport uint32_t

cdef struct Msg:
    const char* subject
    uint32_t subject_len
    const char* reply          # reply_len 0 = none
    uint32_t reply_len
    const char* hdr
    uint32_t hdr_len
    const char* body
    uint32_t body_len
