"""Parsing of what clients send. Verbs are case-insensitive, blanks are runs of space and TAB, a line ends
with LF and a CR before it is dropped; a payload ends with exactly CRLF."""

from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memchr

cdef enum:
    ARGS_MAX = 5
    SIZE_DIGITS_MAX = 9
    VERB_MAX = 7

cdef struct Words:
    int count            # ARGS_MAX when there are more than fit
    const char* start[5]
    uint32_t length[5]


cdef inline bint _blank(char c) noexcept nogil:
    return c == b" " or c == b"\t"


cdef inline bint _verb(const char* p, const char* name, size_t n) noexcept nogil:
    cdef size_t i
    for i in range(n):
        if (p[i] | 32) != name[i] and p[i] != name[i]:
            return False
    return True


cdef void _split(const char* p, const char* end, Words* out) noexcept nogil:
    out.count = 0
    while p < end:
        while p < end and _blank(p[0]):
            p += 1
        if p == end:
            return
        if out.count == ARGS_MAX:
            return
        out.start[out.count] = p
        while p < end and not _blank(p[0]):
            p += 1
        out.length[out.count] = <uint32_t>(p - out.start[out.count])
        out.count += 1


cdef int64_t _size(const char* p, uint32_t n) noexcept nogil:
    """A payload size; -1 when it is not one."""
    cdef int64_t value = 0
    cdef uint32_t i
    if n == 0 or n > SIZE_DIGITS_MAX:
        return -1
    for i in range(n):
        if p[i] < b"0" or p[i] > b"9":
            return -1
        value = value * 10 + (p[i] - 48)
    return value


cdef Op _which(const char* p, size_t n, size_t* verb_len, bint* has_headers) noexcept nogil:
    """The verb at p, judged on as many bytes as there are; BAD_OP as soon as no verb can come of it."""
    cdef char c = p[0] | 32
    cdef const char* name
    cdef Op op
    has_headers[0] = False
    if c == b"p" and n >= 2:
        if (p[1] | 32) == b"u":
            name, op = b"pub", PUB
        elif (p[1] | 32) == b"i":
            name, op = b"ping", PING
        elif (p[1] | 32) == b"o":
            name, op = b"pong", PONG
        else:
            return BAD_OP
    elif c == b"p":
        return NEED_MORE
    elif c == b"h":
        name, op, has_headers[0] = b"hpub", PUB, True
    elif c == b"s":
        name, op = b"sub", SUB
    elif c == b"u":
        name, op = b"unsub", UNSUB
    elif c == b"c":
        name, op = b"connect", CONNECT
    elif c == b"i":
        name, op = b"info", IGNORED
    elif p[0] == b"+":
        name, op = b"+ok", IGNORED
    elif p[0] == b"-":
        name, op = b"-err", PEER_ERROR
    else:
        return BAD_OP
    cdef size_t length = 0
    while name[length]:
        length += 1
    if not _verb(p, name, n if n < length else length):
        return BAD_OP
    verb_len[0] = length
    return op if n >= length else NEED_MORE


cdef size_t parse(const char* p, size_t n, uint32_t control_line_max, int64_t payload_max,
                  bint headers, Frame* out) noexcept nogil:
    cdef size_t verb_len = 0, line, arg
    cdef bint with_headers = False
    cdef const char* newline
    cdef const char* end
    cdef Words words
    out.need = 0
    if n == 0:
        out.op = NEED_MORE
        return 0
    out.op = _which(p, n, &verb_len, &with_headers)
    if out.op == NEED_MORE or out.op == BAD_OP:
        return 0
    if not _after_verb(p, n, verb_len, out):
        return 0
    arg = verb_len
    while arg < n and _blank(p[arg]):
        arg += 1
    newline = <const char*>memchr(p + arg, b"\n", n - arg)
    if newline == NULL:
        # One more byte may be the CR that does not count.
        if n - arg > <size_t>control_line_max + 1 or arg > verb_len + control_line_max:
            out.op = BAD_CONTROL_LINE
        else:
            out.op = NEED_MORE
        return 0
    line = newline - p + 1
    end = newline
    if end > p + arg and (end - 1)[0] == b"\r":
        end -= 1
    if <size_t>(end - p) > arg + control_line_max or arg > verb_len + control_line_max:
        out.op = BAD_CONTROL_LINE
        return 0
    if out.op == PING or out.op == PONG or out.op == IGNORED or out.op == PEER_ERROR:
        return line
    if out.op == CONNECT:
        return _connect(p + verb_len, end, line, out)
    _split(p + verb_len, end, &words)
    if out.op == SUB:
        return _sub(&words, line, out)
    if out.op == UNSUB:
        return _unsub(&words, line, out)
    return _pub(&words, with_headers, p, n, line, payload_max, headers, out)


