"""The client protocol's frames, arguments, limits and errors (reference 01.1), as bytes in and bytes out.

Each vector has its own connection with a subscription to everything, so the record shows what took effect.
Most vectors are sent twice: in one piece, and byte by byte.
"""

from __future__ import annotations

import json
from itertools import product

from .raw import CoreRecord, Raw, show_info

QUIET = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1}\r\n'
PLAIN = b'CONNECT {"verbose":false,"pedantic":false}\r\n'
LOUD = b'CONNECT {"headers":true}\r\n'
ALL = b"SUB > all\r\n"
HDR = b"NATS/1.0\r\n\r\n"
BOTH_WAYS = (False, True)


def vectors(s: CoreRecord, first: bytes, table: list[bytes], *, split: bool = True, ordered: bool = True) -> None:
    for data in table:
        for bytewise in BOTH_WAYS if split else (False,):
            raw = s.open(first)
            if bytewise:
                raw.send_pieces(data[i : i + 1] for i in range(len(data)))
            label = f"{'bytewise ' if bytewise else ''}{data[:150]!r}"
            s.say(raw, b"" if bytewise else data, label=label, ordered=ordered)
            raw.close()


def info_and_first_pong(s: CoreRecord) -> None:
    """The first INFO, and the second one that only protocol 1 gets, once, behind its first PONG."""
    for first in (b"", PLAIN, QUIET, LOUD):
        raw = s.open()
        s.note(f"{first!r} {show_info(raw.info_line)}")
        raw.send(first + b"PING\r\n")
        s.heard(raw, "first PING")
        raw.send(b"PING\r\n")
        frames, _ = raw.until_pong()
        s.note(f"second PING {[show_info(line) for line in frames]}")
        s.say(raw, b"SUB a 1\r\nPING\r\n")
    raw = s.open(b"PING\r\n" + QUIET)
    s.heard(raw, "PING before CONNECT")
    s.say(raw, b"PING\r\n")
    s.say(raw, b"")


def verbs(s: CoreRecord) -> None:
    """Of several receivers of one message, neither server promises an order."""
    vectors(s, QUIET + ALL, [
        b"PUB a 2\r\nhi\r\n", b"pub a 2\r\nhi\r\n", b"PuB a r 2\r\nhi\r\n", b"PUB a 2\nhi\r\n",
        b"PUB\ta\t2\r\nhi\r\n", b"PUB  \t a \t  r\t\t2  \t\r\nhi\r\n", b"PUB a 0\r\n\r\n", b"PUB a r 0\n\r\n",
        b"HPUB a 12 14\r\n" + HDR + b"hi\r\n", b"hpub a r 12 12\r\n" + HDR + b"\r\n",
        b"hPuB\ta\t12 12\n" + HDR + b"\r\n",
        b"sub x 2\r\nPUB x 0\r\n\r\n", b"Sub\tx\tq\t2\t\nPUB x 0\r\n\r\n", b"SUB x 2 \r\nunsub 2\r\nPUB x 0\r\n\r\n",
        b"SUB x 2\r\nUNSUB\t2 \t1\r\nPUB x 0\r\n\r\nPUB x 0\r\n\r\n", b"uNsUb 2\n",
        b"ping\r\n", b"PING\n", b"PiNg \t\r\n", b"PINGS and more\r\n", b"PING\rx\n", b"pong\r\n", b"PONG\n",
        b"PONGx\r\n",
        b"+OK\r\n", b"+ok\n", b"+Ok sure\r\n", b"INFO {}\r\n", b'info {"port":1}\n', b"INFO{}\r\n", b"INFO null\r\n",
        b"connect {}\r\n", b"CONNECT{}\n", b"CONNECT \t {}\t \r\n", b"cOnNeCt null\r\n",
    ], ordered=False)  # fmt: skip


