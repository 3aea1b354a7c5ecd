// SPDX-License-Identifier: Apache-2.0
// The demo page: shows what doorstep-client.js receives and what became of its acks. Nothing here is needed to use the client.
import { DoorstepClient } from "./doorstep-client.js";

const ROWS_MAX = 300;
const PREVIEW_MAX = 240;
const TOKEN_KEY = "doorstep.token";

const $ = (id) => document.getElementById(id);
const show = (element, text) => {
  element.textContent = text;
  element.hidden = text === "";
};

// ---- what the page knows

let client = null;
let user = "";
let trimmed = 0;
let invited = false;
const rows = new Map(); // message id -> what its row shows
const owed = new Map(); // message id -> message: received, and acked by nobody
const highest = new Map(); // address -> highest seq, for "Mark all read"
let arrived = []; // rows not yet in the page
let drawTimer = 0;

// ---- text

function duration(ms) {
  if (ms < 1) return "<1 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3600000) return `${Math.round(ms / 60000)} min`;
  if (ms < 172800000) return `${Math.round(ms / 3600000)} h`;
  return `${Math.round(ms / 86400000)} days`;
}

function shorten(text) {
  return text.length > PREVIEW_MAX ? `${text.slice(0, PREVIEW_MAX)}…` : text;
}

function preview(message) {
  if (message.body) return shorten(message.body);
  if (message.data !== undefined) return shorten(typeof message.data === "string" ? message.data : JSON.stringify(message.data));
  return message.data_base64 ? `${Math.floor(message.data_base64.length * 0.75)} bytes, not text` : "";
}

/** From the event's own time where it has one; clocks of two machines may differ. */
function arrival(message, receivedAt) {
  const at = new Date(receivedAt).toLocaleTimeString();
  const sent = Date.parse(message.time ?? "");
  if (Number.isNaN(sent)) return `arrived at ${at}`;
  const late = receivedAt - sent;
  return late < -1000 ? `arrived at ${at} (clocks differ)` : `arrived after ${duration(Math.max(late, 0))}`;
}

function progress(row) {
  if (row.state === "received") return "received, not acked";
  if (row.state === "acked") return "acked";
  return row.elsewhere ? "settled elsewhere" : `receipted in ${duration(row.receiptedAt - row.ackedAt)}`;
}

/** What the token itself says, for hints only: the server judges it. */
function claims(token) {
  try {
    const bytes = Uint8Array.from(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)) ?? {};
  } catch {
    return null;
  }
}

function whose(token) {
  const said = claims(token);
  if (token && !said) return "This does not look like a JWT (three parts with dots between them).";
  if (!said?.sub) return "";
  if (!said.exp) return `Token of ${said.sub}.`;
  const left = said.exp * 1000 - Date.now();
  return left > 0 ? `Token of ${said.sub}, good for ${duration(left)}.` : `Token of ${said.sub}, expired ${duration(-left)} ago.`;
}

function curlLine() {
  return [
    "curl http://127.0.0.1:9000/v1/events \\",
    "  -H 'Authorization: Bearer <api key>' \\",
    "  -H 'Content-Type: application/json' \\",
    "  -H 'ce-specversion: 1.0' -H 'ce-source: /demo' -H 'ce-type: greeting' \\",
    '  -H "ce-id: $(date +%s%N)" -H "ce-time: $(date -u +%FT%T.%3NZ)" \\',
    `  -H 'ce-touser: ${/^[\w.@-]+$/.test(user) ? user : "alice"}' -H 'ce-title: Hello' \\`,
    `  -d '{"from":"curl"}'`,
  ].join("\n");
}

// ---- drawing

/** Rows are drawn a batch at a time, so that a burst costs one layout. */
function scheduleDraw() {
  if (!drawTimer) drawTimer = setTimeout(draw, 16);
}

function draw() {
  drawTimer = 0;
  const list = $("messages");
  const batch = document.createDocumentFragment();
  for (const row of arrived.slice(-ROWS_MAX).reverse()) {
    if (!rows.has(row.message.id)) continue;
    row.element = $("row").content.firstElementChild.cloneNode(true);
    batch.append(row.element);
  }
  arrived = [];
  list.prepend(batch);
  while (rows.size > ROWS_MAX) {
    const [id, row] = rows.entries().next().value; // the oldest
    row.element?.remove();
    rows.delete(id);
    trimmed++;
  }
  for (const row of rows.values()) if (row.changed) drawRow(row);
  drawSummary();
}

