# What the worker is to do with one segment file.
from libc.stdint cimport uint32_t, uint64_t

from millpond.store.disk cimport disk_calls
from millpond.store.segment cimport Packed

cdef enum Task:
    PACK = 0
    UNPACK = 1                       # back to a plain file
    SUMMARISE = 2

cdef struct Order:                   # it owns nothing of this but the summary
    const disk_calls* disk
    int source, target               # descriptors
    Task task
    bint drop                        # the source is on disk: its pages are not needed
    bint stop                        # set while it runs: nobody wants it any more
    bint worth                       # answer: what was made is smaller than what it is for, and there
    uint32_t mended                  # answer: blocks of the source that had a flipped bit
    uint32_t end                     # of the plain segment's records
    uint32_t bytes_max               # a packed file, or a summary, of more is not worth it
    uint32_t seed                    # of the records
    uint64_t generation
    Packed* packed                   # of the packed file: filled, or read; NULL: there is none
    char* summary                    # answer: to be written to the file's end; whoever forgets the order frees it
    uint32_t summary_bytes