def unknown_verbs(s: CoreRecord) -> None:
    vectors(s, QUIET, [
        b"\r\n", b"\n", b" PING\r\n", b"\tPING\r\n", b"X\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.0\r\n",
        b"PIN\r\n", b"PIN G\r\n", b"P\r\n", b"PO\r\n", b"PX\r\n", b"PU\r\n", b"PUBX a 1\r\n", b"PUB\r\n", b"PUB\n",
        b"SUB\r\n", b"SUBS a 1\r\n", b"S\n", b"UNSUB\r\n", b"UNSUBX 1\r\n", b"HPUB\r\n", b"HPUBX\r\n", b"HX\r\n",
        b"CONNEC {}\r\n", b"COPY\r\n", b"INF {}\r\n", b"+O\r\n", b"+NO\r\n", b"++\r\n", b"-E\r\n", b"-ERR\r\n",
        b"-ERRx\r\n",
        b"-OK\r\n", b"RS+ a\r\n", b"RS- a\r\n", b"A+ a\r\n", b"A- a\r\n", b"LS+ a\r\n", b"LS- a\r\n",
        b"RMSG a b 1\r\n",
        b"LMSG a b 1\r\n", b"MSG a 1 0\r\n\r\n", b"\x00", b"\xff\xfe\r\n", b"\x16\x03\x01\x02\x00\x01\x00",
        b"\x80", b"{}", b"\x1b[A\r\n", b"QUIT\r\n", b"0\r\n", b"%s\r\n", b"_\r\n", b"@UB a 1\r\n", b"[UB a 1\r\n",
        b"PQB a 1\r\n",
    ])  # fmt: skip


def payload_ends(s: CoreRecord) -> None:
    vectors(s, QUIET + ALL, [
        b"PUB a 2\r\nhi\n", b"PUB a 2\r\nhi\rX", b"PUB a 2\r\nhi!\r\n", b"PUB a 2\r\nh\r\n\r\n", b"PUB a 2\r\nh\r\n",
        b"PUB a 0\r\n\n", b"PUB a 0\r\nx\r\n", b"PUB a 2\r\n\r\n\r\n", b"PUB a 4\r\n\r\n\r\n\r\n",
        b"PUB a 3\r\n\x00\xff\n\r\n",
        b"HPUB a 12 14\r\n" + HDR + b"hi\n", b"HPUB a 12 14\r\n" + HDR + b"hi!!",
    ])  # fmt: skip


def publish_arguments(s: CoreRecord) -> None:
    vectors(s, QUIET + ALL, [
        b"PUB a\r\n", b"PUB a \r\n", b"PUB 2\r\n", b"PUB a b c 2\r\nhi\r\n", b"PUB a b c d 2\r\nhi\r\n", b"PUB \r\n",
        b"PUB  \t\r\n",
        b"PUB a -1\r\n", b"PUB a +1\r\nx\r\n", b"PUB a x\r\n", b"PUB a 1x\r\nx\r\n", b"PUB a 0x1\r\nx\r\n",
        b"PUB a 1.0\r\nx\r\n",
        b"PUB a 1e0\r\nx\r\n", b"PUB a r x\r\n", b"PUB a 1234567890\r\n", b"PUB a 0000000002\r\nhi\r\n",
        b"PUB a \xd9\xa1\r\nx\r\n",
        b"PUB a 18446744073709551617\r\nx\r\n", b"PUB a 4294967297\r\nx\r\n", b"PUB a 999999999\r\n",
        b"PUB a 1048577\r\n",
        b"PUB a r 1048577\r\n", b"PUB a 1,0\r\n", b"PUB a r 1 \tx\r\nx\r\n",
        b"HPUB a 12\r\n", b"HPUB a\r\n", b"HPUB 12 14\r\n", b"HPUB a b c 12 14\r\n", b"HPUB \r\n",
        b"HPUB a 14 12\r\n", b"HPUB a -1 2\r\nhi\r\n",
        b"HPUB a 12 -1\r\n", b"HPUB a x 14\r\n", b"HPUB a 12 x\r\n", b"HPUB a 13 12\r\n" + HDR + b"\r\n",
        b"HPUB a 1048577 1048577\r\n",
        b"HPUB a 12 1048577\r\n", b"HPUB a r 0000000012 12\r\n", b"HPUB a 12 0000000012\r\n",
        b"HPUB a 999999999 999999999\r\n",
        b"HPUB a 1234567890 12\r\n", b"HPUB a b 12\r\n",
    ])  # fmt: skip


