"""Where JSON values begin and end, and what is wrong with those that do not: Go's scanner, its words and offsets.

Clients and their users see these errors ("invalid character 'x' in literal true (expecting 'e') at offset 4"),
so the grammar, the order of the checks and the offset (just behind the offending bytes) are those of the
encoding/json that nats-server is built with. Invalid UTF-8 inside strings is legal there, and here.

One pass, no recursion: nesting lives in a bounded stack. Nothing is decoded; values are byte ranges.
"""

cdef enum:
    DEPTH_MAX = 10_000
    PLACE_BYTES = 48

cdef enum Trouble:
    NONE = 0
    TRUNCATED = 1          # the input ends inside a value
    TOO_DEEP = 2
    CHARACTER = 3          # an invalid character, one rune long
    ESCAPE = 4             # an invalid escape sequence

cdef struct Fault:
    Trouble trouble
    Py_ssize_t at          # where the offending bytes begin
    Py_ssize_t size        # ESCAPE: how many they are
    const char* where      # "in string"


class Malformed(ValueError):
    """`what`: 'character', 'escape', 'depth' or 'end'; `where`: Go's words for the place; `start` to `stop`: the bytes."""

    def __init__(self, what, where, start, stop):
        super().__init__(f"{what} {where} [{start}:{stop}]")
        self.what, self.where, self.start, self.stop = what, where, start, stop


cdef inline Py_ssize_t _space(const unsigned char* s, Py_ssize_t n, Py_ssize_t at) noexcept nogil:
    while at < n and (s[at] == c" " or s[at] == c"\t" or s[at] == c"\r" or s[at] == c"\n"):
        at += 1
    return at


cdef inline Py_ssize_t _stop(Fault* fault, Trouble trouble, Py_ssize_t at, const char* where) noexcept nogil:
    fault.trouble, fault.at, fault.where = trouble, at, where
    return -1


cdef inline bint _is_digit(unsigned char c) noexcept nogil:
    return c"0" <= c <= c"9"


cdef inline bint _is_hex(unsigned char c) noexcept nogil:
    return c"0" <= c <= c"9" or c"a" <= c <= c"f" or c"A" <= c <= c"F"


cdef Py_ssize_t _unicode_escape(const unsigned char* s, Py_ssize_t n, Py_ssize_t at, Fault* fault) noexcept nogil:
    """`at` is at the backslash of \\uXXXX; gives the position behind it."""
    cdef Py_ssize_t i
    cdef Py_ssize_t end = min(at + 6, n)
    for i in range(at + 2, end):
        if not _is_hex(s[i]):
            fault.size = end - at
            return _stop(fault, ESCAPE, at, "in string")
    return at + 6 if at + 6 <= n else _stop(fault, TRUNCATED, n, "")


cdef Py_ssize_t _string(const unsigned char* s, Py_ssize_t n, Py_ssize_t at, Fault* fault) noexcept nogil:
    """`at` is at the opening quote; gives the position behind the closing one."""
    at += 1
    while at < n:
        if s[at] == c'"':
            return at + 1
        if s[at] < 0x20:
            return _stop(fault, CHARACTER, at, "in string")
        if s[at] != c"\\":
            at += 1
            continue
        if at + 1 >= n:
            break
        if s[at + 1] == c"u":
            at = _unicode_escape(s, n, at, fault)
            if at < 0:
                return -1
        elif s[at + 1] in (c'"', c"\\", c"/", c"b", c"f", c"n", c"r", c"t"):
            at += 2
        else:
            fault.size = 2
            return _stop(fault, ESCAPE, at, "in string")
    return _stop(fault, TRUNCATED, n, "")


cdef Py_ssize_t _digits(const unsigned char* s, Py_ssize_t n, Py_ssize_t at, Fault* fault) noexcept nogil:
    """At least one digit."""
    if at >= n:
        return _stop(fault, TRUNCATED, n, "")
    if not _is_digit(s[at]):
        return _stop(fault, CHARACTER, at, "in numeric literal")
    while at < n and _is_digit(s[at]):
        at += 1
    return at


cdef Py_ssize_t _number(const unsigned char* s, Py_ssize_t n, Py_ssize_t at, Fault* fault) noexcept nogil:
    if s[at] == c"-":
        at += 1
    if at < n and s[at] == c"0":
        at += 1
    else:
        at = _digits(s, n, at, fault)
    if at >= 0 and at < n and s[at] == c".":
        at = _digits(s, n, at + 1, fault)
    if at >= 0 and at < n and (s[at] == c"e" or s[at] == c"E"):
        at += 1
        if at < n and (s[at] == c"+" or s[at] == c"-"):
            at += 1
        at = _digits(s, n, at, fault)
    return at


cdef Py_ssize_t _literal(const unsigned char* s, Py_ssize_t n, Py_ssize_t at, const char* word, Py_ssize_t size,
                         const char* places, Fault* fault) noexcept nogil:
    """`places` holds one text of PLACE_BYTES for each letter that can be missed."""
    cdef Py_ssize_t i
    for i in range(min(size, n - at)):
        if s[at + i] != <unsigned char>word[i]:
            return _stop(fault, CHARACTER, at + i, places + PLACE_BYTES * i)
    return at + size if at + size <= n else _stop(fault, TRUNCATED, n, "")


cdef bytes _places(bytes word):
    rows = [b"in literal %b (expecting '%c')" % (word, letter) for letter in word]
    assert all(len(row) < PLACE_BYTES for row in rows), "each text ends with a zero byte"
    return b"".join(row.ljust(PLACE_BYTES, b"\0") for row in rows)


