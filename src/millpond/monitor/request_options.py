"""Bodies of requests on `$SYS.REQ`: which servers are meant, and the options of the page (reference 07.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from millpond.jetstream.go_json import Kind, ListOf, Shape
from millpond.monitor.view import View

FILTER: Final[dict[str, Kind]] = {
    "server_name": "string",
    "cluster": "string",
    "host": "string",
    "exact_match": "bool",
    "tags": ListOf("string"),
    "domain": "string",
}


def _shape(name: str, fields: Mapping[str, Kind]) -> Shape:
    return Shape(name, {**fields, **FILTER})


EVENT_FILTER: Final = Shape("EventFilterOptions", FILTER)
STATSZ: Final = _shape("StatszEventOptions", {})
VARZ: Final = _shape("VarzEventOptions", {})
EXPVARZ: Final = _shape("ExpvarzEventOptions", {})
ACCOUNT_INFO: Final = _shape("AccInfoEventOptions", {})
ACCOUNTZ: Final = _shape("AccountzEventOptions", {"account": "string"})
ACCOUNT_STATZ: Final = _shape(
    "AccountStatzEventOptions", {"accounts": ListOf("string"), "include_unused": "bool"}
)
ROUTEZ: Final = _shape("RoutezEventOptions", {"subscriptions": "bool", "subscriptions_detail": "bool"})
LEAFZ: Final = _shape("LeafzEventOptions", {"subscriptions": "bool", "account": "string"})
IPQUEUESZ: Final = _shape("IpqueueszEventOptions", {"all": "bool", "filter": "string"})
RAFTZ: Final = _shape("RaftzEventOptions", {"account": "string", "group": "string"})
PROFILEZ: Final = _shape("ProfilezEventOptions", {"name": "string", "debug": "int", "duration": "time.Duration"})
GATEWAYZ: Final = _shape(
    "GatewayzEventOptions",
    {
        "name": "string", "accounts": "bool", "account_name": "string", "subscriptions": "bool",
        "subscriptions_detail": "bool",
    },
)  # fmt: skip
SUBSZ: Final = _shape(
    "SubszEventOptions",
    {"offset": "int", "limit": "int", "subscriptions": "bool", "account": "string", "test": "string"},
)
CONNZ: Final = _shape(
    "ConnzEventOptions",
    {
        "sort": "server.SortOpt", "auth": "bool", "subscriptions": "bool", "subscriptions_detail": "bool",
        "offset": "int", "limit": "int", "cid": "uint64", "mqtt_client": "string", "state": "server.ConnState",
        "user": "string", "acc": "string", "filter_subject": "string",
    },
)  # fmt: skip
JSZ: Final = _shape(
    "JszEventOptions",
    {
        "account": "string", "accounts": "bool", "streams": "bool", "consumer": "bool", "direct_consumer": "bool",
        "config": "bool", "leader_only": "bool", "offset": "int", "limit": "int", "raft": "bool",
        "stream_leader_only": "bool",
    },
)  # fmt: skip
HEALTHZ: Final = _shape(
    "HealthzEventOptions",
    {
        "js-enabled": "bool", "js-enabled-only": "bool", "js-server-only": "bool", "js-meta-only": "bool",
        "account": "string", "stream": "string", "consumer": "string", "details": "bool",
    },
)  # fmt: skip
CLIENT: Final = {
    "KICK": Shape("KickClientReq", {"cid": "uint64"}),
    "LDM": Shape("LDMClientReq", {"cid": "uint64"}),
}
CONNECTIONS: Final = Shape("accNumConnsReq", {"server": Shape("ServerInfo", {}), "acc": "string"})
SUBSCRIBERS: Final = Shape("accNumSubsReq", {"acc": "string", "subject": "string", "queue": "string"})


def page_options(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What is for the page, under the names of its options."""
    return {name.replace("-", "_"): value for name, value in asked.items() if name not in FILTER}


def is_meant(view: View, asked: Mapping[str, Any]) -> bool:
    """Is the request for this server?"""
    if asked.get("domain") and asked["domain"] != (view.options.jetstream.domain if view.options.jetstream else ""):
        return False
    known = {tag.lower() for tag in view.options.server_tags}
    if not all(tag.lower() in known for tag in asked.get("tags", ())):
        return False
    names = {"server_name": view.broker.server_name, "host": view.broker.info["host"], "cluster": ""}
    exact = asked.get("exact_match", False)
    return all(_fits(name, asked.get(key, ""), exact) for key, name in names.items())


def _fits(name: str, wanted: str, exact: bool) -> bool:
    return not wanted or (name == wanted if exact else wanted in name)