cdef bint _after_verb(const char* p, size_t n, size_t verb_len, Frame* out) noexcept nogil:
    """What must follow the verb directly. False: out.op says why it stops here."""
    cdef bint bare = out.op == PING or out.op == PONG or out.op == CONNECT or out.op == IGNORED
    if n == verb_len:
        out.op = NEED_MORE
        return False
    if bare:
        return True
    if not _blank(p[verb_len]):
        out.op = BAD_OP
        return False
    return True


cdef size_t _connect(const char* p, const char* end, size_t line, Frame* out) noexcept nogil:
    while p < end and _blank(p[0]):
        p += 1
    out.arg, out.arg_len = p, <uint32_t>(end - p)
    return line


cdef size_t _sub(Words* words, size_t line, Frame* out) noexcept nogil:
    if words.count != 2 and words.count != 3:
        out.op = BAD_ARGUMENT
        return 0
    out.msg.subject, out.msg.subject_len = words.start[0], words.length[0]
    out.queue, out.queue_len = words.start[1], words.length[1] if words.count == 3 else 0
    out.sid, out.sid_len = words.start[words.count - 1], words.length[words.count - 1]
    return line


cdef size_t _unsub(Words* words, size_t line, Frame* out) noexcept nogil:
    out.messages_max = 0
    if words.count != 1 and words.count != 2:
        out.op = BAD_ARGUMENT
        return 0
    out.sid, out.sid_len = words.start[0], words.length[0]
    if words.count == 2:
        out.messages_max = _size(words.start[1], words.length[1])
        if out.messages_max < 0:
            out.messages_max = 0
    return line


cdef size_t _pub(Words* words, bint with_headers, const char* p, size_t n, size_t line,
                 int64_t payload_max, bint headers, Frame* out) noexcept nogil:
    cdef int sizes = 2 if with_headers else 1
    cdef int64_t total, header_size = 0
    cdef const char* payload = p + line
    if with_headers and not headers:
        out.op = BAD_HEADER
        return 0
    if words.count != 1 + sizes and words.count != 2 + sizes:
        out.op = BAD_ARGUMENT
        return 0
    total = _size(words.start[words.count - 1], words.length[words.count - 1])
    if with_headers:
        header_size = _size(words.start[words.count - 2], words.length[words.count - 2])
    if total < 0 or header_size < 0 or header_size > total:
        out.op = BAD_ARGUMENT
        return 0
    if payload_max > 0 and total > payload_max:
        out.op = BAD_PAYLOAD
        return 0
    if n - line < <size_t>total + 2:
        out.need = line + <size_t>total + 2
        out.op = NEED_MORE
        return 0
    if payload[total] != b"\r" or payload[total + 1] != b"\n":
        out.op = BAD_OP
        return 0
    out.msg.subject, out.msg.subject_len = words.start[0], words.length[0]
    out.msg.reply, out.msg.reply_len = words.start[1], words.length[1] if words.count == 2 + sizes else 0
    out.msg.hdr, out.msg.hdr_len = payload, <uint32_t>header_size
    out.msg.body, out.msg.body_len = payload + header_size, <uint32_t>(total - header_size)
    return line + <size_t>total + 2


OP_NAMES = ("need_more", "pub", "sub", "unsub", "connect", "ping", "pong", "ignored", "peer_error",
            "bad_op", "bad_control_line", "bad_payload", "bad_argument", "bad_header")


def parse_one(bytes data, uint32_t control_line_max=4096, int64_t payload_max=1 << 20, bint headers=True):
    """For tests: (name, bytes taken, fields) of the first frame in `data`."""
    cdef Frame frame
    cdef size_t taken = parse(data, len(data), control_line_max, payload_max, headers, &frame)
    fields = {}
    if frame.op == PUB:
        fields = {
            "subject": frame.msg.subject[:frame.msg.subject_len],
            "reply": frame.msg.reply[:frame.msg.reply_len] if frame.msg.reply_len else b"",
            "hdr": frame.msg.hdr[:frame.msg.hdr_len],
            "body": frame.msg.body[:frame.msg.body_len],
        }
    elif frame.op == SUB:
        fields = {
            "subject": frame.msg.subject[:frame.msg.subject_len],
            "queue": frame.queue[:frame.queue_len],
            "sid": frame.sid[:frame.sid_len],
        }
    elif frame.op == UNSUB:
        fields = {"sid": frame.sid[:frame.sid_len], "max": frame.messages_max}
    elif frame.op == CONNECT:
        fields = {"json": frame.arg[:frame.arg_len]}
    elif frame.op == NEED_MORE and frame.need:
        fields = {"need": frame.need}
    return OP_NAMES[<int>frame.op], taken, fields
