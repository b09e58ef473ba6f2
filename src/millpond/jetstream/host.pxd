# What a stream's parts ask of it: its batches, its store, its timer. Declared below the stream, so
# that they do not import it.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.broker.timers cimport Timer
from millpond.broker.turn cimport Phase
from millpond.jetstream.pump cimport Settler
from millpond.store.api cimport Filters, StoreOwner
from millpond.wire.message cimport Msg

cdef enum Produced:
    REFUSED = 0                      # and will be
    STORED = 1
    LATER = 2                        # there is no room, or too much is under way: try again

cdef class Host(Settler):
    cdef readonly str failure                # "" = it takes publishes
    cdef object traced                       # StreamEvent of the message that is being judged; None: nobody is told
    cdef bint purging                        # what consumers hear of removed messages is due to a purge
    # Stores a message that was judged elsewhere, and acknowledges it when it is committed; `tail` is what the
    # acknowledgement says behind the sequence. Returns the stream sequence, 0 when the store failed.
    cdef uint64_t accept(self, const Msg* msg, bytes tail) except? 0
    # Stores a message of the stream's own making, which is believed.
    cdef Produced produce(self, const Msg* msg) except *
    # The error for a message of which the server or the account has no room, behind `before` bytes that come with it
    # (as the store counts them); None: it fits.
    cdef object no_room(self, const Msg* msg, int64_t before)
    # The schedule on this subject has fired or was ended: what is there goes.
    cdef int end_schedule(self, bytes subject) except -1
    # The error is the answer to this publish, in its place among the answers.
    cdef int refuse(self, const Msg* msg, object error) except -1
    # The same for the trace of a message that has one, which gets no answer here.
    cdef int tell_trace(self, const Msg* msg, object error) except -1
    # The acknowledgement of what was stored before, in its place among the answers.
    cdef int acknowledge(self, const char* reply, uint32_t reply_len, uint64_t stream_seq, bint duplicate,
                         bytes tail) except -1
    # An answer beside acknowledgements, when everything stored until now is committed.
    cdef int answer(self, const char* reply, uint32_t reply_len, bytes body) except -1
    # Tells the account what became of a batch.
    cdef int batch_abandoned(self, bytes batch_id, str reason) except -1
    # Answers are owed for what is committed next.
    cdef int answer_later(self) except -1
    # Those who wait have their turn: go_on() is called in the pump phase. 1: there are more.
    cdef int go_on_later(self) except -1
    cdef int go_on(self) except -1
    # A purge under these filters is over; the first message left under them (not for all), 0: none.
    cdef int purged(self, Filters filters, uint64_t first_left) except -1
    # What the store reports (store/api.pxd).
    cdef int store_removed(self, uint64_t stream_seq, const char* subject, uint32_t subject_len,
                           uint64_t size) except -1
    cdef bint store_expiring(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except *
    cdef int store_committed(self) except -1
    cdef int store_warm(self) except -1
    cdef int store_failed(self, str reason) except -1
    cdef int store_damaged(self, uint64_t stream_seq, str reason) except -1
    # The next message has reached its end.
    cdef int expire(self) except -1

cdef class Owner(StoreOwner):
    cdef Host host

cdef class ExpiryTimer(Timer):
    cdef Host host

cdef class GoingOn(Phase):                   # the pump's handle on who waits
    cdef Host host
