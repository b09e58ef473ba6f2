# Named shares of one server's memory. Whoever keeps bytes for longer than a turn charges them to a
# Budget when it takes them and releases them when it gives them back.
cimport cython
from libc.stdint cimport int64_t

@cython.final
cdef class Budget:
    cdef readonly str name
    cdef readonly int64_t bytes_max      # 0 = no bound of its own (the server's total still holds)
    cdef readonly int64_t used           # bytes charged now
    cdef readonly int64_t used_peak      # the most that was ever charged at once
    cdef readonly Budget total           # the budget that this one is a part of, or None
    cdef readonly int64_t holders        # parts of this one that hold something, or are kept
    cdef readonly bint kept              # counts as a holder of the total even while it holds nothing
    cdef bint _counted

    # Taking: charge() counts what has been taken, even beyond the bound (the bytes exist by then);
    # try_charge() counts only if it fits, and says whether it did. n >= 0 everywhere.
    cpdef int charge(self, int64_t n) except -1
    cpdef bint try_charge(self, int64_t n) except -1
    cpdef int release(self, int64_t n) except -1
    cpdef int settle(self, int64_t n) except -1        # measured: n bytes are used now
    cdef bint would_exceed(self, int64_t n) noexcept   # n more bytes would not fit (here or in total)
    cdef int64_t left(self) noexcept                   # bytes that still fit; never negative
    cpdef int keep(self, bint on) except -1
    cpdef int move(self, Budget total) except -1       # with all that is charged, to be a part of another one
    # Fair shares: what this part may hold while others want some of the same.
    cdef int64_t share_max(self) noexcept
    cdef bint is_over_share(self) noexcept
    cdef inline bint is_calm(self) noexcept:           # no part, nor a part of a part, can be over its share
        return self.bytes_max == 0 or self.used < self.bytes_max >> 2

@cython.final
cdef class Budgets:
    cdef readonly Budget total
    cdef dict _named
    cpdef Budget named(self, str name, int64_t bytes_max=*)
