# A growable byte buffer: bytes go in at the tail and out at the head. Owns its memory, gives it back
# when it runs empty. What it holds is charged to its budget, if it was given one before the first byte.
from millpond.base.budget cimport Budget

cdef class ByteBuffer:
    cdef char* data
    cdef size_t head, tail, capacity
    cdef Budget budget
    cdef bint bulky                                     # grows in jumps; set by its owner
    cdef char* reserve(self, size_t n) except NULL      # room for n more bytes at the returned place
    cdef inline void commit(self, size_t n) noexcept:   # n of the reserved bytes are filled
        self.tail += n
    cdef int append(self, const void* source, size_t n) except -1
    cdef void consume(self, size_t n) noexcept          # n bytes leave at the head
    cdef inline size_t size(self) noexcept:
        return self.tail - self.head
    cdef void cut(self, size_t n) noexcept              # only the first n bytes stay
    cdef void release(self) noexcept                    # forgets everything, frees

cdef inline int put_decimal(char* out, unsigned long long value) noexcept nogil:
    """Writes decimal digits without a terminator, at most 20; returns how many."""
    cdef unsigned long long bound = 10
    cdef unsigned int low
    cdef int count = 1, i
    while value >= bound:
        count += 1
        if count == 20:
            break                                  # the next bound would not fit
        bound *= 10
    i = count
    while value >> 32:
        i -= 1
        out[i] = <char>(48 + value % 10)
        value //= 10
    low = <unsigned int>value                      # divides in half the time
    while i:
        i -= 1
        out[i] = <char>(48 + low % 10)
        low //= 10
    return count
