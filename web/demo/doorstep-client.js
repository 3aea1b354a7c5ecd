// SPDX-License-Identifier: Apache-2.0
// A client of the protocol doorstep.v1 (docs/protocol.md) without dependencies: an ES module for browsers, and for Node 22 and later.
// It reconnects by itself, collects acks into few frames, and keeps what was acked and not receipted until the server says it is durable.
//
//   const client = new DoorstepClient({ url: "wss://example.org/v1/ws", token: async () => fetchToken() });
//   client.addEventListener("message", ({ detail }) => { show(detail); client.ack(detail); });
//   client.connect();
//
// Events, each with a `detail`:
//   state      { state, retryAt, attempt, code, reason }  state: "idle", "connecting", "connected", "waiting" (until retryAt), "closed" (for good)
//   connected  the server's `connected` object
//   message    a delivery; the application acks it, at once or later
//   duplicate  a delivery of what was acked already; the client acks it again by itself
//   receipt    { ids }  of messages acked here: these acks are durable
//   elsewhere  { ids }  messages that another device acked
//   floor      { address: seq }  everything of the address up to here is settled, by whatever device
//   counts, gap, joined, left, disconnect  the server's objects
//   error      { code, message, temporary }

const IDS_A_FRAME = 500; // 22 characters each: far below the server's limit of a frame
const SEQS_A_REQUEST = 100;
const PONG_TIMEOUT_MS = 10000;

const DEFAULTS = {
  url: "",
  token: null, // text, or a function that returns text or a promise of it, asked before every try
  device: null,
  counts: true,
  ackDelayMs: 20, // acks of this time go out as one frame
  backoffBaseMs: 500,
  backoffMaxMs: 30000,
  stableMs: 5000, // a session that stood this long makes the next backoff start anew
  connectTimeoutMs: 15000,
  WebSocket: globalThis.WebSocket,
  random: Math.random,
};

export class DoorstepClient extends EventTarget {
  #options;
  #state = { state: "idle", retryAt: 0, attempt: 0, code: 0, reason: "" };
  #socket = null;
  #generation = 0; // of the socket: what an older one still reports is ignored
  #failures = 0;
  #hint = null; // the server's `disconnect` object, until its close arrives
  #timers = { retry: 0, stable: 0, silence: 0, ack: 0 };
  #silenceMs = 0;
  #nextRequest = 1;
  #requests = new Map(); // request id -> { resolve, reject }
  #resume = new Map(); // address -> highest seq seen
  #sent = new Map(); // address -> Map(message id -> { seq, acked, byId }): what this connection was sent and nobody has settled
  #top = new Map(); // address -> the highest seq that this connection was sent; what comes below it later is acked by id
  #unreceipted = new Map(); // message id -> { address, seq }: acked, and not yet known to be durable
  #ackQueue = new Set(); // message ids for the next ack frame

  constructor(options) {
    super();
    this.#options = { ...DEFAULTS, ...options };
  }