function drawRow(row) {
  const { message, element } = row;
  const part = (name) => element.querySelector(`.${name}`);
  element.dataset.id = message.id;
  element.dataset.seq = message.seq;
  element.dataset.state = row.state;
  element.dataset.attempt = message.attempt;
  element.dataset.redelivered = message.redelivered;
  element.dataset.read = row.read;
  part("title").textContent = message.title || message.type;
  part("preview").textContent = preview(message);
  part("meta").textContent = [message.title ? message.type : "", message.subject, message.source, `${message.address} #${message.seq}`].filter(Boolean).join(" · ");
  part("attempt").textContent = `attempt ${message.attempt}`;
  part("redelivered").hidden = !message.redelivered;
  part("progress-text").textContent = progress(row);
  part("latency").textContent = arrival(message, row.receivedAt);
  part("read").textContent = row.read ? "Mark unread" : "Mark read";
  part("ack").setAttribute("aria-label", `Ack ${message.title || message.type}, ${message.seq}`);
  if (row.fresh) {
    element.classList.remove("fresh");
    void element.offsetWidth; // restarts the animation for a repeat
    element.classList.add("fresh");
  }
  row.fresh = false;
  row.changed = false;
}

function drawSummary() {
  const waiting = owed.size;
  const count = rows.size + trimmed;
  const text = count === 0 ? "" : `${count} received${waiting ? `, ${waiting} not acked` : ", all acked"}`;
  $("summary").textContent = text;
  $("ack-all").disabled = waiting === 0;
  $("read-all").disabled = client?.state.state !== "connected" || highest.size === 0;
  $("clear").disabled = rows.size === 0;
  show($("trimmed"), trimmed ? `${trimmed} older ones are not shown.` : "");
  drawEmpty();
  announce();
}

let announceTimer = 0;
/** For screen readers: at most one sentence a second, whatever arrives. */
function announce() {
  announceTimer ||= setTimeout(() => {
    announceTimer = 0;
    if ($("announcer").textContent !== $("summary").textContent) $("announcer").textContent = $("summary").textContent;
  }, 1000);
}

const EMPTY = {
  idle: ["Not connected", "Paste a token above and press Connect. scripts/run prints one for alice and one for bob; doorstep gen-token --user makes more."],
  connecting: ["Connecting", "Messages appear here as they arrive."],
  waiting: ["No connection", "The page keeps trying by itself. Nothing is lost: messages wait on the server."],
  closed: ["The server ended the session", "Connect again with a token it takes."],
};

function drawEmpty() {
  const empty = rows.size === 0;
  const state = client?.state.state ?? "idle";
  const [title, text] = EMPTY[state] ?? [`Nothing for ${user} yet`, "Send a first message with the command below. It appears here at once."];
  $("empty").hidden = !empty;
  $("empty-title").textContent = title;
  $("empty-text").textContent = text;
  const invite = empty && state === "connected";
  if (invite !== invited) $("how").open = invite; // later the person opens and closes it
  invited = invite;
}

const STATES = {
  idle: () => "Not connected",
  connecting: () => "Connecting…",
  connected: () => `Connected as ${user}`,
  waiting: ({ retryAt }) => `No connection, next try in ${Math.max(0, Math.ceil((retryAt - Date.now()) / 1000))} s`,
  closed: () => "Connection refused",
};

let tick = 0;
function drawState() {
  clearTimeout(tick);
  const now = client?.state ?? { state: "idle" };
  const text = STATES[now.state](now);
  $("state").dataset.state = now.state;
  if ($("state-text").textContent !== text) $("state-text").textContent = text;
  // A countdown that is read out every second helps nobody.
  $("state").setAttribute("aria-live", now.state === "waiting" ? "off" : "polite");
  const on = ["connecting", "connected", "waiting"].includes(now.state);
  $("connect").hidden = on;
  $("disconnect").hidden = !on;
  $("retry").hidden = now.state !== "waiting";
  $("token").readOnly = on;
  show($("problem"), problem(now));
  if (now.state === "waiting") tick = setTimeout(drawState, 250);
}

function problem({ state, code, reason }) {
  if (state !== "closed") return "";
  const said = reason ? ` The server said: ${reason} (${code}).` : ` (Close code ${code}.)`;
  if (code === 3500) {
    return `This token was refused.${said} Paste a newer one, signed with this server's secret.`;
  }
  if (code === 3503) return `An operator ended this session.${said}`;
  return `The connection ended and this page does not try again.${said}`;
}

// ---- what happens

function onMessage({ detail: message }) {
  highest.set(message.address, Math.max(highest.get(message.address) ?? 0, message.seq));
  const row = rows.get(message.id) ?? { element: null, read: false };
  if (!rows.has(message.id)) {
    rows.set(message.id, row);
    arrived.push(row);
  }
  Object.assign(row, { message, receivedAt: Date.now(), state: "received", changed: true, fresh: true });
  owed.set(message.id, message);
  if (!$("hold").checked) ack(message);
  scheduleDraw();
}

