# What one user may publish, subscribe to and receive: compiled once, shared by all connections of that user.
from libc.stdint cimport int64_t, uint32_t
from millpond.subjects.trie cimport Node

cdef enum:
    VERDICT_SUBJECT_MAX = 96

cdef struct Verdict:
    uint32_t hash
    uint32_t subject_len             # 0 = free
    bint allowed
    char[VERDICT_SUBJECT_MAX] subject

cdef class Filters:
    # A set of filters, some of them for one queue group (or several, with wildcards).
    cdef Node* _root
    # Does a filter without a queue match this literal subject?
    cdef bint covers(self, const char* subject, uint32_t subject_len) except -1
    # The same, or one with a queue that `queue` (b"" = none) falls under?
    cdef bint covers_queue(self, const char* subject, uint32_t subject_len, bytes queue) except -1

cdef class CompiledPermissions:
    cdef Filters _publish_allow, _publish_deny, _subscribe_allow, _subscribe_deny
    cdef Filters _subscribe_open             # of those that allow, the ones that end in `>`
    cdef Verdict* _verdicts                  # NULL until something was published
    cdef readonly bint checks_publish        # there are rules for it
    cdef readonly bint grants_replies        # a received reply subject may be published to
    cdef readonly int64_t replies_max        # times, below 0 = any number
    cdef readonly int64_t replies_expire_ns  # below 0 = never
    cdef bint may_publish(self, const char* subject, uint32_t subject_len) except -1
    cdef bint may_receive(self, const char* subject, uint32_t subject_len, bytes queue) except -1
    cpdef bint may_subscribe(self, bytes subject, bytes queue) except -1
    # Could this subscription, which is allowed, bring messages that are denied?
    cpdef bint needs_filter(self, bytes subject, bytes queue) except -1
    cdef bint _judge(self, const char* subject, uint32_t subject_len) except -1
