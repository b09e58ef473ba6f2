# Subscriptions of sessions that have ended, taken out of the trie a few in each turn.
from millpond.broker.turn cimport Phase, Turn
from millpond.subjects.sublist cimport Sublist

cdef class Leavers(Phase):
    cdef Sublist _sublist
    cdef Turn _turn
    cdef list _waiting               # [{sid: Subscription}], all closed
    cdef int add(self, dict subs) except -1