cdef bytes NULL_PLACES = _places(b"null")
cdef bytes TRUE_PLACES = _places(b"true")
cdef bytes FALSE_PLACES = _places(b"false")
cdef const char* null_places = NULL_PLACES
cdef const char* true_places = TRUE_PLACES
cdef const char* false_places = FALSE_PLACES


cdef Py_ssize_t _scalar(const unsigned char* s, Py_ssize_t n, Py_ssize_t at, Fault* fault) noexcept nogil:
    cdef unsigned char c = s[at]
    if c == c'"':
        return _string(s, n, at, fault)
    if c == c"-" or _is_digit(c):
        return _number(s, n, at, fault)
    if c == c"n":
        return _literal(s, n, at, "null", 4, null_places, fault)
    if c == c"t":
        return _literal(s, n, at, "true", 4, true_places, fault)
    if c == c"f":
        return _literal(s, n, at, "false", 5, false_places, fault)
    return _stop(fault, CHARACTER, at, "looking for beginning of value")


cdef Py_ssize_t _name(const unsigned char* s, Py_ssize_t n, Py_ssize_t at, Fault* fault) noexcept nogil:
    """A member's name and its colon; gives the position behind the colon."""
    at = _space(s, n, at)
    if at >= n:
        return _stop(fault, TRUNCATED, n, "")
    if s[at] != c'"':
        return _stop(fault, CHARACTER, at, "looking for beginning of object key string")
    at = _string(s, n, at, fault)
    if at < 0:
        return -1
    at = _space(s, n, at)
    if at >= n:
        return _stop(fault, TRUNCATED, n, "")
    if s[at] != c":":
        return _stop(fault, CHARACTER, at, "after object key")
    return at + 1


cdef Py_ssize_t _value(const unsigned char* s, Py_ssize_t n, Py_ssize_t at, Fault* fault) noexcept nogil:
    """The position behind the value at `at`; -1 with `fault` filled in."""
    cdef char[DEPTH_MAX] closers
    cdef int depth = 0
    while True:
        at = _space(s, n, at)
        if at >= n:
            return _stop(fault, TRUNCATED, n, "")
        if s[at] == c"{" or s[at] == c"[":
            if depth == DEPTH_MAX:
                return _stop(fault, TOO_DEEP, at, "")
            closers[depth] = c"}" if s[at] == c"{" else c"]"
            depth += 1
            at = _space(s, n, at + 1)
            if at >= n:
                return _stop(fault, TRUNCATED, n, "")
            if s[at] != <unsigned char>closers[depth - 1]:
                if closers[depth - 1] == c"}":
                    at = _name(s, n, at, fault)
                    if at < 0:
                        return -1
                continue
            at += 1
            depth -= 1
        else:
            at = _scalar(s, n, at, fault)
            if at < 0:
                return -1
        at = _after(s, n, at, closers, &depth, fault)
        if at < 0 or depth == 0:
            return at


cdef Py_ssize_t _after(const unsigned char* s, Py_ssize_t n, Py_ssize_t at, const char* closers, int* depth,
                       Fault* fault) noexcept nogil:
    """Behind a value: closes what ends here, and stands before the next value or, at depth 0, behind the whole."""
    while depth[0]:
        at = _space(s, n, at)
        if at >= n:
            return _stop(fault, TRUNCATED, n, "")
        if s[at] == <unsigned char>closers[depth[0] - 1]:
            depth[0] -= 1
            at += 1
        elif s[at] == c",":
            return _name(s, n, at + 1, fault) if closers[depth[0] - 1] == c"}" else at + 1
        elif closers[depth[0] - 1] == c"}":
            return _stop(fault, CHARACTER, at, "after object key:value pair")
        else:
            return _stop(fault, CHARACTER, at, "after array element")
    return at


cdef Py_ssize_t _rune_size(const unsigned char* s, Py_ssize_t n, Py_ssize_t at):
    """Bytes of the UTF-8 sequence at `at`; 1 when it is none."""
    cdef Py_ssize_t size = 4 if s[at] >= 0xF0 else 3 if s[at] >= 0xE0 else 2 if s[at] >= 0xC0 else 1
    if at + size > n:
        return 1
    try:
        (<const char*>s)[at:at + size].decode()
    except UnicodeDecodeError:
        return 1
    return size


cdef object _malformed(const unsigned char* s, Py_ssize_t n, Fault* fault):
    if fault.trouble == TRUNCATED:
        return Malformed("end", "", n, n)
    if fault.trouble == TOO_DEEP:
        return Malformed("depth", "", fault.at, fault.at + 1)
    if fault.trouble == ESCAPE:
        return Malformed("escape", fault.where.decode(), fault.at, fault.at + fault.size)
    return Malformed("character", fault.where.decode(), fault.at, fault.at + _rune_size(s, n, fault.at))


def skip_space(bytes data not None, Py_ssize_t at):
    """The first position at or after `at` that is no JSON white space."""
    return _space(<const unsigned char*>data, len(data), at)


def value_end(bytes data not None, Py_ssize_t at):
    """The position behind the value that begins at or after `at`. Raises Malformed."""
    cdef const unsigned char* s = data
    cdef Py_ssize_t n = len(data)
    cdef Py_ssize_t end
    cdef Fault fault
    assert at >= 0
    fault.trouble, fault.at, fault.size, fault.where = NONE, 0, 0, ""
    end = _value(s, n, at, &fault)
    if end < 0:
        raise _malformed(s, n, &fault)
    assert at < end <= n
    return end