def subscribe_arguments(s: CoreRecord) -> None:
    check = b"PUB a 0\r\n\r\nPUB x 0\r\n\r\n"
    vectors(s, QUIET, [line + check for line in (
        b"SUB a\r\n", b"SUB \r\n", b"SUB a b c d\r\n", b"SUB a b c d e f g h\r\n", b"SUB a 1 \t\r\n",
        b"SUB a q 1\r\n",
        b"SUB a \xe2\x82\xac\r\n", b"SUB a sid-with.any>thing*\r\n", b"SUB a * >\r\n", b"SUB > 1\r\n",
        b"SUB * 1\r\n", b"SUB a 0\r\n",
        b"SUB a 1\r\r\n", b"SUB a\r1\r\n", b"UNSUB \r\n", b"UNSUB 1 2 3\r\n", b"UNSUB 1\r\n",
        b"SUB a 1\r\nUNSUB 1 x\r\n",
        b"SUB a 1\r\nUNSUB 1 -1\r\n", b"SUB a 1\r\nUNSUB 1 0\r\n", b"SUB a 1\r\nUNSUB 1 1234567890\r\n",
        b"SUB a 1\r\nUNSUB 1 1\r\n",
        b"SUB a 1\r\nUNSUB 2\r\n", b"SUB a 1\r\nUNSUB 01\r\n", b"SUB a 1\r\nSUB x 1\r\n",
        b"SUB a 1\r\nSUB a.. 1\r\n", b"SUB a 1\r\nSUB a q 1\r\n",
        b"SUB a 1\r\nSUB x 1\r\nUNSUB 1\r\n", b"SUB a 1\r\nUNSUB 1\r\nSUB x 1\r\n", b"SUB a _sys_ 1\r\n",
        b"SUB a _sys_x 1\r\n",
        b"SUB a _SYS_ 1\r\n", b'SUB "q\\ _sys_ 1\r\n', b"SUB \x01\xc3\xa9\xff _sys_ 1\r\n", b"SUB a.. _sys_ 1\r\n",
    )], split=False)  # fmt: skip


def subjects(s: CoreRecord) -> None:
    """Which subjects may be subscribed to, and what publishing to them reaches."""
    subjects = [
        b"a", b".", b"..", b".a", b"a.", b"a..b", b"a.b", b"*", b">", b"a.*", b"a.>", b"a.>.b", b">.a", b"*.a",
        b"a*", b"*a", b"a>",
        b">a", b"a.b*", b"fo>o.x", b"**", b">>", b"a.*.*.>", b"$SYS", b"$x.y", b"_INBOX.1", b"A", b"\x01", b"\x00",
        b"a\x00b", b"a\x0cb",
        b"\x0b", b"\xc2\xa0", b"\xff\xfe", b"\xe2\x82\xac.\xf0\x9f\x98\x80", b'"', b"'", b"\\", b"a.\x7f",
        b"a" * 300, b".".join([b"x"] * 200),
        b"a." * 20 + b">", b"a\rb", b"\x0c",
    ]  # fmt: skip
    for subject in subjects:
        raw = s.open(QUIET)
        s.say(raw, b"SUB " + subject + b" 1\r\n" + b"PUB " + subject + b" 0\r\n\r\n", label=f"subject {subject[:40]!r}")
        raw.close()
    filters = [b"a", b"*", b">", b"a.*", b"a.>", b"*.*", b"*.b.*", b"a.b.c", b"a.*.c", b"*.>", b"a.b.>", b"*.*.*",
    b"a.>.c", b"A.b", b"a*"]
    names = [b"a", b"b", b"a.b", b"a.b.c", b"b.b.b", b"a.b.c.d", b"A.b", b"a.*", b"a.>", b"*", b">", b"a..b", b"a.",
    b".a", b"a*", b"a.b*"]
    raw = s.open(QUIET)
    for number, pattern in enumerate(filters):
        raw.send(b"SUB %s %d\r\n" % (pattern, number))
    s.say(raw, b"", label="filters")
    for name in names:
        s.say(raw, b"PUB %s 0\r\n\r\n" % name, ordered=False)


