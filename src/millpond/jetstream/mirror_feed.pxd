# What a mirror takes in: the origin's messages, with its sequences and times.
from millpond.jetstream.source_feed cimport Feed

cdef class MirrorFeed(Feed):
    cdef readonly str gets_of                # will answer direct gets of this stream once it has caught up; "" = of none
    cdef str _shares                         # does so already
    cdef int _share_gets(self) except -1
