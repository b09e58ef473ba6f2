# S2 streams: blocks in frames, each with its checksum. Bytes are pushed in at one end and taken out at the other;
# both directions hold a bounded amount, if the caller takes out before it pushes on.
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from millpond.structures.buffers cimport ByteBuffer
from millpond.store.s2_block cimport HASH_ROWS

cdef class S2Reader:
    cdef readonly ByteBuffer out         # decoded, not yet taken
    cdef readonly str failure            # "" = none; nothing is decoded behind it
    cdef ByteBuffer _in
    cdef size_t _skipping
    cdef bint _identified, _snappy
    cdef int feed(self, const char* data, size_t n) except -1
    # Decodes the next frame into `out`. False: it is not there as a whole, or `failure` says what is wrong with it.
    cdef bint step(self) except *
    # Nothing more will be fed: does a frame lack its end?
    cdef bint cut_off(self) noexcept
    cdef bint _fail(self, str reason) except *
    cdef bint _identify(self, const uint8_t* body, size_t n) except *
    cdef bint _decode(self, uint8_t kind, const uint8_t* body, size_t n) except *

cdef class S2Writer:
    cdef readonly ByteBuffer out         # encoded, not yet taken
    cdef ByteBuffer _block
    cdef uint16_t[HASH_ROWS] _table
    cdef int write(self, const void* data, size_t n) except -1
    # What was written so far is in `out`.
    cdef int flush(self) except -1
    cdef int _encode(self, const uint8_t* data, size_t n) except -1
