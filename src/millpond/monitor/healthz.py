"""/healthz: may this server be sent traffic? (reference 07.1; draft-inadarei-api-health-check)

Without JetStream, or asked for the server only, it is healthy when it accepts connections. Otherwise every
stream must have been recovered and must be able to write, and the disk must have room; a named stream or consumer must
be there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import msgspec

from millpond.jetstream.account_streams import AccountStreams
from millpond.monitor.view import JetStreamView, View

log = logging.getLogger("millpond")

OK, BAD_REQUEST, NOT_FOUND, INTERNAL, UNAVAILABLE = 200, 400, 404, 500, 503


class HealthzOptions(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """Names as in requests over NATS."""

    js_enabled: bool = False
    js_enabled_only: bool = False
    js_server_only: bool = False
    js_meta_only: bool = False
    account: str = ""
    stream: str = ""
    consumer: str = ""
    details: bool = False


class Trouble(msgspec.Struct, frozen=True):
    """One thing that is wrong: its place in the answer's `errors`, the answer's status, its one-line form."""

    kind: str
    error: str
    code: int = UNAVAILABLE
    status: str = "unavailable"
    account: str = ""
    stream: str = ""
    consumer: str = ""


def healthz(view: View, options: HealthzOptions) -> tuple[int, dict[str, Any]]:
    """(HTTP status, page). What is wrong goes to the log too."""
    found = _troubles(view, options)
    if not options.details:
        trouble = next(found, None)
        if trouble is None:
            return OK, {"status": "ok"}
        log.warning('Healthcheck failed: "%s"', trouble.error.replace('"', '\\"'))
        return trouble.code, {"status": trouble.status, "error": trouble.error}
    troubles = list(found)
    if not troubles:
        return OK, {"status": "ok"}
    log.warning("Healthcheck failed: %d errors", len(troubles))
    return troubles[-1].code, {"status": "error", "errors": [_detail(trouble) for trouble in troubles]}


def _detail(trouble: Trouble) -> dict[str, str]:
    members = {
        "type": trouble.kind,
        "account": trouble.account,
        "stream": trouble.stream,
        "consumer": trouble.consumer,
        "error": trouble.error,
    }
    return {name: value for name, value in members.items() if value}


def _troubles(view: View, options: HealthzOptions) -> Iterator[Trouble]:
    if options.stream and not options.account:
        yield _bad('"account" must not be empty when checking stream health')
    elif options.consumer and not options.stream:
        yield _bad('"stream" must not be empty when checking consumer health')
    elif not view.ready:
        why = "failed to be ready for connections after 1ms: server"
        yield Trouble("CONNECTION", why, code=INTERNAL, status="error")
    elif not options.js_server_only and view.options.jetstream is not None:
        if view.jetstream is None:
            yield Trouble("JETSTREAM", "JetStream not enabled")
        elif not (options.js_enabled or options.js_enabled_only):
            yield from _assets(view.jetstream, options)


def _bad(text: str) -> Trouble:
    return Trouble("BAD_REQUEST", text, code=BAD_REQUEST, status="error")


def _assets(jetstream: JetStreamView, options: HealthzOptions) -> Iterator[Trouble]:
    account = options.account
    if account and account not in jetstream.accounts:
        yield Trouble("ACCOUNT", f'JetStream account "{account}" not found', code=NOT_FOUND, account=account)
        return
    if jetstream.space.full:
        yield Trouble("JETSTREAM", f"JetStream refuses messages: {jetstream.space.describe()}")
    for part in [jetstream.accounts[account]] if account else jetstream.accounts.values():
        yield from _broken(part, options.stream)
    if not options.stream:
        return
    stream = jetstream.accounts[account].engine.streams.get(options.stream)
    if stream is None:
        text = f'JetStream stream "{options.stream}" not found on account "{account}"'
        yield Trouble("STREAM", text, code=NOT_FOUND, account=account, stream=options.stream)
    elif options.consumer and options.consumer not in stream.consumers:
        text = f'JetStream consumer "{options.consumer}" not found for stream "{stream.name}" on account "{account}"'
        yield Trouble(
            "CONSUMER", text, code=NOT_FOUND, account=account, stream=stream.name, consumer=options.consumer
        )


def _broken(jetstream: AccountStreams, only: str) -> Iterator[Trouble]:
    """Streams that are on disk and not here, and those that cannot write."""
    account = jetstream.engine.account
    for name in jetstream.unrecovered:
        if only in ("", name):
            text = f"JetStream stream '{account} > {name}' could not be recovered"
            yield Trouble("STREAM", text, account=account, stream=name)
    for stream in jetstream.engine.streams.values():
        failure = stream.failure or (stream.journal.failure if stream.journal is not None else "")
        if failure and only in ("", stream.name):
            text = f"JetStream stream '{account} > {stream.name}' write error: {failure}"
            yield Trouble("STREAM", text, account=account, stream=stream.name)
