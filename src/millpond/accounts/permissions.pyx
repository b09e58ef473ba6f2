"""Permissions on subjects (reference 02.2), compiled into tries.

A publish is looked up in a small table of the last verdicts, then in the tries; neither makes an object. The
table belongs to the user: its connections publish on the same subjects. It is direct-mapped, of fixed size, and
compares whole subjects, so a subject that falls on another one's place costs a look into the tries and no more.
"""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.ref cimport Py_INCREF, PyObject
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from millpond.structures.hashing cimport hash_text, same_text
from millpond.subjects cimport tokens, trie
from millpond.subjects.trie cimport Node, Walk

cdef enum:
    VERDICTS = 64

cdef uint64_t KEY = int.from_bytes(os.urandom(8), "little")


cdef bint _falls_under(bytes queue, bytes wanted) noexcept:
    """Is `queue` this queue, or one that the pattern describes?"""
    return queue == wanted or (
        tokens.has_wildcard(PyBytes_AS_STRING(wanted), <uint32_t>PyBytes_GET_SIZE(wanted))
        and tokens.is_subset(PyBytes_AS_STRING(queue), <uint32_t>PyBytes_GET_SIZE(queue),
                             PyBytes_AS_STRING(wanted), <uint32_t>PyBytes_GET_SIZE(wanted)))


cdef bint _any_falls_under(bytes queue, list wanted) except -1:
    cdef bytes one
    for one in wanted:
        if one and _falls_under(queue, one):
            return True
    return False


cdef class Filters:
    """`rows`: texts of the form `subject` or `subject queue`, checked before."""

    def __cinit__(self):
        self._root = trie.new_node()

    def __init__(self, rows):
        cdef Node* node
        cdef bytes subject, queue
        for row in rows:
            words = row.split(" ")       # no other kind of space: those belong to the subject
            subject, queue = words[0].encode(), words[1].encode() if len(words) > 1 else b""
            node = trie.grow(self._root, PyBytes_AS_STRING(subject), <uint32_t>PyBytes_GET_SIZE(subject))
            if node.interests == NULL:
                queues = []
                Py_INCREF(queues)
                node.interests = <PyObject*>queues
            (<list>node.interests).append(queue)

    def __dealloc__(self):
        trie.free_tree(self._root)

    cdef bint covers(self, const char* subject, uint32_t subject_len) except -1:
        return self.covers_queue(subject, subject_len, None)

    cdef bint covers_queue(self, const char* subject, uint32_t subject_len, bytes queue) except -1:
        cdef Walk walk
        cdef Node* node
        cdef list queues
        cdef Py_ssize_t i
        cdef bytes wanted
        if tokens.has_empty_token(subject, subject_len):
            return False
        trie.begin(&walk, self._root, subject, subject_len)
        try:
            while True:
                node = trie.advance(&walk)
                if node == NULL:
                    return False
                queues = <list>node.interests
                for i in range(PyList_GET_SIZE(queues)):
                    wanted = <bytes>PyList_GET_ITEM(queues, i)
                    if not wanted or (queue and _falls_under(queue, wanted)):
                        return True
        finally:
            trie.finish(&walk)

    def queues(self, bytes subject):
        """The queues of all filters that match the subject, b"" for those without one."""
        cdef Walk walk
        cdef Node* node
        found = []
        trie.begin(&walk, self._root, PyBytes_AS_STRING(subject), <uint32_t>PyBytes_GET_SIZE(subject))
        try:
            while True:
                node = trie.advance(&walk)
                if node == NULL:
                    return found
                found.extend(<list>node.interests)
        finally:
            trie.finish(&walk)

    def has_overlap(self, bytes subject):
        """Does one of the filters share a subject with this one?"""
        return bool(trie.overlaps(self._root, PyBytes_AS_STRING(subject), <uint32_t>PyBytes_GET_SIZE(subject)))


cdef bint _is_open(str subject) except -1:
    return subject == ">" or subject.endswith(".>")


cdef Filters _filters(rows):
    return Filters(rows) if rows else None


cdef class CompiledPermissions:
    """From config.security.Permissions."""

    def __init__(self, permissions):
        publish, subscribe, responses = permissions.publish, permissions.subscribe, permissions.responses
        if publish is not None:
            self._publish_allow = Filters(publish.allow) if publish.allow is not None else None
            self._publish_deny = _filters(publish.deny)
        if subscribe is not None:
            self._subscribe_allow = _filters(subscribe.allow)
            self._subscribe_open = Filters([row for row in subscribe.allow or () if _is_open(row.partition(" ")[0])])
            self._subscribe_deny = _filters(subscribe.deny)
        self.checks_publish = self._publish_allow is not None or self._publish_deny is not None
        if responses is not None:
            self.grants_replies = True
            self.replies_max, self.replies_expire_ns = responses.max_msgs, responses.expires_ns

    def __dealloc__(self):
        free(self._verdicts)

    cdef bint may_publish(self, const char* subject, uint32_t subject_len) except -1:
        cdef uint32_t h
        cdef Verdict* slot
        if not self.checks_publish:
            return True
        if subject_len > VERDICT_SUBJECT_MAX or subject_len == 0:
            return self._judge(subject, subject_len)
        if self._verdicts == NULL:
            self._verdicts = <Verdict*>calloc(VERDICTS, sizeof(Verdict))
            if self._verdicts == NULL:
                raise MemoryError("no memory for verdicts on subjects")
        h = hash_text(subject, subject_len, KEY)
        slot = &self._verdicts[h & (VERDICTS - 1)]
        if slot.hash == h and slot.subject_len == subject_len and same_text(slot.subject, subject, subject_len):
            return slot.allowed
        slot.subject_len = 0
        slot.allowed = self._judge(subject, subject_len)
        slot.hash, slot.subject_len = h, subject_len
        memcpy(slot.subject, subject, subject_len)
        return slot.allowed

    cdef bint _judge(self, const char* subject, uint32_t subject_len) except -1:
        if self._publish_allow is not None and not self._publish_allow.covers(subject, subject_len):
            return False
        return self._publish_deny is None or not self._publish_deny.covers(subject, subject_len)

    cdef bint may_receive(self, const char* subject, uint32_t subject_len, bytes queue) except -1:
        return self._subscribe_deny is None or not self._subscribe_deny.covers_queue(subject, subject_len, queue)

    cpdef bint may_subscribe(self, bytes subject, bytes queue) except -1:
        """A filter with queues allows, or denies, just these queues; beside a plain one they are what counts."""
        if self._subscribe_allow is not None:
            # All that `a.>` could bring is allowed by `a.>`, not by `a.*`: that the last token fits is not enough.
            allow = self._subscribe_open if _is_open(subject.decode("utf-8", "replace")) else self._subscribe_allow
            found = allow.queues(subject)
            if queue and any(found):
                if not _any_falls_under(queue, found):
                    return False
            elif b"" not in found:
                return False
        if self._subscribe_deny is not None:
            found = self._subscribe_deny.queues(subject)
            if b"" in found or (queue and _any_falls_under(queue, found)):
                return False
        return True

    cpdef bint needs_filter(self, bytes subject, bytes queue) except -1:
        if self._subscribe_deny is None:
            return False
        if not queue and not tokens.has_wildcard(PyBytes_AS_STRING(subject), <uint32_t>PyBytes_GET_SIZE(subject)):
            return False
        return self._subscribe_deny.has_overlap(subject)

    def allows_publish(self, bytes subject):
        """May this be published to? For tests and the control plane."""
        return bool(self.may_publish(PyBytes_AS_STRING(subject), <uint32_t>PyBytes_GET_SIZE(subject)))
