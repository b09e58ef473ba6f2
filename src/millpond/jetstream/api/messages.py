"""`$JS.API.STREAM.MSG.*`: one stored message by sequence or subject, and its deletion (reference 03.4, 03.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from millpond.base.errors import StoreError
from millpond.jetstream.api.request import MSG_DELETE, MSG_GET, Request
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_json import decode, is_empty_request
from millpond.jetstream.go_text import text
from millpond.jetstream.go_time import format_time, int64_ns
from millpond.jetstream.stream import Cold

if TYPE_CHECKING:
    from millpond.jetstream.engine import Engine
    from millpond.jetstream.stream import Stream


class MessageApi:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, request: Request) -> None:
        if is_empty_request(request.body):
            raise api_error("JSBadRequestErr")
        body = decode(request.body, MSG_GET, self._engine.strict)
        if body.get("batch", 0) > 0 or body.get("max_bytes", 0) > 0:
            raise api_error("JSBadRequestErr")
        seq, last, timed = body.get("seq"), body.get("last_by_subj"), "start_time" in body
        following = body.get("next_by_subj")
        if not (seq or last or following or timed) or (seq and timed) or (last and (seq or timed or following)):
            raise api_error("JSBadRequestErr")
        self._fetch(request, self._engine.stream(request.args[0]), body)

    def _fetch(self, request: Request, stream: Stream, body: dict[str, Any]) -> None:
        stream_seq = body.get("seq", 0)
        if "start_time" in body:
            stream_seq = stream.seq_at_time(int64_ns(body["start_time"]))
        last, following = body.get("last_by_subj", "").encode(), body.get("next_by_subj", "").encode()
        if not (last or following):
            return self._show(request, stream, body, stream_seq)
        search = stream.search(stream_seq, last, following)

        def step() -> bool:
            if search.step():
                return True
            self._show(request, stream, body, search.found)
            return False

        if not search.is_short or step():
            self._engine.requests.add(step, request.size)

    def _show(
        self, request: Request, stream: Stream, body: dict[str, Any], stream_seq: int, waited: bool = False
    ) -> None:
        try:
            found = stream.get_message(stream_seq)
        except Cold:
            stream.on_warm(lambda: self._show(request, stream, body, stream_seq, True))
            return
        if found is None and waited:               # it left meanwhile: another one may be what was asked for
            return self._fetch(request, stream, body)
        if found is None:
            request.fail(api_error("JSNoMessageFoundErr"))
            return
        from binascii import b2a_base64

        message: dict[str, Any] = {"subject": text(found["subject"]), "seq": found["seq"]}
        if found["hdr"] and not body.get("no_hdr"):
            message["hdrs"] = b2a_base64(found["hdr"], newline=False).decode()
        if found["body"]:
            message["data"] = b2a_base64(found["body"], newline=False).decode()
        message["time"] = format_time(found["ts_ns"])
        request.ok_untracked(message=message)

    def delete(self, request: Request) -> None:
        if is_empty_request(request.body):
            raise api_error("JSBadRequestErr")
        body = decode(request.body, MSG_DELETE, self._engine.strict)
        stream = self._engine.open_stream(request.args[0], "JSStreamMsgDeleteFailedF")
        if stream.config.sealed:
            raise api_error("JSStreamSealedErr")
        if stream.config.deny_delete:
            raise api_error("JSStreamMsgDeleteFailedF", err="message delete not permitted")
        stream_seq, secure = body.get("seq", 0), not body.get("no_erase", False)
        stream.after_removals(lambda: self._remove(request, stream, stream_seq, secure))

    def _remove(self, request: Request, stream: Stream, stream_seq: int, secure: bool) -> None:
        try:
            found = stream.delete_message(stream_seq, secure)
        except (OSError, StoreError) as error:
            request.fail(api_error("JSStreamMsgDeleteFailedF", err=str(error)), failed=False)
            return
        if found:
            stream.after_commit(request.when_kept("JSStreamMsgDeleteFailedF", success=True))
            return
        # The file store of nats-server knows which sequences it cannot have.
        state = stream.state()
        if stream.config.storage == "file" and not state["first_seq"] <= stream_seq <= state["last_seq"]:
            why = "no message found" if stream_seq < state["first_seq"] else "stream store EOF"
            request.fail(api_error("JSStreamMsgDeleteFailedF", err=why), failed=False)
        else:
            request.fail(api_error("JSSequenceNotFoundErrF", seq=stream_seq), failed=False)
