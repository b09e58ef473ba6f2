# The client protocol, one frame at a time over views (reference 01, section 1.1). What is not a whole frame
# yet is offered again with more bytes behind it. All that a connection keeps besides is its `Verb`.
from libc.stdint cimport int64_t, uint32_t
from millpond.wire.message cimport Msg

cdef enum Op:
    NEED_MORE
    PUB                  # PUB and HPUB: msg is complete, payload included
    SUB                  # msg.subject, queue, sid
    UNSUB                # sid, messages_max (0 = at once)
    CONNECT              # arg: the JSON
    PING
    PONG
    INFO                 # arg: the JSON
    IGNORED              # +OK, tolerated from a client
    PEER_ERROR           # -ERR: the connection is closed, nothing is sent back
    BAD_OP               # 'Unknown Protocol Operation'
    BAD_CONTROL_LINE     # 'maximum control line exceeded'
    BAD_PAYLOAD          # 'Maximum Payload Violation'; msg: the subject, of the header block what is there; need: the size
    BAD_ARGUMENT         # closed in silence, Parse Error
    BAD_HEADER           # closed in silence, Message Header Violation

# A verb that was taken while its line has no end, together with the blanks behind it: whatever comes next
# belongs to it. Zeroed: none.
cdef struct Verb:
    Op op                # NEED_MORE = none
    bint has_headers

cdef struct Frame:
    Op op
    Msg msg
    const char* arg
    uint32_t arg_len
    const char* queue
    uint32_t queue_len
    const char* sid
    uint32_t sid_len
    int64_t messages_max
    size_t need          # NEED_MORE: bytes of the frame from what was not taken on, 0 = not known yet

# Parses the frame at p. Returns the bytes it took: with NEED_MORE those of a verb, which is `held` now; with
# every BAD_ op 0.
cdef size_t parse(const char* p, size_t n, uint32_t control_line_max, int64_t payload_max,
                  bint headers, Verb* held, Frame* out) noexcept nogil
