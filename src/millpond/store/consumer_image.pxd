# What a consumer's state was, for whoever may have to take a change back.
from millpond.store.consumer_state cimport ConsumerState

cpdef bytes image_of(ConsumerState state)
# It is as it was, in the journal too.
cpdef int take_back(ConsumerState state, bytes image) except -1
