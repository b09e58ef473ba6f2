# Overwriting a message where it lies, in the file and in memory.
from libc.stdint cimport uint32_t, uint64_t
from millpond.store.api cimport Load
from millpond.store.repacking cimport Repacker
from millpond.store.segment_log cimport SegmentLog

# The message `seq` at this proven place; `size` is what it is accounted for. Also when that was begun before.
# COLD: not now. Raises OSError.
cdef Load erase(SegmentLog log, uint32_t number, uint32_t offset, uint64_t seq, uint32_t size) except *
# Those of [(seq, number, generation, offset, size)] that can be overwritten now; returns what has to be read or proven
# first. *unproven: some of these wait for a record behind them.
cdef list erase_committed(SegmentLog log, Repacker repacker, list erasures, bint* unproven)
