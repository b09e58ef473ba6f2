"""One API request on its way through a handler, and the shapes of the bodies that requests carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from millpond.base.errors import ApiError
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_json import ListOf, Shape, decode, is_object_or_array

RESPONSE: Final = "io.nats.jetstream.api.v1."


class Answer(Protocol):
    """Takes the finished reply. `failed`: counted among the errors; `tracked`: counted and audited at all."""

    def __call__(
        self, reply: dict[str, Any], *, failed: bool = False, tracked: bool = True, headers: bytes = b""
    ) -> None: ...


class Request(msgspec.Struct, kw_only=True):
    """`args` are the subject's tokens after the verb; `answer` is called exactly once."""

    subject: str
    args: list[str]
    body: bytes
    kind: str
    """The response type without its prefix: `stream_info_response`."""
    zeros: dict[str, Any]
    """The response's fields without `omitempty`: an error reply carries them with zero values."""
    answer: Answer
    headers: bytes = b""
    """The request's header block."""
    client: dict[str, Any] = {}
    """Who asked, as advisories tell of it."""
    reply_headers: bytes = b""
    """The header block that a success is answered with."""

    @property
    def size(self) -> int:
        """Bytes of what was sent."""
        return len(self.body) + len(self.headers)

    def ok(self, **fields: Any) -> None:
        """Answer with success."""
        self.answer({"type": RESPONSE + self.kind, **fields}, headers=self.reply_headers)

    def ok_untracked(self, **fields: Any) -> None:
        """Answer with success; nobody else is told, as for reading messages."""
        self.answer({"type": RESPONSE + self.kind, **fields}, tracked=False, headers=self.reply_headers)

    def when_kept(self, refusal: str, **fields: Any) -> Callable[[str], None]:
        """Answers with success when it is called with "", else with the error of that name and the failure."""

        def kept(failure: str) -> None:
            if failure:
                self.fail(api_error(refusal, err=failure))
            else:
                self.ok(**fields)

        return kept

    def fail(self, error: ApiError, failed: bool = True) -> None:
        """Answer with an error object. `failed` False: the request itself was in order."""
        self.answer(error_body(self.kind, error, self.zeros), failed=failed)


def optional_body(request: Request, shape: Shape, strict: bool) -> dict[str, Any]:
    """The body where one may come; what does not look like a JSON object or array is no body."""
    return decode(request.body, shape, strict) if is_object_or_array(request.body) else {}


def error_body(kind: str, error: ApiError, zeros: dict[str, Any]) -> dict[str, Any]:
    detail = {"code": error.code, "err_code": error.err_code, "description": error.description}
    return {"type": RESPONSE + kind, "error": detail, **zeros}


STREAM_NAMES: Final = Shape("JSApiStreamNamesRequest", {"offset": "int", "subject": "string"})
STREAM_LIST: Final = Shape("JSApiStreamListRequest", {"offset": "int", "subject": "string"})
CONSUMERS: Final = Shape("JSApiConsumersRequest", {"offset": "int"})
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
