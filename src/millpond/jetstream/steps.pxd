# Long work of the control plane, a step in each turn.
from millpond.broker.turn cimport Phase, Turn
from millpond.jetstream.pump cimport Pump

cdef class Steps(Phase):
    cdef object _step
    cdef Pump _pump
    cdef Turn _turn
    cdef bint _stopped
