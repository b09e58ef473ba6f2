"""Small configuration files for `-t`, each with the row of docs/differences.md where the two servers disagree.

SAME: both take the file, with the same digest, or both refuse it. The variables N, S, L and E are in the
environment; `part.conf` lies beside the file.
"""

from __future__ import annotations

from millpond.accounts import claims, jwt
from millpond.accounts.signing import KeyPair
from millpond.base.ids import ACCOUNT_PREFIX, CURVE_PREFIX, OPERATOR_PREFIX, encode_key

_OPERATOR, _ACCOUNT = KeyPair(OPERATOR_PREFIX, bytes(32)), KeyPair(ACCOUNT_PREFIX, bytes(32))
XKEY = encode_key(CURVE_PREFIX, bytes(32))
TOKENS = [
    jwt.encode(kind(subject=key.public, nats=body), _OPERATOR, 1) for kind, key, body in (
        (claims.OperatorClaims, _OPERATOR, claims.OperatorBody(system_account=_ACCOUNT.public)),
        (claims.AccountClaims, _ACCOUNT, claims.AccountBody(limits=claims.Limits(exports=-1, imports=-1))),
    )
]  # fmt: skip
"""An operator's and an account's; the same in every run."""
OPERATED = f"operator: {TOKENS[0]}\n"
CALLOUT = f"issuer: {_ACCOUNT.public}, auth_users: [a]"

ENVIRONMENT = {"N": "4333", "S": "hello", "L": "[1, 2 ]", "E": "", "CYCLE": "$CYCLE"}
PART = 'debug: true\nmax_pending: 32m\n'

