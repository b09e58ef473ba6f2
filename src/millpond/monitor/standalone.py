"""Pages about clusters, gateways and leaf nodes, as a server that stands alone answers them (reference 07.1)."""

from __future__ import annotations

from typing import Any

from millpond.monitor.view import View, now_text


def routez(view: View) -> dict[str, Any]:
    return {
        "server_id": view.broker.server_id,
        "server_name": view.broker.server_name,
        "now": now_text(),
        "num_routes": 0,
        "routes": [],
    }


def gatewayz(view: View) -> dict[str, Any]:
    return {**view.head(), "outbound_gateways": {}, "inbound_gateways": {}}


def leafz(view: View) -> dict[str, Any]:
    return {**view.head(), "leafnodes": 0, "leafs": []}
