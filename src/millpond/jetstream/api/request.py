"""One API request on its way through a handler, and the shapes of the bodies that requests carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from millpond.base.errors import ApiError
from millpond.jetstream.go_json import ListOf, Shape, encode

RESPONSE: Final = "io.nats.jetstream.api.v1."


class Request(msgspec.Struct, kw_only=True):
    """`args` are the subject's tokens after the verb; `answer` takes the finished reply exactly once."""

    subject: str
    args: list[str]
    body: bytes
    kind: str
    """The response type without its prefix: `stream_info_response`."""
    zeros: dict[str, Any]
    """The response's fields without `omitempty`: an error reply carries them with zero values."""
    answer: Callable[[dict[str, Any]], None]

    def ok(self, **fields: Any) -> None:
        """Answer with success."""
        self.answer({"type": RESPONSE + self.kind, **fields})

    def fail(self, error: ApiError) -> None:
        """Answer with an error object."""
        self.answer(error_body(self.kind, error, self.zeros))


def error_body(kind: str, error: ApiError, zeros: dict[str, Any]) -> dict[str, Any]:
    detail = {"code": error.code, "err_code": error.err_code, "description": error.description}
    return {"type": RESPONSE + kind, "error": detail, **zeros}


def encode_reply(reply: dict[str, Any]) -> bytes:
    return encode(reply)


PAGED: Final = Shape("JSApiStreamNamesRequest", {"offset": "int", "subject": "string"})
STREAM_INFO: Final = Shape(
    "JSApiStreamInfoRequest", {"offset": "int", "deleted_details": "bool", "subjects_filter": "string"}
)
STREAM_PURGE: Final = Shape("JSApiStreamPurgeRequest", {"seq": "uint64", "filter": "string", "keep": "uint64"})
MSG_DELETE: Final = Shape("JSApiMsgDeleteRequest", {"seq": "uint64", "no_erase": "bool"})
MSG_GET: Final = Shape(
    "JSApiMsgGetRequest",
    {
        "seq": "uint64",
        "last_by_subj": "string",
        "next_by_subj": "string",
        "batch": "int",
        "max_bytes": "int",
        "start_time": "time.Time",
        "multi_last": ListOf("string"),
        "up_to_seq": "uint64",
        "up_to_time": "time.Time",
        "no_hdr": "bool",
    },
)