SAME = [
    # operators and callouts
    f"{OPERATED}resolver: MEMORY", f"{OPERATED}resolver: mem", f"operators: [{TOKENS[0]}]\nresolver: MEMORY",
    f"{OPERATED}resolver: NOTHING", f"{OPERATED}resolver: 5", "operator: garbage", "operator: eyJ", "operator: 5",
    f"operator: {TOKENS[1]}\nresolver: MEMORY", f"{OPERATED}resolver: URL(http://localhost:1/jwt)",
    f"{OPERATED}resolver {{ type: full, dir: d }}", f"{OPERATED}resolver {{ type: full }}",
    f"{OPERATED}resolver {{ type: cache, dir: d, ttl: '2m' }}",
    f"{OPERATED}resolver {{ type: full, dir: d, ttl: '2m' }}",
    f"{OPERATED}resolver {{ type: full, dir: d, timeout: '0s' }}",
    f"{OPERATED}resolver {{ type: full, dir: d, timeout: '1ms' }}",
    f"{OPERATED}resolver {{ type: cache, dir: d, interval: '2m' }}", f"{OPERATED}resolver {{ type: other, dir: d }}",
    f"{OPERATED}resolver {{ type: cache, dir: d, allow_delete: true }}", f"{OPERATED}resolver {{ type: mem }}",
    f"{OPERATED}resolver {{ type: full, dir: d, hard_delete: true }}",
    f"{OPERATED}resolver {{ type: full, dir: d, hard_delete: true, allow_delete: true, limit: 5, interval: '1m' }}",
    f"{OPERATED}resolver: MEMORY\nresolver_preload {{ {_ACCOUNT.public}: {TOKENS[1]} }}",
    f"{OPERATED}resolver: MEMORY\nresolver_preload {{ {_ACCOUNT.public}: {TOKENS[0]} }}",
    f"{OPERATED}resolver: MEMORY\nresolver_preload: 5", f"{OPERATED}resolver: MEMORY\nresolver_preload {{ A: 5 }}",
    f"{OPERATED}resolver: MEMORY\nresolver_pinned_accounts: [{_ACCOUNT.public}]",
    f"trusted_keys: [{_OPERATOR.public}]", f"trusted: {_OPERATOR.public}\nresolver: MEMORY",
    f"authorization {{ auth_callout {{ {CALLOUT} }} }}",
    f"authorization {{ auth_callout {{ {CALLOUT}, xkey: {XKEY} }} }}",
    "authorization { auth_callout { auth_users: [a] } }", f"authorization {{ auth_callout {{ {CALLOUT}, xkey: x }} }}",
    f"authorization {{ auth_callout {{ issuer: {_ACCOUNT.public} }} }}", "authorization { auth_callout: 5 }",
    "authorization { auth_callout { issuer: x, auth_users: [a] } }",
    f"authorization {{ auth_callout {{ {CALLOUT}, x: 5 }} }}",
    f"accounts {{ A {{}}, B {{}} }}\nauthorization {{ auth_callout {{ {CALLOUT}, acc: A, allowed_accounts: [B] }} }}",
    f"authorization {{ auth_callout {{ {CALLOUT}, account: A, allowed_accounts: [B] }} }}",
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
    "proxy_protocol: true", "proxy_protocol: 1",
    "ping_max: 3", "write_deadline: 2s", "write_deadline: '1m30.5s'", "write_deadline: 5", "write_timeout: close",
    "write_timeout: never", "write_timeout: retry", "write_timeout: default", "write_timeout: 5",
    "default_js_domain {}", "default_js_domain: D", "default_js_domain {A: 5}",
    "accounts {A {}}\ndefault_js_domain {A: D}", "feature_flags {}", "feature_flags {js_raft_delete_range: false}",
    "feature_flags {js_ack_fc_v2: false, unknown: true}", "feature_flags {unknown: 5}", "feature_flags: true",
    "connect_error_reports: 5", "reconnect_error_reports: x", "jetstream {extension_hint: no_extend}",
    "jetstream {unique_tag: 'az'}", "jetstream {meta_compact: 5, meta_compact_size: 1M, meta_compact_sync: true}",
    "jetstream {meta_compact: -5}", "jetstream {max_outstanding_catchup: 64M}", "jetstream {limits {max_ha_assets: 5}}",
    "trace_verbose: true", "logtime_utc: true", "log_size_limit: 10MB", "log_max_num: 3",
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
    *(f"jetstream {{limits {{batch: {value}}}}}" for value in (
        "{}", "5", "{max_msgs: 10}", "{max_msgs: x}", "{max_msgs: -1}", "{timeout: '1s'}", "{timeout: 1}",
        "{timeout: soon}", "{max_inflight_per_stream: 5, max_inflight_total: 0}", "{nothing: 5}", "{Max_Msgs: 5}",
    )),
    "jetstream {limits {duplicate_window: '1m'}}", "jetstream {limits {duplicate_window: often}}",
    "jetstream {limits {MAX_ACK_PENDING: 0}}",
    # labels
    "server_tags: a", "server_tags: 'A, b'", "server_tags: [a, A, '', ' b' ]", "server_tags: []", "server_tags: [1 ]",
    "server_tags: {a: b}", "server_tags: 1", "server_metadata: {a: '', B: C, a: d}", "server_metadata: {}",
    "server_metadata: {a: 1}", "server_metadata: {a: [b ]}", "server_metadata: [a ]", "server_metadata: a",
    # TLS; the files lie beside this one: two pairs, an authority, and one without PEM in it
    "tls {cert_file: cert.pem, key_file: key.pem}", "tls {cert_file: cert.pem}", "tls {key_file: key.pem}",
    "tls {cert_file: nothing.pem, key_file: key.pem}", "tls {cert_file: cert.pem, key_file: nothing.pem}",
    "tls {cert_file: cert.pem, key_file: key2.pem}", "tls {cert_file: garbage.pem, key_file: key.pem}",
    "tls {cert_file: cert.pem, key_file: garbage.pem}", "tls {cert_file: key.pem, key_file: cert.pem}",
    "tls: 5", "tls {cert_file: 5, key_file: key.pem}", "tls {cert_fil: cert.pem}",
    *(f"tls {{cert_file: cert.pem, key_file: key.pem, {more}}}" for more in (
        "ca_file: ca.pem", "ca_file: nothing.pem", "ca_file: garbage.pem", "ca_file: 5",
        "verify: true, ca_file: ca.pem",
        "verify: yes", "verify: 1", "verify_and_map: true", "verify_and_map: 1", "insecure: true", "insecure: 1",
        "verify_cert_and_check_known_urls: true", "verify_cert_and_check_known_urls: false",
        "timeout: 2", "timeout: 0.5", "timeout: '3s'", "timeout: soon", "timeout: true", "timeout: 0",
        "cipher_suites: []", "cipher_suites: [TLS_AES_128_GCM_SHA256 ]", "cipher_suites: [NO_SUCH ]",
        "cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 ]", "cipher_suites: [5 ]", "cipher_suites: 5",
        "cipher_suites: [TLS_RSA_WITH_AES_128_GCM_SHA256 ]",
        "cipher_suites: [TLS_RSA_WITH_AES_128_GCM_SHA256 ], allow_insecure_cipher_suites: true",
        "allow_insecure_cipher_suites: 1", "curve_preferences: []", "curve_preferences: [CurveP256 ]",
        "curve_preferences: [NoSuch ]", "curve_preferences: [CurveP384, X25519 ]", "curve_preferences: X25519",
        "min_version: '1.2'", "min_version: '1.3'", "min_version: '1.1'", "min_version: '1.4'", "min_version: 1.2",
        "handshake_first: true", "handshake_first: auto", "handshake_first: 'on'", "first: '300ms'", "immediate: false",
        "handshake_first: soon", "handshake_first: 5", "handshake_first: auto_fallback", "handshake_first: 'Off'",
        "connection_rate_limit: 5", "connection_rate_limit: many", "pinned_certs: []", "pinned_certs: 5",
        "pinned_certs: [abc ]", "pinned_certs: ['" + "aB" * 32 + "' ]",
        "certs: [{cert_file: cert2.pem, key_file: key2.pem}]",
        "ocsp_peer: false", "nothing: 5",
    )),
    "resolver_tls: 5", "resolver_tls {}", "resolver_tls {cert_fil: cert.pem}",
    *(f"resolver_tls {{{more}}}" for more in (
        "ca_file: ca.pem", "ca_file: nothing.pem", "ca_file: garbage.pem", "insecure: true", "insecure: 1",
        "cert_file: cert.pem, key_file: key.pem", "cert_file: cert.pem", "key_file: key.pem", "timeout: 2",
        "cert_file: cert.pem, key_file: key2.pem", "cert_file: nothing.pem, key_file: key.pem",
        "min_version: '1.3'", "min_version: '1.1'", "cipher_suites: [NO_SUCH ]", "curve_preferences: [CurveP256 ]",
        "cipher_suites: [TLS_RSA_WITH_AES_128_GCM_SHA256 ]", "verify: true", "verify: true, ca_file: ca.pem",
        "verify_cert_and_check_known_urls: true", "handshake_first: true", "pinned_certs: [abc ]", "ocsp_peer: false",
        "certs: [{cert_file: cert2.pem, key_file: key2.pem}]", "allow_insecure_cipher_suites: true",
    )),
    f"{OPERATED}resolver: URL(https://localhost:1/jwt)\nresolver_tls {{ca_file: ca.pem}}",
    "tls {certs: [{cert_file: cert.pem, key_file: key.pem}, {cert_file: cert2.pem, key_file: key2.pem}]}",
    "tls {certs: [{cert_file: cert.pem, key_file: key2.pem}]}", "tls {certs: [{cert_file: cert.pem}]}",
    "tls {certs: [{cert_file: cert.pem, key_file: key.pem, ca_file: x}]}", "tls {certs: 5}", "tls {certs: [5 ]}",
    "tls {certificates: [{cert_file: cert.pem, key_file: 5}]}", "tls {certs: [{cert_file: x.pem, key_file: key.pem}]}",
    "allow_non_tls: true", "allow_non_tls: false", "allow_non_tls: 1", "https_port: no",
    "tls {cert_file: cert.pem, key_file: key.pem}\nhttps: 'localhost:8443'",
    # message traces
    *(f"accounts {{A {{{key}: {value}}}}}" for key in ("msg_trace", "trace_dest") for value in (
        "a.b", "'a.*'", "a..b", "''", "5", "[a ]", "true", "{dest: a.b}", "{DEST: a, Sampling: 5}",
        "{dest: a, sampling: 0}", "{dest: a, sampling: 100}", "{dest: a, sampling: 101}", "{dest: a, sampling: '50%'}",
        "{dest: a, sampling: 50%}", "{dest: a, sampling: '50'}", "{dest: a, sampling: 'x%'}",
        "{dest: a, sampling: '%'}", "{dest: a, sampling: 5.5}",
        "{dest: a, sampling: true}", "{dest: a, sampling: '+5'}", "{dest: a, sampling: '-5'}",
        "{dest: 5}", "{dest: 'a b'}", "{dest: a, nobody: knows}", "{}", "{sampling: 5}",
    )),
    *(f"accounts {{A {{exports: [{{{kind}: a, allow_trace: {value}}}]}}}}"
      for kind in ("stream", "service") for value in ("true", "false", "yes")),
    *(f"accounts {{A {{exports: [{{{kind}: a}}]}}, B {{imports: [{{{kind}: {{account: A, subject: a}}, "
      f"allow_trace: {value}}}]}}}}" for kind in ("stream", "service") for value in ("true", "false")),
    # latencies of services
    *(f"accounts {{A {{exports: [{{service: 'a.*', latency: {value}}}]}}}}" for value in (
        "b", "'b.c'", "'b.*'", "''", "'a.b'", "5", "[b ]", "true", "{}", "{subject: b}", "{Subject: b}",
        "{subject: b, sampling: 50}", "{subject: b, sampling: '50%'}", "{subject: b, sampling: 50%}",
        "{subject: b, sampling: headers}", "{subject: b, sampling: ' Headers '}", "{subject: b, sampling: '50'}",
        "{subject: b, sampling: 0}", "{subject: b, sampling: 1}", "{subject: b, sampling: 100}",
        "{subject: b, sampling: 101}", "{subject: b, sampling: '0%'}", "{subject: b, sampling: 'x%'}",
        "{subject: b, sampling: ''}", "{subject: b, sampling: 5.5}", "{subject: b, sampling: true}",
        "{subject: b, sampling: '+5'}", "{subject: b, sampling: '5 %'}", "{subject: b, sampling: '1_0'}",
        "{subject: 5}", "{sampling: 5}",
        "{subject: b, more: 5}",
    )),
    "accounts {A {exports: [{stream: a, latency: b}]}}", "accounts {A {exports: [{latency: b, stream: a}]}}",
    *(f"accounts {{A {{exports: [{{service: a, latency: b, response: {kind}}}]}}}}"
      for kind in ("single", "stream", "chunked")),
    "accounts {A {exports: [{service: b}, {service: a, latency: b}]}}",
    "accounts {A {exports: [{service: a, latency: b}, {service: b}]}}",
    # WebSocket
    "websocket {}", "websocket: 5", "ws {port: 1, no_tls: true}", "websocket {listen: ':1', no_tls: true}",
    "websocket {host: x, no_tls: true}", "websocket {port: x}", "websocket {port: 1, no_tls: yes}",
    "websocket {port: 1, tls {cert_file: cert.pem, key_file: key.pem}}",
    "websocket {port: 1, tls {cert_file: cert.pem}}",
    *(f"websocket {{port: 1, no_tls: true, {more}}}" for more in (
        "same_origin: true", "same_origin: 1", "allowed_origins: 'http://a.b'", "origins: ['https://a:1', 'http://b' ]",
        "origin: [5 ]", "origin: 5", "compression: true", "compress: 1", "handshake_timeout: 2", "ping_interval: '10s'",
        "handshake_timeout: '2s'", "handshake_timeout: soon", "handshake_timeout: true", "ping_interval: soon",
        "user_cookie: a", "pass_cookie: b", "token_cookie: c", "jwt_cookie: 5", "user_cookie: 5", "nobody: knows",
        "advertise: 'a:1'", "advertise: 5", "headers: {A: b}", "headers: {A: 5}", "headers: 5", "no_auth_user: 5",
        "authorization {user: a, password: b, timeout: 1.5}", "authorization {token: t}", "authorization {nobody: a}",
        "authentication {user: a}", "authorization: 5",
    )),
    # keys that nobody knows
    "foo: 1", "foo: 1\nbar: 2", "foo: 1\nport: $foo", "ports: 4222", "included: x", "include: x",
]  # fmt: skip