  get state() { return this.#state; }
  /** The highest seq seen of each address. */
  get resume() { return Object.fromEntries(this.#resume); }

  connect() {
    if (["connecting", "connected"].includes(this.#state.state)) return;
    this.#failures = 0;
    this.#open();
  }

  /** While waiting for the next try: tries at once. */
  retryNow() {
    if (this.#state.state === "waiting") this.#open();
  }

  /** Ends the session and stays away. Acks that wait for the next frame go out before. */
  close() {
    this.#flushAcks();
    this.#drop(1000);
    this.#become("idle", { reason: "" });
  }

  /** The application has this message ({ id, address, seq }), from this connection or an earlier one. */
  ack(message) {
    const entry = this.#sent.get(message.address)?.get(message.id);
    if (entry) entry.acked = true;
    this.#unreceipted.set(message.id, { address: message.address, seq: message.seq });
    this.#queueAck(message.id);
  }

  /** It could not be handled: the server sends it again later. */
  nack(message, reason) {
    this.#send({ nack: { ids: [message.id], reason } });
  }

  // What the person did, for all of their devices; a promise that is kept once the server has it durably. `what` is "all", or seqs up to which
  // ({ address: seq }), or single messages (an array of { address, seq }).
  read(what) { return this.#mark("read", what); }
  unread(what) { return this.#mark("unread", what); }
  seen(what = "all") { return this.#mark("seen", what); }
  archive(what) { return this.#mark("archive", what); }
  unarchive(what) { return this.#mark("unarchive", what); }

  /** { messages, more, gap? }. `query`: after, before (seqs), since, until (ms since 1970), limit. With before or until alone: the newest below. */
  history(address, query = {}) { return this.#request({ history: { address, ...query } }).then((reply) => reply.history); }
  refresh(token) { return this.#request({ refresh: { token } }); }

  // ---- the connection

  async #open() {
    this.#drop(1000);
    const generation = ++this.#generation;
    const current = () => generation === this.#generation;
    this.#become("connecting", {});
    let token = null;
    try {
      token = typeof this.#options.token === "function" ? await this.#options.token() : this.#options.token;
    } catch (error) {
      if (current()) this.#lost(0, `no token: ${error.message}`);
      return;
    }
    if (!current()) return;
    let socket;
    try {
      socket = new this.#options.WebSocket(this.#options.url, ["doorstep.v1"]);
    } catch (error) {
      return this.#become("closed", { reason: error.message }); // not a WebSocket URL: trying again would not help
    }
    this.#socket = socket;
    this.#hint = null;
    this.#silenceMs = 0;
    this.#timers.silence = setTimeout(() => this.#abandon("no answer"), this.#options.connectTimeoutMs);
    socket.onopen = () => current() && this.#introduce(token);
    socket.onmessage = ({ data }) => current() && this.#receive(data);
    socket.onclose = ({ code, reason }) => current() && this.#lost(code, reason);
  }

  #introduce(token) {
    const connect = { counts: this.#options.counts };
    if (token) connect.token = token;
    if (this.#options.device) connect.device = this.#options.device;
    if (this.#resume.size) connect.resume = this.resume;
    this.#request({ connect }).catch((error) => error.code && this.#emit("error", error)); // its close says whether to come back
  }

  #welcome(connected) {
    this.#silenceMs = (connected.ping_interval_ms || 25000) + 15000;
    this.#timers.stable = setTimeout(() => { this.#failures = 0; }, this.#options.stableMs);
    this.#become("connected", {});
    this.#emit("connected", connected);
    this.#settleFloors(connected.addresses ?? {});
    // What was acked on an earlier connection is repeated as ids: up_to speaks only of what this one was sent.
    for (const id of this.#unreceipted.keys()) this.#ackQueue.add(id);
    this.#flushAcks();
  }

  /** Forgets the socket and everything that was true of it only. */
  #drop(code) {
    this.#generation++;
    Object.values(this.#timers).forEach(clearTimeout);
    this.#timers.ack = 0;
    const socket = this.#socket;
    this.#socket = null;
    this.#sent.clear();
    this.#top.clear();
    this.#ackQueue.clear();
    const requests = [...this.#requests.values()];
    this.#requests.clear();
    requests.forEach(({ reject }) => reject({ code: "", message: "the connection ended", temporary: true }));
    if (socket && socket.readyState < 2) socket.close(code);
  }

  /** A connection that says nothing any more: its close would come minutes later, or never. */
  #abandon(reason) {
    this.#lost(1006, reason);
  }

  #lost(code, reason) {
    const hint = this.#hint;
    this.#hint = null;
    this.#drop(1000);
    const forGood = hint ? hint.reconnect === false : code === 1009 || (code >= 3500 && code <= 3999);
    const detail = { code, reason: hint?.reason || reason || "" };
    if (forGood) return this.#become("closed", detail);
    // Full jitter; a server that restarts has spread its clients itself.
    const ceiling = Math.min(this.#options.backoffMaxMs, this.#options.backoffBaseMs * 2 ** this.#failures);
    const delay = hint?.delay_ms ?? this.#options.random() * ceiling;
    this.#failures = Math.min(this.#failures + 1, 30);
    this.#timers.retry = setTimeout(() => this.#open(), delay);
    this.#become("waiting", { ...detail, retryAt: Date.now() + delay });
  }

  #become(state, detail) {
    this.#state = { state, retryAt: 0, code: 0, reason: "", ...detail, attempt: this.#failures };
    this.#emit("state", this.#state);
  }

  #watchSilence() {
    if (!this.#silenceMs) return;
    clearTimeout(this.#timers.silence);
    this.#timers.silence = setTimeout(() => {
      this.#request({ ping: {} }).catch(() => {}); // any frame restarts the watch, this reply too
      this.#timers.silence = setTimeout(() => this.#abandon("the server went silent"), PONG_TIMEOUT_MS);
    }, this.#silenceMs);
  }

  // ---- frames

  #send(object) {
    if (this.#socket?.readyState !== 1) return false;
    this.#socket.send(JSON.stringify(object));
    return true;
  }

  #request(object) {
    return new Promise((resolve, reject) => {
      const id = this.#nextRequest++;
      this.#requests.set(id, { resolve, reject });
      if (this.#send({ id, ...object })) return;
      this.#requests.delete(id);
      reject({ code: "", message: "not connected", temporary: true });
    });
  }

  #mark(request, what) {
    if (what === "all") return this.#request({ [request]: { all: true } });
    // One address a request: each has an owner of its own who answers.
    if (!Array.isArray(what)) return Promise.all(Object.entries(what).map(([address, seq]) => this.#request({ [request]: { up_to: { [address]: seq } } })));
    const seqs = new Map();
    for (const { address, seq } of what) seqs.set(address, [...(seqs.get(address) ?? []), seq]);
    const parts = [];
    for (const [address, all] of seqs)
      for (let i = 0; i < all.length; i += SEQS_A_REQUEST) parts.push(this.#request({ [request]: { seqs: { [address]: all.slice(i, i + SEQS_A_REQUEST) } } }));
    return Promise.all(parts);
  }

  #receive(text) {
    for (const line of text.split("\n")) {
      if (line.trim() === "") continue;
      let object;
      try {
        object = JSON.parse(line);
      } catch {
        this.#emit("error", { code: "malformed", message: "the server sent something that is not JSON", temporary: false });
        continue;
      }
      this.#handle(object);
      if (!this.#socket) return; // a listener closed the connection
    }
    this.#watchSilence();
  }

  #handle(object) {
    if (object.connected) this.#welcome(object.connected); // here, not in the request's reply: messages may follow in the same frame
    if (object.message) this.#delivered(object.message);
    if (object.receipt) {
      this.#settle(object.receipt.ids ?? []);
      this.#settleFloors(object.receipt.up_to ?? {});
    }
    if (object.disconnect) this.#hint = object.disconnect;
    for (const name of ["counts", "gap", "joined", "left", "disconnect"]) if (object[name]) this.#emit(name, object[name]);
    const request = this.#requests.get(object.id);
    if (request) {
      this.#requests.delete(object.id);
      if (object.error) request.reject(object.error);
      else request.resolve(object);
    } else if (object.error) {
      this.#emit("error", object.error);
    } else if (Object.keys(object).length === 0) {
      this.#send({});
    }
  }

  #delivered(message) {
    const { address, seq, id } = message;
    this.#resume.set(address, Math.max(this.#resume.get(address) ?? 0, seq));
    const acked = this.#unreceipted.has(id);
    if (!this.#sent.has(address)) this.#sent.set(address, new Map());
    const entries = this.#sent.get(address);
    const top = this.#top.get(address) ?? 0;
    const byId = entries.get(id)?.byId ?? seq < top;
    this.#top.set(address, Math.max(top, seq));
    entries.set(id, { seq, acked, byId });
    if (acked) this.#queueAck(id);
    this.#emit(acked ? "duplicate" : "message", message);
  }

  // ---- acks

  #queueAck(id) {
    this.#ackQueue.add(id);
    if (!this.#timers.ack) this.#timers.ack = setTimeout(() => this.#flushAcks(), this.#options.ackDelayMs);
  }

  /**
   * One frame for all acks that wait. Cumulative up to the first message that this connection was sent and the application still has in
   * hand (nacked ones too: they come again, and an up_to on its way would cover them); by id above it, what came below
   * one that came before, and what an earlier connection brought.
   */
  #flushAcks() {
    clearTimeout(this.#timers.ack);
    this.#timers.ack = 0;
    if (this.#state.state !== "connected" || this.#ackQueue.size === 0) return;
    const upTo = new Map();
    const covered = [];
    const ids = [];
    for (const id of this.#ackQueue) {
      const ack = this.#unreceipted.get(id);
      if (!ack) continue;
      const entries = this.#sent.get(ack.address);
      if (entries?.has(id) && !entries.get(id).byId && ack.seq < this.#firstUnacked(entries)) {
        upTo.set(ack.address, Math.max(upTo.get(ack.address) ?? 0, ack.seq));
        covered.push(id);
      } else {
        ids.push(id);
      }
    }
    this.#ackQueue.clear();
    if (upTo.size) this.#sendAck({ up_to: Object.fromEntries(upTo) }, covered);
    for (let i = 0; i < ids.length; i += IDS_A_FRAME) {
      const part = ids.slice(i, i + IDS_A_FRAME);
      this.#sendAck({ ids: part }, part);
    }
  }

  #firstUnacked(entries) {
    let first = Infinity;
    for (const { seq, acked } of entries.values()) if (!acked && seq < first) first = seq;
    return first;
  }

  /** With a request id, because a floor alone never shows that an ack above a hole is durable. */
  #sendAck(ack, ids) {
    this.#request({ ack }).then(
      () => this.#settle(ids),
      (error) => {
        if (error.code) this.#emit("error", error);
        if (error.code && error.temporary) setTimeout(() => ids.forEach((id) => this.#unreceipted.has(id) && this.#queueAck(id)), 1000);
      }, // without a code the connection ended: the next one repeats it
    );
  }

  #settleFloors(floors) {
    const ids = [];
    for (const [address, floor] of Object.entries(floors)) {
      for (const [id, ack] of this.#unreceipted) if (ack.address === address && ack.seq <= floor) ids.push(id);
      const entries = this.#sent.get(address) ?? new Map();
      for (const [id, { seq }] of entries) if (seq <= floor) entries.delete(id);
    }
    this.#settle(ids);
    this.#emit("floor", floors);
  }

  #settle(ids) {
    const elsewhere = ids.filter((id) => !this.#unreceipted.has(id) && [...this.#sent.values()].some((entries) => entries.has(id)));
    const settled = ids.filter((id) => this.#unreceipted.delete(id));
    for (const id of ids) {
      this.#ackQueue.delete(id);
      for (const entries of this.#sent.values()) entries.delete(id);
    }
    if (settled.length) this.#emit("receipt", { ids: settled });
    if (elsewhere.length) this.#emit("elsewhere", { ids: elsewhere });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
