# What the server writes for one delivered message: MSG or HMSG, straight into the output buffer.
from libc.stdint cimport uint32_t
from millpond.structures.buffers cimport ByteBuffer
from millpond.wire.message cimport Msg

# A receiver without header support gets the message without its header block.
cdef int encode_msg(ByteBuffer out, const Msg* msg, const char* sid, uint32_t sid_len, bint headers) except -1
