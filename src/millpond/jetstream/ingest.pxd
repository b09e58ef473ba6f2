# The judgement on one publish: accepted, a duplicate, or refused and why.
from libc.stdint cimport int64_t, uint64_t
from millpond.jetstream.counters cimport Total
from millpond.jetstream.dedupe cimport Dedupe
from millpond.jetstream.schedules_rules cimport ScheduleRules
from millpond.store.api cimport Store
from millpond.wire.message cimport Msg

cdef enum Rollup:
    ROLLUP_NONE = 0
    ROLLUP_SUBJECT = 1
    ROLLUP_ALL = 2

cdef class Ingest:
    cdef object config
    cdef bytes name
    cdef bint sealed, no_ack, discard_new, new_per_subject, may_roll_up
    cdef bint counts                                 # allow_msg_counter
    cdef bint may_end                                # allow_msg_ttl
    cdef int64_t msg_size_max, messages_max, bytes_max, per_subject_max
    cdef int64_t ttl_min_s                           # messages that end sooner could end before their marker
    # Outcome of the last judge() that did not refuse.
    cdef uint64_t duplicate_of                       # 0 = accepted
    cdef bytes msg_id                                # b"" = none
    cdef Rollup rollup
    cdef int64_t ttl_s                               # 0 = none, -1 = never
    cdef Msg msg                                     # what is to be stored: the publish, perhaps rewritten
    cdef bytes ends                                  # the schedule that goes when this is stored; b"" = none
    cdef ScheduleRules schedules
    cdef Total total                                 # of the counter; None: not a counter's
    cdef object increment
    cdef bytes _hdr, _body                           # keep what `msg` views
    # None: accepted, or a duplicate. WAIT: ask again when the store is warm. Else the ApiError that is the answer.
    cdef object judge(self, const Msg* msg, Store store, Dedupe dedupe, int64_t now_ns)
    # The same for a message that another stream accepted before (`mirrored`: with its sequence), which is believed.
    cdef object judge_sourced(self, const Msg* msg, Store store, Dedupe dedupe, int64_t now_ns, bint mirrored)
    # What is left to check of a message that judge() accepted, when `msg` is to be stored: that may be rewritten once more.
    cdef object admit(self, Store store)
    # The outcome for a message that was judged elsewhere: its headers are believed. What is to be stored is `msg`.
    cdef int take_as_it_is(self, const Msg* msg) except -1
    cdef int _begin(self, const Msg* msg) except -1
    cdef int _raise_ttl(self) except -1
    # None: its size is allowed. Else the ApiError that is the answer.
    cdef object check_size(self, const Msg* msg)
    # None: what it expects of the message before it is so. Else the ApiError that is the answer.
    cdef object check_last_msg_id(self, const Msg* msg, Dedupe dedupe)
    cdef object _judge_schedule(self, const Msg* msg, Store store, int64_t now_ns)
    cdef object _judge_headers(self, const Msg* msg, Store store, Dedupe dedupe, int64_t now_ns)
    cdef object _count(self, const Msg* msg, Store store)
    cdef object _sourced_headers(self, const Msg* msg, Dedupe dedupe, int64_t now_ns, bint mirrored)
    cdef object _roll_up(self, const Msg* msg, bint sourced)
    cdef object _features(self, const Msg* msg)
    cdef object _expectations(self, const Msg* msg, Store store)
    cdef object _room(self, const Msg* msg, Store store)

cdef uint64_t sequence(bytes text) noexcept          # of a header; no number: the highest, which no stream reaches
cdef uint64_t last_of(Store store, bytes subject)    # last sequence under a subject with or without wildcards; 0 = none
