# Subscriptions of sessions that have ended, taken out of the trie a few in each turn.
from millpond.broker.turn cimport Phase, Turn
from millpond.broker.router cimport Router

cdef class Leavers(Phase):
    cdef Turn _turn
    cdef list _waiting               # [(Router, {sid: Subscription})], all closed
    cdef int add(self, Router router, dict subs) except -1
