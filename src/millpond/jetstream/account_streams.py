"""What one account has of JetStream while it runs."""

from __future__ import annotations

import msgspec

from millpond.jetstream.api.registry import Api
from millpond.jetstream.engine import Engine


class AccountStreams(msgspec.Struct, frozen=True):
    """Its streams and its API."""

    engine: Engine
    api: Api
    unrecovered: list[str]
    """What is on disk and could not be brought back: stream names where they could be read, else directories."""