def control_line(s: CoreRecord) -> None:
    """The limit counts the argument, blanks before it and the line's end left out."""
    limit = 4096
    for size in (limit - 1, limit, limit + 1, limit + 500, 3 * limit):
        for head, tail in (
            (b"SUB ", b" 1"), (b"PUB ", b" 0"), (b"UNSUB ", b""), (b"HPUB ", b" 0 0"), (b"-ERR ", b""),
            (b'CONNECT {"name":"', b'"}'),
            (b'INFO {"x":"', b'"}'), (b"SUB \t   ", b" 1"),
        ):  # fmt: skip
            inside = len(head.split(b" ", 1)[1].lstrip()) + len(tail)
            line = head + b"a" * (size - inside) + tail
            for end in (b"\r\n", b"\n"):
                raw = s.open(QUIET)
                s.say(raw, line + end + (b"\r\n" if b"PUB" in head else b""), label=f"{head!r} {size} {end!r}")
                raw.close()
    raw = s.open(QUIET)
    s.fatal(raw, b"SUB " + b"a" * 4097, label="no line end in sight")
    raw = s.open(QUIET)
    line = b"SUB " + b"a" * 4095 + b" 1\r\n"
    raw.send_pieces(line[i : i + 64] for i in range(0, len(line), 64))
    s.heard(raw, "over the limit, in pieces")
    raw = s.open(QUIET)
    line = b"SUB " + b"a" * 4094 + b" 1\r\n"
    raw.send_pieces(line[i : i + 1] for i in range(len(line)))
    s.say(raw, b"", label="at the limit, byte by byte")


def endless_lines(s: CoreRecord) -> None:
    """What no limit counts: whatever follows PING, PONG and +OK, and blanks before an argument."""
    for head, tail in product((b"PING", b"PONG ", b"+OK", b"PING\r"), (b"x" * 5000, b" " * 20_000,
    b"SUB a 1 " * 2000)):
        raw = s.open(QUIET)
        s.say(raw, head + tail + b"\r\n", label=f"{head!r} and {len(tail)} bytes {tail[:8]!r}")
        raw.close()
    for head, tail in ((b"SUB", b"a 1\r\nPUB a 0\r\n\r\n"), (b"PUB", b"a 0\r\n\r\n"), (b"UNSUB", b"1\r\n"),
    (b"CONNECT", b"{}\r\n")):
        raw = s.open(QUIET)
        s.say(raw, head + b" \t" * 8000 + tail, label=f"{head!r} and 16000 blanks")
        raw.close()


def payload_limit(s: CoreRecord) -> None:
    raw = s.open(QUIET + ALL)
    body = b"x" * (1 << 20)
    s.note(str([len(frame) for frame in s_frames(raw, b"PUB a 1048576\r\n" + body + b"\r\n")]))
    whole = b"HPUB a 12 1048576\r\n" + HDR + body[:-12] + b"\r\n"
    s.note(str([len(frame) for frame in s_frames(raw, whole)]))
    s.fatal(raw, b"PUB a 1048577\r\n")
    raw = s.open(QUIET)
    s.fatal(raw, b"HPUB a 12 1048577\r\n")
    raw = s.open(QUIET)
    s.fatal(raw, b"PUB a 100000000\r\nsome of it")


