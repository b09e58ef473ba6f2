"""Advisories that nats-server may drop with the stream that they are about; ours always come."""

from __future__ import annotations

import json


async def test_the_end_of_a_stream_is_told(server, storage):
    async with server.js() as js:
        told = await js._nc.subscribe("$JS.EVENT.ADVISORY.STREAM.DELETED.>")
        await js.add_stream(name="GONE", subjects=["gone"], storage=storage)
        await js.delete_stream("GONE")
        message = await told.next_msg(timeout=5)
        document = json.loads(message.data)
        assert message.subject == "$JS.EVENT.ADVISORY.STREAM.DELETED.GONE"
        assert document["type"] == "io.nats.jetstream.advisory.v1.stream_action"
        assert (document["stream"], document["action"]) == ("GONE", "delete")
