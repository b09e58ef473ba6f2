"""Tar archives, read in pieces: as much of the format as backups of nats-server up to 2.14 use.

    archive = files | two blocks of zeros
    file    = head (512) | content | zeros up to a multiple of 512

    head: name at 0 (100), size at 124 (12, octal), kind at 156 ("0" a file, "x" attributes of the next one),
          magic "ustar" at 257, prefix of the name at 345 (155), sum of all bytes at 148 (8, octal, itself as blanks)

The texts of failures are those that nats-server shows. Source: POSIX.1, pax.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t, uint64_t

from millpond.store.backup.archive cimport BROKEN, READY, STARVED, ArchiveReader, Read

cdef enum:
    BLOCK = 512

cdef str INVALID = "archive/tar: invalid tar header"
cdef bytes ZEROS = bytes(BLOCK)
cdef bytes FILES = b"0\0"


def _octal(bytes field):
    """The number in a field of octal digits, -1 when it is none."""
    digits = field.strip(b" \0")
    return int(digits, 8) if digits and not digits.strip(b"01234567") else -1


cdef class TarReader:
    """Goes on with what an ArchiveReader is fed, and has found to be no archive of its kind."""

    def __init__(self, ArchiveReader archive):
        self._archive, self.stream = archive, archive.stream
        self.failure = ""

    cdef Read _break(self, str reason) except *:
        self.failure = self.failure or reason
        return BROKEN

    cdef Read _await(self, size_t n, bint may_end) except *:
        while self.stream.out.size() < n:
            if self.stream.step():
                continue
            if self.stream.failure:
                return self._break(self.stream.failure)
            if not self._archive._ended:
                return STARVED
            if self.stream.cut_off():
                return self._break("s2: corrupt input")
            if may_end and self.stream.out.size() == 0:
                self.over = True
                return BROKEN
            return self._break("unexpected EOF")
        return READY

    cdef Read need(self, size_t n) except *:
        assert n <= self.left
        return self._await(n, False)

    cdef int consume(self, size_t n) except -1:
        assert n <= self.left
        self.left -= n
        self.stream.out.consume(n)
        return 0

    cdef Read _skip_rest(self) except *:
        cdef Read found
        cdef size_t part
        while self.left + self._padding:
            found = self._await(1, False)
            if found != READY:
                return found
            part = <size_t>min(<uint64_t>self.stream.out.size(), self.left + self._padding)
            self.stream.out.consume(part)
            if part <= self.left:
                self.left -= part
            else:
                self._padding -= <uint32_t>(part - self.left)
                self.left = 0
        return READY

    def next_file(self):
        """(name, size) of the next file, the rest of the one before is skipped; None: not there yet, `over`, or
        `failure`."""
        while self._skip_rest() == READY and not self.over and self._await(BLOCK, True) == READY:
            head = PyBytes_FromStringAndSize(self.stream.out.data + self.stream.out.head, BLOCK)
            if head == ZEROS:
                self.over = True
                return None
            size, kind = _octal(head[124:136]), head[156:157]
            if size < 0 or size >> 40 or sum(head) - sum(head[148:156]) + 8 * 0x20 != _octal(head[148:156]):
                self._break(INVALID)
                return None
            self.stream.out.consume(BLOCK)
            self.left, self._padding = size, -size % BLOCK
            if kind == b"x" or kind == b"g":
                continue                           # times and owners; the names of backups are short and plain
            if kind not in FILES:
                self._break("unexpected content")
                return None
            name, prefix = head[:100].rstrip(b"\0"), head[345:500].rstrip(b"\0")
            return (prefix + b"/" + name if prefix else name), size
        return None

    def content(self):
        """The current file's as a whole; None: not there yet, or `failure`."""
        if self.need(<size_t>self.left) != READY:
            return None
        content = PyBytes_FromStringAndSize(self.stream.out.data + self.stream.out.head, <Py_ssize_t>self.left)
        self.consume(<size_t>self.left)
        return content
