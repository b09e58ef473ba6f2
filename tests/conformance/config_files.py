"""Small configuration files for `-t`, each with the row of docs/differences.md where the two servers disagree.

SAME: both take the file, with the same digest, or both refuse it. The variables N, S, L and E are in the
environment; `part.conf` lies beside the file.
"""

from __future__ import annotations

ENVIRONMENT = {"N": "4333", "S": "hello", "L": "[1, 2 ]", "E": "", "CYCLE": "$CYCLE"}
PART = 'debug: true\nmax_pending: 32m\n'

SAME = [
    # the language
    "", "\n# nothing\n", "port: 4222", "port 4222", "port = 4222", "PORT: 4222", "{port: 4222}", "{ port: 4222 }\n",
    '{"port": 4222, "debug": true}', "port: 4222; debug: true", "port: 4222, debug: true", "port: 4222 debug: true",
    "port\n4222", "port:\n4222", "port: 4222 # comment", "// comment\nport: 4222", "port: 4222\n}\n", "port: 4222\r\n",
    "port: 4222\nport: 4223", "port: $N", "port: $NOPE", "port: $CYCLE", "p: 5\nport: $p", "port: $p\np: 5",
    "jetstream {p: 5, max_mem: $p}", "server_name: $S", "server_name: '$S'", "server_name: $E", "host: $L",
    "include part.conf", "include 'part.conf'\nport: 1", "include nothing.conf", "jetstream { include part.conf }",
    "port: 'x", 'port: "x', "port: [", "port: {", "port", "=", "jetstream{store_dir: x}",
    "server_name: (\nabc\n)\n", r'server_name: "a\x41"', r'server_name: "a\q"', "server_name: a'b",
    "max_payload: 1k", "max_payload: 1kb", "max_payload: 1.5", "max_payload: 99999999999999999999", "port: 1kbi2",
    "port: .5", "port: 5.", "port: -", "server_name: 2026-01-01", "server_name: 2026-01-01T00:00:00Z",
    # kinds of values
    "port: abc", 'port: "4222"', "port: true", "port: {}", "port: [1 ]", "debug: 1", "debug: 'true'", "host: 1",
    "server_name: 5", "server_name: true", "max_pending: big", "log_file: 7", "syslog: maybe", "http_base_path: 1",
    # addresses
    "listen: 4222", "listen: localhost:4222", 'listen: "[::1]:4222"', "listen: ':4222'", "listen: '::1:4222'",
    "listen: a:b", "listen: localhost", "listen: {}", "listen: [1 ]", "listen: '127.0.0.1:-1'", "net: 127.0.0.1",
    # names, limits, times
    "server_name: 'a b'", "max_connections: 0", "max_conn: 100", "max_subs: 5", "max_sub_tokens: 0",
    "max_sub_tokens: 256", "max_sub_tokens: 16", "max_control_line: 10000000000", "max_payload: 10000000000",
    "max_payload: 0", "max_traced_msg_len: 10", "max_closed_clients: 10", "no_header_support: true",
    "no_fast_producer_stall: true", "disable_sublist_cache: false", "proxy_protocol: false", "prof_port: 0",
    "ping_interval: 10", 'ping_interval: "10s"', "ping_interval: 10s", "ping_interval: soon", "ping_interval: true",
    "ping_max: 3", "write_deadline: 2s", "write_deadline: '1m30.5s'", "write_deadline: 5", "write_timeout: close",
    "write_timeout: never", "trace_verbose: true", "logtime_utc: true", "log_size_limit: 10MB", "log_max_num: 3",
    "logfile: x.log", "remote_syslog: 'udp://localhost:514'", "pidfile: x.pid", "ports_file_dir: .",
    # authorization
    "authorization {user: a, password: b}", "authorization {token: t}", "authorization {user: a, token: t}",
    "authorization {username: a, pass: 5}", "authorization: yes", "authorization {}", "authorization {timeout: 1.5}",
    "authorization {timeout: '2s'}", "authorization {timeout: often}", "authorization {timeout: 61}",
    "authorization {user: a, password: '$2a$11$3kIDaCxw.Glsl1.u5nKa6eUnNDLV5HV9tIuUp7EHhMt6Nm9myW1aS'}",
    "authorization {users: []}", "authorization {users: [{user: a, pass: b}]}", "authorization {users: {}}",
    "authorization {users: [{user: a}, {user: a}]}", "authorization {users: [{pass: a}]}",
    "authorization {users: [1 ]}",
    "authorization {user: a, pass: b, users: [{user: c}]}", "authorization {token: a, users: [{user: c}]}",
    "authorization {users: [{nkey: UAM5PN3ZWD4BTF4VZTPSVET2F2LEIKXEZRCAGJFJEZV6HJUMZ2I57M4X}]}",
    "authorization {users: [{nkey: UAM5}]}", "authorization {users: [{user: a, nobody: b}]}",
    "authorization {users: [{user: a, connection_types: [mqtt ]}]}",
    "authorization {users: [{user: a, connection_types: [pigeon ]}]}",
    "authorization {users: [{user: a, permissions {publish: 'a..b'}}]}",
    "authorization {users: [{user: a, permissions {publish: 'a b'}}]}",
    "authorization {users: [{user: a, permissions {subscribe: 'a b'}}]}",
    "authorization {users: [{user: a, permissions {subscribe: 'a b c'}}]}",
    "authorization {users: [{user: a, permissions {publish {forbid: a}}}]}",
    "authorization {users: [{user: a, permissions {allow_responses {max: 5, expires: '1m'}}}]}",
    "authorization {users: [{user: a, permissions {allow_responses {expires: 5}}}]}",
    "authorization {default_permissions {publish: a}, users: [{user: a}]}", "authorization {permissions: 5}",
    "authorization {users: [{user: a}]}\nno_auth_user: a",
    # accounts
    "accounts {}", "accounts [A, B ]", "accounts [A, A ]", "accounts {$G {}}", "accounts {A: 5}", "accounts {A {}}",
    "accounts {A {users: [{user: a}]}}", "accounts {A {users: [{user: a}]}, B {users: [{user: a}]}}",
    "accounts {A {users: [{user: a}]}}\nauthorization {user: b}", "accounts {A {jetstream: enabled}}",
    "accounts {A {jetstream: sometimes}}", "accounts {A {jetstream {max_mem: 1M, streams: 5, max_bytes: true}}}",
    "accounts {A {jetstream {max_mem: '1M'}}}", "accounts {A {jetstream {max_men: 1}}}",
    "accounts {A {limits {max_conn: 5, max_subs: 10, max_payload: 1k}}}", "accounts {A {limits {max_cows: 5}}}",
    "accounts {A {limits: 5}}", "accounts {A {nkey: x}}", "accounts {A {unknown: 5}}",
    "accounts {A {default_permissions {publish: a}, users: [{user: a}]}}", "system_account: x",
    "accounts {A {}}\nsystem_account: A", "no_system_account: true", "no_sys_acc: 5",
    "max_traced_msg_len: 5\nmaps {a: b}", "mappings {a: [{dest: b, weight: 50%}, {dest: c, weight: 20}]}",
    "mappings {a: {dest: b}}", "mappings {a: [{dest: b, weight: 60}, {dest: c, weight: 60}]}", "mappings {a.*: b.$1}",
    "mappings {a.*: b.$2}", "accounts {A {mappings {a: [{dest: b, weight: 101}]}}}", "mappings {'a..b': c}",
    "authorization {nobody: a}", "authorization {proxy_required: false, user: a}",
    # JetStream
    "jetstream: true", "jetstream: off", "jetstream: enabled", "jetstream: Disable", "jetstream: maybe",
    "jetstream: 5", "jetstream {}", "jetstream {enabled: false}", "jetstream {store_dir: '/tmp/x', domain: d}",
    "jetstream {store: x}\nstore_dir: y", "store_dir: y", "jetstream {max_mem: 1G, max_file: '10G'}",
    "jetstream {max_mem: '1GB'}", "jetstream {max_mem: ''}", "jetstream {max_file: 1.5}", "jetstream {max_file: true}",
    "jetstream {sync_interval: always}", "jetstream {sync: Always}", "jetstream {sync_interval: '2m'}",
    "jetstream {sync_interval: 2m}", "jetstream {sync_interval: soon}", "jetstream {strict: false}",
    "jetstream {strict: 'no'}", "jetstream {max_fil: 1}", "jetstream {limits {}}", "jetstream {limits: 5}",
    "jetstream {limits {unknown: 1}}", "jetstream {limits {max_request_batch: 5, max_ack_pending: 7}}",
    "jetstream {limits {duplicate_window: '1m'}}", "jetstream {limits {duplicate_window: often}}",
    "jetstream {limits {MAX_ACK_PENDING: 0}}",
    # labels
    "server_tags: a", "server_tags: 'A, b'", "server_tags: [a, A, '', ' b' ]", "server_tags: []", "server_tags: [1 ]",
    "server_tags: {a: b}", "server_tags: 1", "server_metadata: {a: '', B: C, a: d}", "server_metadata: {}",
    "server_metadata: {a: 1}", "server_metadata: {a: [b ]}", "server_metadata: [a ]", "server_metadata: a",
    # keys that nobody knows
    "foo: 1", "foo: 1\nbar: 2", "foo: 1\nport: $foo", "ports: 4222", "included: x", "include: x",
]  # fmt: skip

DIFFERENT = {
    "config-strict": [
        "max_payload: 128MB", "server_name:", "server_name: ,", "{port: 4222\n", "port: 1\nhost: a}\ndebug: true",
        "port: 70000", "port: -2", "max_payload: -1", "jetstream {max_mem: -2}", "ping_interval: '-1s'",
        "max_closed_clients: -1", "no_auth_user: x", "authorization {users: [{user: a}]}\nno_auth_user: b",
    ],
    "config-lenient": ["l: [1,2]\nport: $l\nport: 1", "jetstream {sync: interval}", "jetstream {sync: never}"],
    "config-unserved": [
        "cluster {}", "gateway {name: x}", "leafnodes {}", "websocket {port: 1, no_tls: true}", "mqtt {port: 1}",
        "no_sublist_cache: true", "proxy_protocol: true", "prof_port: 65432", "jetstream {key: abc}",
        "jetstream {max_concurrent_io: 8}", "write_timeout: retry",
    ],
}  # fmt: skip
"""By row: files that one server takes and the other refuses."""
