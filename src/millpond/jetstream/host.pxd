# What a stream's parts ask of it: its batches, its store, its timer. Declared below the stream, so
# that they do not import it.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.broker.timers cimport Timer
from millpond.jetstream.pump cimport Settler
from millpond.store.api cimport StoreOwner
from millpond.wire.message cimport Msg

cdef class Host(Settler):
    # Stores a message that was judged elsewhere, and acknowledges it when it is committed; `tail` is what the
    # acknowledgement says behind the sequence. Returns the stream sequence, 0 when the store failed.
    cdef uint64_t accept(self, const Msg* msg, bytes tail) except? 0
    # Stores a message of the stream's own making, which is believed. 0: it was not taken.
    cdef uint64_t produce(self, const Msg* msg) except? 0
    # The schedule on this subject has fired or was ended: what is there goes.
    cdef int end_schedule(self, bytes subject) except -1
    # The error is the answer to this publish, in its place among the answers.
    cdef int refuse(self, const Msg* msg, object error) except -1
    # The acknowledgement of what was stored before, in its place among the answers.
    cdef int acknowledge(self, const char* reply, uint32_t reply_len, uint64_t stream_seq, bint duplicate,
                         bytes tail) except -1
    # An answer beside acknowledgements, when everything stored until now is committed.
    cdef int answer(self, const char* reply, uint32_t reply_len, bytes body) except -1
    # Tells the account what became of a batch.
    cdef int batch_abandoned(self, bytes batch_id, str reason) except -1
    # What the store reports (store/api.pxd).
    cdef int store_removed(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except -1
    cdef bint store_expiring(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except *
    cdef int store_committed(self) except -1
    cdef int store_warm(self) except -1
    cdef int store_failed(self, str reason) except -1
    # The next message has reached its end.
    cdef int expire(self) except -1
    # The next step of a purge under way. 1: there is more.
    cdef int purge_on(self) except -1

cdef class Owner(StoreOwner):
    cdef Host host

cdef class ExpiryTimer(Timer):
    cdef Host host
