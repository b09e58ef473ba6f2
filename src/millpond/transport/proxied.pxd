# The step before a session that may come through a load balancer.
from millpond.broker.session cimport Session
from millpond.transport.tcp cimport TcpConnection

cdef int introduce(TcpConnection connection, object preamble) except -2
cdef int refuse(Session session, str why) except -1
