# The judgement on messages of a batch, against what the batch would leave behind.
from libc.stdint cimport int64_t, uint64_t
from millpond.jetstream.counters cimport Total
from millpond.jetstream.dedupe cimport Dedupe
from millpond.jetstream.host cimport Host
from millpond.jetstream.ingest cimport Ingest
from millpond.store.api cimport Store
from millpond.wire.message cimport Msg

# What keeps a message from a batch of either kind, whatever the batch: the ApiError, or None.
cdef object misfit(Host host, const Msg* msg, Ingest rules)

cdef class Staged:
    """What a batch has written to one subject."""
    cdef uint64_t messages
    cdef bint schedule                       # its last message is one
    cdef Total total                         # None: not a counter's

cdef class Staging:
    cdef Ingest _rules
    cdef Store _store
    cdef Dedupe _dedupe
    cdef dict _subjects                      # {subject: Staged}
    cdef dict _expected                      # {subject: last sequence in the store}
    cdef set _msg_ids
    cdef uint64_t _messages
    cdef uint64_t bytes                      # of all messages so far, as the store counts them
    # Outcome of the last check() that did not refuse.
    cdef Msg msg                             # what is to be stored
    cdef uint64_t duplicate_of               # the refusal was a duplicate of this one
    cdef bytes _hdr, _body                   # keep what `msg` views
    # May this be the batch's next message? None; the ApiError that is the answer; WAIT.
    cdef object check(self, const Msg* msg, int64_t now_ns)
    cdef object _check_headers(self, const Msg* msg, int64_t now_ns)
    cdef object _count(self, const Msg* msg, bytes subject, object increment)
    cdef object _check_expectations(self, const Msg* msg)
    cdef object _check_schedule(self, const Msg* msg, int64_t now_ns)
    cdef object _check_rollup(self, const Msg* msg, bytes subject)
    cdef object _check_room(self, const Msg* msg, Staged staged)
