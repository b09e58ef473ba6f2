"""Parsing of what clients send. Verbs are case-insensitive, blanks are runs of space and TAB, a line ends
with LF and a CR before it is dropped; a payload ends with exactly CRLF.

    SUB   foo 1\r\n
    verb  argument

The verb and the blanks behind it are taken at once and bounded by nothing, nor is what follows PING, PONG and
+OK; only the argument is kept until its line ends, and only its length counts against the limit.

Nearly every frame is a whole PUB or HPUB, written as all client libraries write it. `_split_plain` takes those
apart 64 bytes at a time; what it does not like, good or bad, is judged by the general way behind it.
"""

from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memchr

cdef extern from "millpond/wire/scan.h" nogil:
    ctypedef struct scan:
        pass
    scan scan_from(const char* p, size_t n)
    size_t scan_next(scan* s)

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


cdef inline bint _verb_is_pub(const char* p) noexcept nogil:
    return p[0] == b"P" and p[1] == b"U" and p[2] == b"B"


cdef inline bint _verb(const char* p, const char* name, size_t n) noexcept nogil:
    cdef size_t i
    for i in range(n):
        if (p[i] | 32) != name[i] and p[i] != name[i]:
            return False
    return True


cdef void _split(const char* p, const char* end, bint cr_is_blank, Words* out) noexcept nogil:
    out.count = 0
    while p < end:
        while p < end and (_blank(p[0]) or (cr_is_blank and p[0] == b"\r")):
            p += 1
        if p == end:
            return
        if out.count == ARGS_MAX:
            return
        out.start[out.count] = p
        while p < end and not (_blank(p[0]) or (cr_is_blank and p[0] == b"\r")):
            p += 1
        out.length[out.count] = <uint32_t>(p - out.start[out.count])
        out.count += 1


cdef inline size_t _split_plain(const char* p, size_t n, size_t verb_len, Words* out) noexcept nogil:
    """The line's length, when it is: verb, words with one space before each, CRLF. 0: not known here."""
    cdef scan blanks = scan_from(p, n)
    cdef size_t start = scan_next(&blanks), end
    out.count = 0
    if start != verb_len:
        return 0
    while p[start] == b" " and out.count < ARGS_MAX:
        start += 1
        end = scan_next(&blanks)
        if end == start or end + 1 >= n:
            return 0
        out.start[out.count], out.length[out.count] = p + start, <uint32_t>(end - start)
        out.count += 1
        start = end
    return start + 2 if p[start] == b"\r" and p[start + 1] == b"\n" else 0


cdef inline int64_t _size(const char* p, uint32_t n) noexcept nogil:
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
        name, op = b"info", INFO
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
                  bint headers, Verb* held, Frame* out) noexcept nogil:
    cdef Words words
    cdef size_t line
    cdef bint with_headers
    if n >= 64 and held.op == NEED_MORE and (p[0] == b"P" or p[0] == b"H"):
        with_headers = p[0] == b"H"
        line = _split_plain(p, n, 4 if with_headers else 3, &words)
        if 0 < line <= control_line_max and _verb_is_pub(p + with_headers):
            out.op, out.need = PUB, 0
            line = _pub(&words, with_headers, p, 0, n, line, payload_max, headers, out)
            if out.op == PUB:
                return line
    return _parse_general(p, n, control_line_max, payload_max, headers, held, out)


cdef size_t _parse_general(const char* p, size_t n, uint32_t control_line_max, int64_t payload_max,
                           bint headers, Verb* held, Frame* out) noexcept nogil:
    cdef size_t start = 0, taken
    out.need = 0
    out.op = NEED_MORE
    if n == 0:
        return 0
    if held.op == NEED_MORE:
        start = _verb_at(p, n, held, out)
        if start == 0:
            return 0
    out.op = held.op
    if out.op == PING or out.op == PONG or out.op == IGNORED:
        taken = _skip_line(p, n, start, out)
    else:
        while start < n and _blank(p[start]):
            start += 1
        taken = _argument(p, n, start, control_line_max, payload_max, headers, held, out)
    if out.op == NEED_MORE:
        return start if taken == 0 else taken
    held.op = NEED_MORE
    return taken


cdef size_t _verb_at(const char* p, size_t n, Verb* held, Frame* out) noexcept nogil:
    """Its length once it is whole and rightly followed, and it is `held`; else 0, and out.op says why."""
    cdef size_t verb_len = 0
    cdef Op op = _which(p, n, &verb_len, &held.has_headers)
    out.op = op
    if op == NEED_MORE or op == BAD_OP:
        return 0
    if op == PUB or op == SUB or op == UNSUB or op == PEER_ERROR:
        if n == verb_len:
            out.op = NEED_MORE
            return 0
        if not _blank(p[verb_len]):
            out.op = BAD_OP
            return 0
    held.op = op
    return verb_len


