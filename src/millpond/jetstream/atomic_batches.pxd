# Atomic batches (ADR-50): messages that are stored together, or not at all.
from libc.stdint cimport int64_t, uint64_t
from millpond.broker.timers cimport Timer, Timers
from millpond.base.clock cimport Clock
from millpond.jetstream.batch_totals cimport BatchTotals
from millpond.jetstream.dedupe cimport Dedupe
from millpond.jetstream.host cimport Host
from millpond.jetstream.ingest cimport Ingest
from millpond.store.api cimport Store
from millpond.wire.message cimport Msg

cdef class AtomicBatch:
    cdef list messages               # [(subject, header block, body)]
    cdef int64_t bytes, active_ns    # active_ns: monotonic

cdef class Part:
    """What a message says of its place in a batch."""
    cdef bytes batch_id, hdr         # hdr: without what is not stored
    cdef uint64_t number             # from 1
    cdef bint commits, ends, invalid # ends: commits and is not stored itself

cdef class AtomicBatches(Timer):
    cdef dict _batches               # {batch id: AtomicBatch}, least recently active first
    cdef Host _host
    cdef Store _store
    cdef Dedupe _dedupe
    cdef Clock _clock
    cdef Timers _timers
    cdef BatchTotals _totals
    # A publish with a batch id; the subject is the one it is stored under. 1: it must wait for a cold read.
    cdef int take(self, const Msg* msg, Ingest rules) except -1
    # What keeps such a publish out of its batch, or a batch from beginning; None: nothing that can be told without
    # trying. Changes nothing.
    cdef object first_refusal(self, const Msg* msg, Ingest rules)
    cdef int drop_all(self) except -1
    cdef object _misfit(self, const Msg* msg, Part part, Ingest rules)
    cdef object _refusal(self, const Msg* msg, Part part, Ingest rules)
    cdef object _refuse_to_begin(self, Part part)
    cdef int _keep(self, const Msg* msg, Part part) except -1
    cdef int _end(self, bytes batch_id) except -1
    cdef int _commit(self, const Msg* msg, Part part, Ingest rules) except -1
    cdef int _store_all(self, const Msg* msg, Part part, list judged, Ingest rules) except -1
    cdef object _judged(self, list messages, Ingest rules)
    cdef int _arm(self) except -1
