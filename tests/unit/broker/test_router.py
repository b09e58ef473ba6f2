"""The control plane's way through one account's subject space."""

from __future__ import annotations

from millpond.broker.router import Router
from millpond.broker.sink import CallableSink
from millpond.testing.publishes import publish_as


def test_what_is_published_may_show_another_subject():
    router, seen = Router(), []
    router.subscribe(b"in.*", CallableSink(lambda *message: seen.append(message[:4])))
    assert publish_as(router, b"o.a", b"in.x", b"body", b"re", b"NATS/1.0\r\n\r\n") == 1
    assert publish_as(router, b"in.x", b"o.a", b"body") == 0, "it goes where it is sent"
    assert seen == [(b"o.a", b"re", b"NATS/1.0\r\n\r\n", b"body")]