def s_frames(raw: Raw, data: bytes) -> list[bytes]:
    raw.send(data + b"PING\r\n")
    return [frame for frame in raw.until_pong()[0] if not frame.startswith(b"INFO")]


def every_cut(s: CoreRecord) -> None:
    """A stream of frames cut in two at every place."""
    stream = (
        b"SUB a.* q 7\r\nPUB a.b r 5\r\nhello\r\nHPUB a.c 12 14\r\n" + HDR + b"hi\r\n"
        b"UNSUB 7 3\r\nPING\r\nPUB a.d 0\r\n\r\nPUB a.e 1\r\nx\r\n"
    )  # fmt: skip
    for cut in range(1, len(stream)):
        raw = s.open(QUIET)
        raw.send_pieces((stream[:cut], stream[cut:]))
        raw.until_pong()
        s.say(raw, b"", label=f"cut at {cut}")
        raw.close()


def connect_fields(s: CoreRecord) -> None:
    """Types, defaults, and what JSON is accepted."""
    shown = b"SUB a 1\r\nPUB a 0\r\n\r\nPUB a..b 0\r\n\r\nPUB nobody a 0\r\n\r\nUNSUB 1\r\n"
    table: list[bytes] = [
        b"{}", b"null", b"", b"[]", b"[1]", b"1", b'"x"', b"true", b"{", b"}", b"{}x", b"{} {}", b"{},",
        b"{\"verbose\":false,}", b"{'verbose':false}",
        b"{verbose:false}", b'{"verbose":False}', b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-}', b'{"a":01}',
        b'{"a":1.}', b'{"a":.5}', b'{"a":1e999}',
        b'{"a":+1}', b'{"a":"\x01"}', b'{"a":"\t"}', b'{"a":"\\x"}', b'{"a":"\\ud800"}',
        b'{"name":"\\ud83d\\ude00"}', b'{"name":"\\u12"}',
        b'{"name":"\xff"}', b'{"name":"\xe2\x82"}', b"\xef\xbb\xbf{}", b'{"a":"\x7f"}', b'{"":1}',
        b'{"a":{"b":[1,{"c":null}]}}', b" \t{ \t} \t",
        b'{"a":' + b"[" * 50 + b"]" * 50 + b"}", b"/**/{}", b"{}//",
    ]  # fmt: skip
    for name in ("verbose", "pedantic", "echo", "headers", "no_responders", "tls_required", "new_account"):
        table += [f'{{"{name}":{value}}}'.encode() for value in ("true", "false", "null", '"true"', "1", "0", "[]")]
    for name in ("user", "pass", "auth_token", "name", "lang", "version", "nkey", "jwt", "sig", "account",
    "remote_account", "proxy_sig"):
        table += [f'{{"{name}":{value}}}'.encode() for value in ('"x"', '""', "null", "5", "{}")]
    for value in ("0", "1", "2", "-1", "null", '"1"', "1.0", "1e0", "1.5", "-0", "99999999999999999999", "true"):
        table.append(f'{{"protocol":{value}}}'.encode())
    table += [
        b'{"VERBOSE":false}', b'{"Verbose":false,"verbose":true}', b'{"verbose":true,"VERBOSE":false}',
        b'{"verbose":false,"verbose":null}',
        b'{"verbose":"x","verbose":false}', b'{"verbo\\u0073e":false}', b'{"verbo\xc5\xbfe":false}',
        b'{" verbose":false}', b'{"unknown":true,"verbose":false}',
        b'{"verbose":false,"pedantic":false,"echo":false}', b'{"headers":true,"no_responders":true,"verbose":false}',
        b'{"no_responders":true}',
        b'{"headers":false,"no_responders":true}', b'{"import":5}', b'{"import":null}',
        b'{"import":{"allow":["a"]}}', b'{"export":{"deny":"a"}}',
        b'{"export":[]}', b'{"account":"x","new_account":true}', b'{"protocol":2,"account":"x"}',
        b'{"protocol":2,"no_responders":true}',
    ]  # fmt: skip
    for fields in table:
        raw = s.open(b"CONNECT " + fields + b"\r\n")
        s.say(raw, shown, label=f"CONNECT {fields[:100]!r}")
        raw.close()