cdef size_t _skip_line(const char* p, size_t n, size_t start, Frame* out) noexcept nogil:
    cdef const char* newline = <const char*>memchr(p + start, b"\n", n - start)
    if newline == NULL:
        out.op = NEED_MORE
        return n
    return newline - p + 1


cdef size_t _argument(const char* p, size_t n, size_t start, uint32_t control_line_max, int64_t payload_max,
                      bint headers, Verb* held, Frame* out) noexcept nogil:
    """The line whose argument begins at p[start]. Returns the bytes of the whole frame, or 0."""
    cdef const char* newline = <const char*>memchr(p + start, b"\n", n - start)
    cdef const char* end = newline if newline != NULL else p + n
    cdef Words words
    if end > p + start and (end - 1)[0] == b"\r":
        end -= 1
    if <size_t>(end - p) > start + control_line_max:
        out.op = BAD_CONTROL_LINE
        return 0
    if newline == NULL:
        out.op = NEED_MORE
        return 0
    if out.op == CONNECT or out.op == INFO or out.op == PEER_ERROR:
        out.arg, out.arg_len = p + start, <uint32_t>(end - p - start)
        return newline - p + 1
    _split(p + start, end, out.op != PUB, &words)
    if out.op == SUB:
        return _sub(&words, newline - p + 1, out)
    if out.op == UNSUB:
        return _unsub(&words, newline - p + 1, out)
    return _pub(&words, held.has_headers, p, start, n, newline - p + 1, payload_max, headers, out)


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


cdef size_t _pub(Words* words, bint with_headers, const char* p, size_t start, size_t n, size_t line,
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
        out.op, out.need = BAD_PAYLOAD, <size_t>total
        out.msg.subject, out.msg.subject_len = words.start[0], words.length[0]
        out.msg.hdr, out.msg.hdr_len = payload, <uint32_t>min(<size_t>header_size, n - line)
        return 0
    if n - line < <size_t>total + 2:
        out.need = line - start + <size_t>total + 2
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


OP_NAMES = ("need_more", "pub", "sub", "unsub", "connect", "ping", "pong", "info", "ignored", "peer_error",
            "bad_op", "bad_control_line", "bad_payload", "bad_argument", "bad_header")


cdef class FrameReader:
    """What a connection does with its bytes, for tests and fuzzers: keeps what is unfinished, as short as it can."""
    cdef Verb _held
    cdef bytes _kept
    cdef uint32_t _control_line_max
    cdef int64_t _payload_max
    cdef bint _headers, _general
    cdef readonly size_t need
    cdef readonly bint failed

    def __init__(self, uint32_t control_line_max=4096, int64_t payload_max=1 << 20, bint headers=True,
                 bint general=False):
        """general: never the quick way."""
        self._control_line_max, self._payload_max, self._headers = control_line_max, payload_max, headers
        self._general = general
        self._kept = b""

    def feed(self, bytes data):
        """[(name, fields)] of the frames that are whole now, up to the first one that ends a connection."""
        cdef Frame frame
        cdef size_t used = 0, taken
        cdef list found = []
        cdef const char* p
        cdef size_t (*way)(const char*, size_t, uint32_t, int64_t, bint, Verb*, Frame*) noexcept nogil
        way = _parse_general if self._general else parse
        self._kept += data
        p = self._kept
        while not self.failed:
            taken = way(p + used, len(self._kept) - used, self._control_line_max, self._payload_max,
                        self._headers, &self._held, &frame)
            assert used + taken <= <size_t>len(self._kept), "took more than there is"
            used += taken
            self.need = frame.need
            if frame.op == NEED_MORE:
                break
            assert taken > 0 or frame.op >= BAD_OP, "a frame of no bytes"
            found.append((OP_NAMES[<int>frame.op], _fields(&frame)))
            self.failed = frame.op >= PEER_ERROR
        self._kept = self._kept[used:]
        return found

    @property
    def kept(self):
        """Bytes of an unfinished frame that are held."""
        return len(self._kept)


cdef dict _fields(const Frame* frame):
    if frame.op == PUB:
        return {
            "subject": frame.msg.subject[:frame.msg.subject_len],
            "reply": frame.msg.reply[:frame.msg.reply_len] if frame.msg.reply_len else b"",
            "hdr": frame.msg.hdr[:frame.msg.hdr_len],
            "body": frame.msg.body[:frame.msg.body_len],
        }
    if frame.op == SUB:
        return {
            "subject": frame.msg.subject[:frame.msg.subject_len],
            "queue": frame.queue[:frame.queue_len],
            "sid": frame.sid[:frame.sid_len],
        }
    if frame.op == UNSUB:
        return {"sid": frame.sid[:frame.sid_len], "max": frame.messages_max}
    if frame.op == CONNECT or frame.op == INFO:
        return {"json": frame.arg[:frame.arg_len]}
    return {}
