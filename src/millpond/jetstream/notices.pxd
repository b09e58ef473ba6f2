# What a consumer says itself: status lines, heartbeats, flow control, advisories. Not messages of the stream.
from libc.stdint cimport int64_t, uint64_t
from millpond.broker.router cimport Router
from millpond.broker.sink cimport Sink
from millpond.subjects.sublist cimport Match

cdef enum Audience:          # who listens on a subject
    NOBODY = 0
    CLIENTS = 1              # sessions only: they copy what they get and do nothing at once
    OTHERS = 2               # streams, the API, callbacks: they may change anything before they return

cdef Audience audience_of(Match match) except *

cdef class Notices:
    cdef Router router
    cdef Sink source
    cdef object _advisories
    cdef str _stream, _consumer
    cdef int send(self, bytes subject, bytes reply, bytes hdr) except -1
    cdef int status(self, bytes reply, str line) except -1
    # A status that also tells what the request was still waiting for.
    cdef int ended(self, bytes reply, str line, int64_t messages_left, int64_t bytes_left) except -1
    # `stalled`: the unanswered flow-control reply subject, None = not stalled.
    cdef int heartbeat(self, bytes subject, uint64_t consumer_seq, uint64_t stream_seq, bytes stalled) except -1
    cdef Audience audience(self, bytes subject) except *
    # Does anybody want to hear of `event` ("CONSUMER.MSG_NAKED")?
    cdef bint heard(self, str event) except -1
    # One advisory, when somebody listens: `fields` follow the names of stream and consumer.
    cdef int advise(self, str event, str kind, dict fields) except -1
    # The same for the kinds that begin with the account.
    cdef int advise_account(self, str event, str kind, dict fields) except -1
    # One sample of an acknowledgement; ask `heard(ACK_METRIC)` first.
    cdef int sample(self, dict fields) except -1