DIFFERENT = {
    "config-strict": [
        "max_payload: 128MB", "server_name:", "server_name: ,", "{port: 4222\n", "port: 1\nhost: a}\ndebug: true",
        "port: 70000", "port: -2", "max_payload: -1", "jetstream {max_mem: -2}", "ping_interval: '-1s'",
        "websocket {port: 1}", "websocket {port: 1, no_tls: true, jwt_cookie: j}",
        "websocket {port: 1, no_tls: true, origin: 'ftp://a'}", "websocket {port: 1, no_tls: true, headers: {Host: x}}",
        "websocket {port: 1, no_tls: true, no_auth_user: x}",
        "websocket {port: 1, no_tls: true, authorization {user: a}}\nauthorization {users: [{user: b}]}",
        "tls {}", "tls {verify: true}", "https: 8443", "http_port: 1\nhttps_port: 2",
        "tls {cert_file: cert.pem, key_file: key.pem, timeout: -1}",
        "accounts {A {exports: [{service: a, latency: b}]}}\nno_system_account: true",
        "max_closed_clients: -1", "no_auth_user: x", "authorization {users: [{user: a}]}\nno_auth_user: b",
        "default_js_domain {A: D}",
    ],
    "config-lenient": [
        "l: [1,2]\nport: $l\nport: 1", "jetstream {sync: interval}", "jetstream {sync: never}", "admin_socket: a.sock",
        "authorization { oidc { issuer: 'https://a', audience: b }, users: [ { oidc: c } ] }",
    ],
    "batch-limits": ["jetstream {limits {batch: {max_msgs: 1001}}}"],
    "config-unserved": [
        "cluster {}", "gateway {name: x}", "leafnodes {}", "mqtt {port: 1}",
        "no_sublist_cache: true", "prof_port: 65432", "jetstream {key: abc}",
        "jetstream {max_concurrent_io: 8}", "feature_flags {js_ack_fc_v2: true}",
    ],
}  # fmt: skip
"""By row: files that one server takes and the other refuses."""
