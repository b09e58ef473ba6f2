"""Archives, written and read in pieces.

    archive = "NATSARC1" | entries
    entry   = name length (uvarint) | time, Unix ns (varint, zigzag) | sequence (uvarint) | header bytes (uvarint)
              | payload bytes (uvarint) | name | header block | payload

    state.json          first: the stream's state
    consumers/<name>    one for each consumer that the state counts: configuration and state, JSON
    <subject>           the messages, by ascending sequence
    (no name, zeros)    the end

The texts of failures are those that nats-server shows.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from millpond.store.api cimport Record
from millpond.store.backup.s2_stream cimport S2Reader, S2Writer

from millpond.base import limits

cdef enum:
    MAGIC_BYTES = 8
    UVARINT_BYTES_MAX = 10

cdef const char* MAGIC = "NATSARC1"
cdef uint64_t NAME_MAX = limits.ARCHIVE_NAME_BYTES_MAX
cdef uint64_t CONTENT_MAX = limits.ARCHIVE_ENTRY_BYTES_MAX
cdef str INVALID = "archive: invalid archive stream"


cdef class ArchiveReader:
    """Reads the archive that is fed as an S2 stream. What is held is bounded by the largest entry that is read()."""

    def __cinit__(self):
        self.stream = S2Reader()
        self.failure, self.is_archive = "", True

    def feed(self, bytes data):
        """More of the stream."""
        assert not self._ended
        self.stream.feed(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    def end(self):
        """There will be no more."""
        self._ended = True

    def begins(self):
        """Is it an archive? None: not known yet; False with a `failure`: nothing that can be read."""
        cdef Read found = self._begin()
        return None if found == STARVED else found == READY

    cdef Read _break(self, str reason) except *:
        self.failure = self.failure or reason
        return BROKEN

    cdef Read _need(self, size_t n) except *:
        """Are so many decoded bytes there? Does not say what a failure means."""
        while self.stream.out.size() < n:
            if not self.stream.step():
                return BROKEN if self.stream.failure or self._ended else STARVED
        return READY

    cdef Read _begin(self) except *:
        cdef Read found
        if self._begun or self.failure:
            return BROKEN if self.failure else READY
        found = self._need(MAGIC_BYTES)
        if found == BROKEN:
            if self.stream.failure:
                return self._break(self.stream.failure)
            if self.stream.cut_off():
                return self._break("s2: corrupt input")
            return self._break("unexpected EOF" if self.stream.out.size() else "EOF")
        if found == READY:
            if memcmp(self.stream.out.data + self.stream.out.head, MAGIC, MAGIC_BYTES) != 0:
                self.is_archive = False
                return self._break(INVALID)
            self.stream.out.consume(MAGIC_BYTES)
            self._begun = True
        return found

    cdef Read _field(self, size_t* at, uint64_t* value, bint first) except *:
        """A uvarint `at` bytes behind the head of what is decoded."""
        cdef size_t i
        cdef uint8_t byte
        cdef Read found
        value[0] = 0
        for i in range(UVARINT_BYTES_MAX):
            found = self._need(at[0] + 1)
            if found == BROKEN:
                clean = first and i == 0 and not self.stream.failure and not self.stream.cut_off()
                return self._break("EOF" if clean else INVALID)
            if found == STARVED:
                return found
            byte = <uint8_t>self.stream.out.data[self.stream.out.head + at[0]]
            at[0] += 1
            if i == UVARINT_BYTES_MAX - 1 and byte > 1:
                break
            value[0] |= <uint64_t>(byte & 0x7F) << (7 * i)
            if byte < 0x80:
                return READY
        return self._break(INVALID)

    cdef Read head(self, Entry* out) except *:
        cdef uint64_t[5] fields
        cdef size_t at = 0
        cdef int i
        cdef Read found = self._begin()
        if found != READY:
            return found
        for i in range(5):
            found = self._field(&at, &fields[i], i == 0)
            if found != READY:
                return found
        if fields[0] > NAME_MAX or (fields[3] | fields[4] | (fields[3] + fields[4])) >> 63:
            return self._break(INVALID)
        found = self._need(at + <size_t>fields[0])
        if found != READY:
            return self._break(INVALID) if found == BROKEN else found
        out.name, out.name_len = self.stream.out.data + self.stream.out.head + at, <uint32_t>fields[0]
        out.ts_ns = <int64_t>(fields[1] >> 1) ^ -<int64_t>(fields[1] & 1)
        out.seq, out.hdr_len, out.body_len, out.content = fields[2], fields[3], fields[4], NULL
        self._head_bytes = at + out.name_len
        return READY

    cdef Read read(self, Entry* out) except *:
        cdef Read found = self.head(out)
        cdef size_t size
        if found != READY:
            return found
        if out.hdr_len + out.body_len > CONTENT_MAX:
            return self._break(INVALID)
        size = <size_t>(out.hdr_len + out.body_len)
        found = self._need(self._head_bytes + size)
        if found != READY:
            return self._break(INVALID) if found == BROKEN else found
        out.name = self.stream.out.data + self.stream.out.head + self._head_bytes - out.name_len
        out.content = out.name + out.name_len
        return READY

    cdef int pass_by(self, const Entry* entry) except -1:
        assert entry.content != NULL, "only what was read is passed"
        self.stream.out.consume(self._head_bytes + <size_t>(entry.hdr_len + entry.body_len))
        return 0

    def next_name(self):
        """The next entry's name and its sequence; None: not there yet, or `failure`."""
        cdef Entry entry
        if self.head(&entry) != READY:
            return None
        return PyBytes_FromStringAndSize(entry.name, entry.name_len), entry.seq

    def next_document(self):
        """The next entry as (name, time, content), which passes it; None: not there yet, or `failure`."""
        cdef Entry entry
        if self.read(&entry) != READY:
            return None
        document = (PyBytes_FromStringAndSize(entry.name, entry.name_len), entry.ts_ns,
                    PyBytes_FromStringAndSize(entry.content, <Py_ssize_t>(entry.hdr_len + entry.body_len)))
        self.pass_by(&entry)
        return document

    def held_bytes(self):
        """What is held in memory."""
        return self.stream.held_bytes()