function onDuplicate({ detail: message }) {
  change(message.id, { message });
}

function ack(message) {
  client.ack(message);
  owed.delete(message.id);
  change(message.id, { state: "acked", ackedAt: performance.now() });
}

function onReceipt({ detail }) {
  for (const id of detail.ids) change(id, { state: "receipted", receiptedAt: performance.now() });
}

function onElsewhere({ detail }) {
  for (const id of detail.ids) {
    owed.delete(id);
    change(id, { state: "receipted", elsewhere: true });
  }
}

/** The badge follows by itself: the server sends the counts to every device. */
async function toggleRead(row) {
  const read = !row.read;
  try {
    await (read ? client.read([row.message]) : client.unread([row.message]));
    change(row.message.id, { read });
  } catch {
    // not connected: the button can be pressed again
  }
}

async function archive(row) {
  try {
    await client.archive([row.message]);
    rows.delete(row.message.id);
    row.element?.remove();
    drawSummary();
  } catch {
    // as above
  }
}

async function readAll() {
  try {
    await client.read(Object.fromEntries(highest));
    for (const { message } of rows.values()) change(message.id, { read: true });
  } catch {
    // as above
  }
}

/** Another device acked it, or the server gave it up. */
function onFloor({ detail: floors }) {
  for (const { id, address, seq } of [...owed.values()]) {
    if (seq > (floors[address] ?? 0)) continue;
    owed.delete(id);
    change(id, { state: "receipted", elsewhere: true });
  }
}

function change(id, values) {
  const row = rows.get(id);
  if (row) Object.assign(row, values, { changed: true });
  scheduleDraw();
}

function drawUnread(unread) {
  show($("unread"), unread > 0 ? `${unread} unread` : "");
  document.title = unread > 0 ? `(${unread}) Doorstep` : "Doorstep";
}

function forgetAll() {
  owed.clear();
  highest.clear();
  forgetRows();
}

function forgetRows() {
  rows.clear();
  arrived = [];
  trimmed = 0;
  $("messages").replaceChildren();
  drawSummary();
}

function start(token) {
  client?.close();
  const url = new URL("v1/ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.hash = "";
  const before = user;
  client = new DoorstepClient({ url: url.href, token });
  client.addEventListener("state", ({ detail }) => {
    if (["idle", "closed"].includes(detail.state)) drawUnread(0);
    drawState();
    drawSummary();
  });
  client.addEventListener("connected", ({ detail }) => {
    user = detail.user;
    if (before && before !== user) forgetAll(); // another person's messages are not this one's
    $("curl").textContent = curlLine();
    drawState();
    drawSummary();
  });
  client.addEventListener("message", onMessage);
  client.addEventListener("duplicate", onDuplicate);
  client.addEventListener("receipt", onReceipt);
  client.addEventListener("floor", onFloor);
  client.addEventListener("elsewhere", onElsewhere);
  client.addEventListener("counts", ({ detail }) => drawUnread(detail.unread));
  sessionStorage.setItem(TOKEN_KEY, token);
  client.connect();
}

/** A token in the fragment never reaches the server's log; it leaves the address bar at once too. */
function takeFragment() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return false;
  history.replaceState(null, "", location.pathname + location.search);
  $("token").value = token;
  return true;
}

function begin() {
  const token = $("token").value.trim();
  show($("whose"), whose(token));
  if (token) start(token);
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  begin();
});
$("token").addEventListener("input", () => show($("whose"), whose($("token").value.trim())));
$("disconnect").addEventListener("click", () => {
  client.close();
  $("token").focus();
});
$("retry").addEventListener("click", () => client.retryNow());
$("ack-all").addEventListener("click", () => [...owed.values()].forEach(ack));
$("read-all").addEventListener("click", readAll);
$("clear").addEventListener("click", forgetRows);
$("messages").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  const row = button && rows.get(button.closest("li").dataset.id);
  if (!row) return;
  if (button.classList.contains("ack")) ack(row.message);
  if (button.classList.contains("read")) toggleRead(row);
  if (button.classList.contains("archive")) archive(row);
});
$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText($("curl").textContent);
    $("copy").textContent = "Copied";
  } catch {
    getSelection().selectAllChildren($("curl")); // no clipboard without TLS: it is selected, so that one key copies it
    $("copy").textContent = "Selected";
  }
  setTimeout(() => { $("copy").textContent = "Copy"; }, 2000);
});
addEventListener("hashchange", () => takeFragment() && begin());
addEventListener("online", () => client?.retryNow());

$("curl").textContent = curlLine();
drawState();
drawSummary();
if (!takeFragment()) $("token").value = sessionStorage.getItem(TOKEN_KEY) ?? "";
begin();
