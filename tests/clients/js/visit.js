// One visit of nats.js to a server: node visit.js PACKAGES < SPEC
//
// SPEC is one of ways.py as JSON, PACKAGES the directory where package.json was installed. Prints what was done there
// (`done`), or what kept it out (`refused`), as one line of JSON. Exit code 1 is a visit that broke off inside.

"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { createRequire } = require("node:module");

const load = createRequire(path.resolve(process.argv[2], "package.json"));
const { connect, credsAuthenticator, headers, nkeyAuthenticator, wsconnect } = load("@nats-io/transport-node");
const { AckPolicy, jetstream, jetstreamManager, StorageType } = load("@nats-io/jetstream");
const { Kvm } = load("@nats-io/kv");
const WebSocket = load("ws");

const bytes = (text) => new TextEncoder().encode(text);
const read = (file) => (file ? fs.readFileSync(file) : undefined);

function authentication(shown) {
  if (shown.seed) {
    return { authenticator: nkeyAuthenticator(bytes(shown.seed)) };
  }
  if (shown.creds) {
    return { authenticator: credsAuthenticator(bytes(shown.creds)) };
  }
  return { ...shown };
}

function enter(spec, told) {
  const options = {
    servers: spec.url,
    name: spec.name,
    reconnect: false,
    ...authentication(spec.shown),
  };
  if (spec.url.startsWith("ws")) {
    // A browser trusts what it trusts; here the authority of the tests is given to the socket.
    const tls = { ca: read(spec.ca), cert: read(spec.cert), key: read(spec.key) };
    // nats.js says "connection refused" whatever the socket says, so that is asked.
    const wsFactory = async (url) => {
      const socket = new WebSocket(url, tls);
      socket.on("error", (error) => told.push(error));
      return { socket, encrypted: url.startsWith("wss:") };
    };
    return wsconnect({ ...options, wsFactory });
  }
  if (spec.ca) {
    options.tls = { caFile: spec.ca, certFile: spec.cert, keyFile: spec.key, handshakeFirst: spec.first === true };
  }
  return connect(options);
}

function header() {
  const found = headers();
  found.set("X-Header", "a header");
  return found;
}

async function first(subscription) {
  for await (const message of subscription) {
    return message;
  }
  throw new Error("the subscription ended");
}

async function messages(client, name) {
  const heard = client.subscribe(`${name}.said`, { max: 1 });
  client.publish(`${name}.said`, "a body", { headers: header() });
  const message = await first(heard);
  client.subscribe(`${name}.asked`, { callback: (_, request) => request.respond(`asked: ${request.string()}`) });
  const reply = await client.request(`${name}.asked`, "a question");
  return { message: [message.string(), message.headers.get("X-Header")], reply: reply.string() };
}

async function streams(client, name) {
  const manager = await jetstreamManager(client);
  await manager.streams.add({ name, subjects: [`${name}.stored`], storage: StorageType.File });
  await manager.consumers.add(name, { durable_name: "puller", ack_policy: AckPolicy.Explicit });
  const js = jetstream(client);
  const published = await js.publish(`${name}.stored`, "first", { headers: header() });
  const puller = await js.consumers.get(name, "puller");
  const message = await first(await puller.fetch({ max_messages: 1 }));
  await message.ackAck();
  const info = await puller.info();
  await manager.streams.delete(name);
  return {
    stored: [published.seq, message.string(), message.headers.get("X-Header")],
    acknowledged: [info.ack_floor.stream_seq, info.num_ack_pending],
  };
}

async function buckets(client, name) {
  const bucket = await new Kvm(client).create(name, { storage: StorageType.File });
  await bucket.put("key", "one");
  const entry = await bucket.get("key");
  await bucket.destroy();
  return { value: [entry.string(), entry.revision] };
}

async function visit(spec) {
  const told = [];
  let client;
  try {
    client = await enter(spec, told);
  } catch (last) {
    const error = told[0] ?? last;
    return { refused: `${error.name}: ${error.code ?? ""} ${error.message}` };
  }
  const who = (await client.request("$SYS.REQ.USER.INFO")).json().data;
  const done = {
    who: [who.user, who.account],
    ...(await messages(client, spec.name)),
    ...(await streams(client, spec.name)),
    ...(await buckets(client, spec.name)),
  };
  await client.close();
  return { done };
}

visit(JSON.parse(fs.readFileSync(0, "utf8"))).then(
  (outcome) => console.log(JSON.stringify(outcome)),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