cdef class ArchiveWriter:
    """Writes an archive into `stream.out`, which its caller empties."""

    def __cinit__(self):
        self.stream = S2Writer()
        self.stream.write(MAGIC, MAGIC_BYTES)

    cdef int put_head(self, const char* name, size_t name_len, int64_t ts_ns, uint64_t seq, uint64_t hdr_len,
                      uint64_t body_len) except -1:
        cdef uint8_t[5 * UVARINT_BYTES_MAX] text
        cdef uint64_t[5] fields
        cdef size_t made = 0
        cdef int i
        fields[0], fields[1] = name_len, <uint64_t>ts_ns << 1 ^ <uint64_t>(ts_ns >> 63)
        fields[2], fields[3], fields[4] = seq, hdr_len, body_len
        for i in range(5):
            while fields[i] >= 0x80:
                text[made] = <uint8_t>(fields[i] | 0x80)
                fields[i] >>= 7
                made += 1
            text[made] = <uint8_t>fields[i]
            made += 1
        self.stream.write(text, made)
        return self.stream.write(name, name_len)

    cdef int put_message(self, const Record* record) except -1:
        self.put_head(record.subject, record.subject_len, record.ts_ns, record.seq, record.hdr_len, record.body_len)
        self.stream.write(record.hdr, record.hdr_len)
        return self.stream.write(record.body, record.body_len)

    def put_document(self, bytes name, int64_t ts_ns, bytes content):
        """An entry that is not a message."""
        self.put_head(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), ts_ns, 0, 0, PyBytes_GET_SIZE(content))
        self.stream.write(PyBytes_AS_STRING(content), PyBytes_GET_SIZE(content))

    cpdef int end(self) except -1:
        self.put_head("", 0, 0, 0, 0, 0)
        return self.stream.flush()

    # --- Python's door, for tests ---

    def put(self, bytes subject, uint64_t seq, int64_t ts_ns, bytes hdr, bytes body):
        """A message."""
        cdef Record record
        record.seq, record.ts_ns = seq, ts_ns
        record.subject, record.subject_len = PyBytes_AS_STRING(subject), <uint32_t>len(subject)
        record.hdr, record.hdr_len = PyBytes_AS_STRING(hdr), <uint32_t>len(hdr)
        record.body, record.body_len = PyBytes_AS_STRING(body), <uint32_t>len(body)
        self.put_message(&record)

    def take(self):
        """Flush, and take out what there is."""
        self.stream.flush()
        out = self.stream.out.peek()
        self.stream.out.consume(self.stream.out.size())
        return out