def connect_again(s: CoreRecord) -> None:
    """Telnet first, then CONNECT, then others that change only what they name; subscriptions go."""
    raw = s.open()
    s.say(raw, b"SUB a 1\r\nPUB a 0\r\n\r\nPUB a..b 0\r\n\r\n")
    s.say(raw, QUIET + b"PUB a 0\r\n\r\n")
    s.say(raw, b'CONNECT {"verbose":true}\r\nPUB a 0\r\n\r\nSUB a 1\r\nPUB a 0\r\n\r\n')
    s.say(raw, b'CONNECT {"echo":false,"verbose":false}\r\nSUB a 1\r\nPUB a 0\r\n\r\n')
    s.say(raw, b'CONNECT {"echo":true,"headers":false,"no_responders":false}\r\nSUB a 1\r\nPUB a 0\r\n\r\n')
    s.fatal(raw, b"HPUB a 12 12\r\n")
    raw = s.open(QUIET)
    s.fatal(raw, b'CONNECT {"headers":false}\r\n')
    raw = s.open(QUIET)
    s.fatal(raw, b'CONNECT {"protocol":5}\r\n')
    raw = s.open(QUIET)
    s.fatal(raw, b'CONNECT {"user":5}\r\n')
    raw = s.open(QUIET)
    s.fatal(raw, json.dumps({"x": 1}).encode())


# --- known differences: each has a row in docs/differences.md ---


def line_end_as_argument(s: CoreRecord) -> None:
    """nats-server takes a line end right behind a verb as the argument's first byte."""
    vectors(s, QUIET + ALL, [b"PUB \na 0\r\n\r\n", b"SUB \na 1\r\n", b"CONNECT\n{}\n"], split=False)


def carriage_return_inside(s: CoreRecord) -> None:
    """nats-server drops the last byte of a line that has a CR inside and ends with a bare LF."""
    vectors(s, QUIET + ALL, [b"PUB a\rb 00\n\r\n", b"SUB a\r 12\nUNSUB 12\nPUB a 0\r\n\r\n"], split=False)


def message_from_client(s: CoreRecord) -> None:
    """nats-server takes HMSG from a client as a message on no subject."""
    vectors(s, QUIET + ALL, [b"HMSG a 1 0 0\r\n\r\n", b"HMSG anything\r\n\r\n"], split=False)


def size_digits(s: CoreRecord) -> None:
    """nats-server repeats the digits of a size as they came."""
    vectors(s, QUIET + ALL, [b"PUB a 02\r\nhi\r\n", b"HPUB a 012 014\r\n" + HDR + b"hi\r\n"], split=False)


def info_from_client(s: CoreRecord) -> None:
    vectors(s, QUIET, [b'INFO {"port":"x"}\r\n', b'INFO {"headers":1}\r\n'], split=False)


def deep_connect(s: CoreRecord) -> None:
    vectors(s, b"", [b'CONNECT {"a":' + b"[" * 1500 + b"]" * 1500 + b"}\r\n"], split=False)


SCENARIOS = [
    info_and_first_pong, verbs, unknown_verbs, payload_ends, publish_arguments, subscribe_arguments, subjects,
    control_line, endless_lines, payload_limit, every_cut, connect_fields, connect_again, line_end_as_argument,
    carriage_return_inside, message_from_client, size_digits, info_from_client, deep_connect,
]  # fmt: skip
