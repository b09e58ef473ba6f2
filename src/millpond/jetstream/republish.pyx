"""What a stream republishes, as nats-server writes it: the message's own headers, then where it was stored."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint64_t

from millpond.wire.message cimport Msg

from millpond.jetstream.go_json import format_time
from millpond.subjects import pytokens
from millpond.subjects.transform import Transform


cdef class Republisher:
    """Of one stream under one configuration."""

    def __init__(self, config):
        self._transform = Transform(config.republish.src, config.republish.dest)
        self._headers_only = config.republish.headers_only
        self._stream = config.name.encode()

    cdef tuple copy(self, const Msg* msg, uint64_t stream_seq, int64_t ts_ns, uint64_t last_seq):
        cdef bytes subject = PyBytes_FromStringAndSize(msg.subject, msg.subject_len)
        cdef bytes block = PyBytes_FromStringAndSize(msg.hdr, msg.hdr_len)
        cdef bytes body = b"" if self._headers_only else PyBytes_FromStringAndSize(msg.body, msg.body_len)
        dest = self._transform.match(subject)
        if dest is None or not pytokens.is_valid_subject(dest):
            return None
        lines = (
            f"Nats-Sequence: {stream_seq}\r\nNats-Time-Stamp: {format_time(ts_ns)}\r\nNats-Last-Sequence: {last_seq}\r\n"
            + (f"Nats-Msg-Size: {msg.body_len}\r\n" if self._headers_only else "")
        )
        block = block[: len(block) - 2] if block else b"NATS/1.0\r\n"
        block += b"Nats-Stream: %b\r\nNats-Subject: %b\r\n%b\r\n" % (self._stream, subject, lines.encode())
        return dest, block, body
