# The summary of one segment file, made beside the loop.
from millpond.store.packer_order cimport Order

# Reads the segment and leaves its summary in `order`, or nothing where it would not be worth it. An errno; EILSEQ: not
# everything in it verifies.
cdef int summarise(Order* order) noexcept nogil
