"""What an account exports, imports and maps, as /accountz tells it (reference 07.1).

Every account imports a few services of the system account without saying so; they are told as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from millpond.broker.account import Account
from millpond.config import exchange
from millpond.config.security import AccountOptions, Export, Import, Latency, Mapping
from millpond.monitor.view import View

if TYPE_CHECKING:
    from millpond.accounts.book import Known

RESPONSES: Final = {"singleton": "Singleton", "stream": "Streamed", "chunked": "Chunked"}
OWN_NUMBERS: Final = ("$SYS.REQ.ACCOUNT.{}.CONNZ", "$SYS.REQ.ACCOUNT.{}.STATZ")
OWN_INFO: Final = ("$SYS.REQ.USER.{}.INFO", "$SYS.REQ.USER.INFO")
API: Final = "$JS.API.>"


def shared(view: View, account: Account) -> dict[str, Any]:
    """`mappings`, `exports` and `imports`; what is empty is left out."""
    options: AccountOptions = account.options
    known = view.broker.book.known.get(options.name) if view.broker.book is not None else None
    exports = [_export(one, known) for one in options.exports]
    imports = [_import(one, _latency_of(view, options.name, one)) for one in options.imports]
    if account is view.broker.system:
        exports = [*_system_exports(view), *exports]
        imports.append(_service(options.name, OWN_INFO, options.name, share=True))
    elif view.broker.system is not None:
        imports += _system_imports(view, options.name)
    found = {"mappings": {one.source: _destinations(one) for one in options.mappings}}
    return {name: rows for name, rows in {**found, "exports": exports, "imports": imports}.items() if rows}


def _latency_of(view: View, name: str, wanted: Import) -> Latency | None:
    exporter = view.broker.accounts.get(wanted.account)
    export = exchange.export_for(exporter.options, wanted, name) if exporter is not None else None
    return export.latency if export is not None else None


def _system_exports(view: View) -> list[dict[str, Any]]:
    rows = [(subject.format("*"), "Streamed") for subject in OWN_NUMBERS]
    rows += [("$SYS.DEBUG.SUBSCRIBERS", "Singleton"), (OWN_INFO[0].format("*"), "Singleton")]
    if view.options.jetstream is not None:
        rows.append((API, "Singleton"))
    return [{"subject": subject, "type": "service", "response_type": kind} for subject, kind in rows]


def _system_imports(view: View, name: str) -> list[dict[str, Any]]:
    system = view.options.system_account
    connections, numbers = OWN_NUMBERS
    rows = [
        _service(system, (connections, "$SYS.REQ.ACCOUNT.PING.CONNZ"), name),
        _service(system, (connections, "$SYS.REQ.SERVER.PING.CONNZ"), name),
        _service(system, (numbers, "$SYS.REQ.ACCOUNT.PING.STATZ"), name),
        _service(system, OWN_INFO, name, share=True),
    ]
    if view.options.jetstream is not None:
        rows.append(_service(system, (API, API), name, share=True))
    return rows


def _service(exporter: str, subjects: tuple[str, str], name: str, share: bool = False) -> dict[str, Any]:
    """subjects: the exporter's, with the place of the importer's name, and the local one."""
    there, here = subjects
    return _import(Import(account=exporter, subject=there.format(name), local=here, service=True, share=share))


def _latency(latency: Latency) -> dict[str, Any]:
    return {"sampling": latency.sampling or "headers", "results": latency.subject}


def _import(wanted: Import, latency: Latency | None = None) -> dict[str, Any]:
    local = exchange.local_filter(wanted)
    row: dict[str, Any] = {"subject": wanted.subject, "account": wanted.account}
    if wanted.service:
        row["to"] = local
    kind = "service" if wanted.service else "stream"
    row |= {"local_subject": local, "type": kind, "invalid": False, "share": wanted.share, "tracking": False}
    return {**row, "latency": _latency(latency)} if latency is not None else row


def _export(offered: Export, known: Known | None) -> dict[str, Any]:
    row: dict[str, Any] = {"subject": offered.subject, "type": "service" if offered.service else "stream"}
    tokens: dict[str, Any] = {}
    if known is not None:
        from millpond.monitor.account_claims import activations  # and JWTs with it

        tokens = activations(known, offered.subject, service=offered.service)
    if tokens:
        row["token_req"] = tokens.pop("token_req")
    if offered.service:
        row["response_type"] = RESPONSES[offered.response]
        if offered.latency is not None:
            row["service_latency"] = _latency(offered.latency)
    if offered.accounts:
        row["approved_accounts"] = sorted(offered.accounts)
    return {**row, **tokens}


def _destinations(mapping: Mapping) -> list[dict[str, Any]]:
    """The lightest first; each weight includes those before it, and what is left over stays on the subject."""
    rest = 100 - sum(one.weight for one in mapping.destinations)
    rows = [(one.weight, one.subject) for one in mapping.destinations]
    rows += [(rest, mapping.source)] if rest else []
    total, shown = 0, []
    for weight, subject in sorted(rows, key=lambda row: row[0]):
        total += weight
        shown.append({"subject": subject, "weight": total})
    return shown
