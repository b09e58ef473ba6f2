"""The image of a consumer's state: what a checkpoint has of it.

A message that waited to be redelivered is due at once when the image is taken back.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from millpond.store.consumer_ops cimport OpChange, OpLog
from millpond.store.consumer_state cimport ConsumerState


cpdef bytes image_of(ConsumerState state):
    cdef OpLog journal = state.log, image = OpLog(None, None)
    state.log = image
    try:
        state.put_checkpoint()
        return PyBytes_FromStringAndSize(image.buffer, image.used)
    finally:
        state.log = journal


cpdef int take_back(ConsumerState state, bytes image) except -1:
    cdef const char* at = PyBytes_AS_STRING(image)
    cdef size_t size = PyBytes_GET_SIZE(image)
    cdef OpChange began = (<OpChange*>at)[0]
    assert not state.replaying
    state.replaying = True
    try:
        state.apply(began.kind, began.stream_seq, began.consumer_seq, began.ts_ns)
        state.take_checkpoint(at + sizeof(OpChange), size - sizeof(OpChange))
    finally:
        state.replaying = False
    if state.log is not None and not state.log.closed:
        state.put_checkpoint()
        state.log.owe()
    return 0
