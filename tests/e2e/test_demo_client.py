# SPDX-License-Identifier: Apache-2.0
"""web/demo/doorstep-client.js alone, in a real Chromium, over a WebSocket that the test plays itself."""
import functools
import http.server
import pathlib
import threading

import pytest

from test_demo_page import chromium  # noqa: F401  pylint: disable=unused-import

DEMO = pathlib.Path(__file__).resolve().parents[2] / "web" / "demo"

# `sockets` are the connections the client opened; say() is the server's frame, heard() what the client sent. Times are the client's own
# timers; `until` waits for a condition.
HARNESS = """
const done = arguments[arguments.length - 1];
const sockets = [], events = [];
class Played {
  constructor(url, protocols) { Object.assign(this, { url, protocols, readyState: 0, sent: [] }); sockets.push(this); }
  open() { this.readyState = 1; this.onopen(); return this; }
  send(text) { this.sent.push(JSON.parse(text)); }
  close() { this.readyState = 3; }
  end(code, reason = "") { this.readyState = 3; this.onclose({ code, reason }); }
  say(...objects) { this.onmessage({ data: objects.map((x) => JSON.stringify(x)).join("\\n") }); return this; }
  heard(name) { return this.sent.filter((x) => name in x); }
}
const until = async (condition) => { while (!condition()) await new Promise((next) => setTimeout(next, 2)); };
const last = () => sockets[sockets.length - 1];
const message = (seq, more = {}) => ({ message: { address: "user:a", seq, id: `m${seq}`, attempt: 1, redelivered: false, ...more } });
const held = {};
const make = async (options = {}) => {
  const { DoorstepClient } = await import("/doorstep-client.js");
  const client = new DoorstepClient({ url: "ws://127.0.0.1:1/v1/ws", token: "t", WebSocket: Played, backoffBaseMs: 1, ackDelayMs: 1, ...options });
  for (const type of ["state", "message", "duplicate", "receipt", "floor", "error"]) client.addEventListener(type, ({ detail }) => events.push([type, detail]));
  client.addEventListener("message", ({ detail }) => { held[detail.id] = detail; });
  client.connect();
  await until(() => sockets.length === 1);
  return client;
};
const welcome = (socket, floors = {}) => {
  socket.open();
  return socket.say({ id: socket.heard("connect")[0].id, connected: { session: "s", user: "a", addresses: floors, ping_interval_ms: 25000 } });
};
const seen = (type) => events.filter(([t]) => t === type).map(([, detail]) => detail);
"""


@pytest.fixture(scope="module")
def origin():
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(DEMO)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def play(chromium, origin):  # noqa: F811
    """Runs the body of an async JavaScript function. @returns what it returns."""
    def run(body):
        chromium.get(f"{origin}/icon.svg")
        result = chromium.execute_async_script(f"{HARNESS}(async () => {{ {body} }})().then((x) => done([x]), (e) => done(String(e.stack)));")
        assert isinstance(result, list), result
        return result[0]
    yield run
    chromium.get("about:blank")


def test_it_connects_with_the_token_in_the_connect_object_and_never_in_the_url(play):
    protocols, url, connect = play("await make(); last().open(); return [last().protocols, last().url, last().sent[0]];")
    assert (protocols, url) == (["doorstep.v1"], "ws://127.0.0.1:1/v1/ws")
    assert connect == {"id": 1, "connect": {"token": "t", "counts": True}}


def test_acks_of_a_moment_go_out_as_one_cumulative_frame(play):
    acks = play("""const client = await make(); welcome(last()).say(message(5), message(6), message(7));
        for (const m of Object.values(held)) client.ack(m);
        await until(() => last().heard("ack").length); return last().heard("ack");""")
    assert acks == [{"id": 2, "ack": {"up_to": {"user:a": 7}}}]


def test_what_the_person_did_goes_out_as_all_up_to_or_single_messages_in_bounded_requests(play):
    sent = play("""const client = await make(); welcome(last()).say(message(5));
        const many = Array.from({ length: 101 }, (_, i) => ({ address: "user:a", seq: i + 1 }));
        for (const promise of [client.seen(), client.read({ "user:a": 5 }), client.archive([held.m5]), client.unread(many)]) promise.catch(() => {});
        return last().sent.slice(1).map(({ id, ...rest }) => rest);""")
    assert sent[:3] == [{"seen": {"all": True}}, {"read": {"up_to": {"user:a": 5}}}, {"archive": {"seqs": {"user:a": [5]}}}]
    assert [len(x["unread"]["seqs"]["user:a"]) for x in sent[3:]] == [100, 1]


def test_what_another_device_acked_is_told_as_elsewhere(play):
    told = play("""const client = await make(); const elsewhere = [];
        client.addEventListener("elsewhere", ({ detail }) => elsewhere.push(detail.ids));
        welcome(last()).say(message(5), message(6)).say({ receipt: { up_to: {}, ids: ["m6", "m7"] } });
        return [elsewhere, seen("receipt")];""")
    assert told == [[["m6"]], []]


def test_channels_that_are_joined_and_left_are_passed_on(play):
    told = play("""const client = await make(); const channels = [];
        for (const type of ["joined", "left"]) client.addEventListener(type, ({ detail }) => channels.push([type, detail]));
        welcome(last()).say({ joined: { "role:admin": 7 } }, { left: ["role:viewer"] });
        return [channels, seen("error")];""")
    assert told == [[["joined", {"role:admin": 7}], ["left", ["role:viewer"]]], []]


def test_an_ack_above_a_message_still_in_hand_goes_by_id(play):
    acks = play("""const client = await make(); welcome(last()).say(message(5), message(6), message(7));
        client.ack(held.m5); client.ack(held.m7);
        await until(() => last().heard("ack").length === 2); return last().heard("ack").map((x) => x.ack);""")
    assert acks == [{"up_to": {"user:a": 5}}, {"ids": ["m7"]}]


def test_a_nacked_message_is_never_covered_by_an_ack_above_it(play):
    acks = play("""const client = await make(); welcome(last()).say(message(5), message(6));
        client.nack(held.m5, "no"); client.ack(held.m6);
        await until(() => last().heard("ack").length); return last().heard("ack").map((x) => x.ack);""")
    assert acks == [{"ids": ["m6"]}]


def test_after_a_reconnect_unreceipted_acks_are_repeated_as_ids_and_receipted_ones_are_not(play):
    connect, acks = play("""const client = await make(); welcome(last()).say(message(5), message(6));
        client.ack(held.m5); await until(() => last().heard("ack").length === 1);
        last().say({ id: last().heard("ack")[0].id, receipt: { up_to: { "user:a": 5 } } });
        client.ack(held.m6); await until(() => last().heard("ack").length === 2);
        last().end(1006); await until(() => sockets.length === 2); welcome(last(), { "user:a": 5 });
        await until(() => last().heard("ack").length); return [last().sent[0].connect, last().heard("ack").map((x) => x.ack)];""")
    assert connect["resume"] == {"user:a": 6}
    assert acks == [{"ids": ["m6"]}]


def test_what_was_acked_while_nothing_was_connected_is_acked_by_id_later(play):
    acks = play("""const client = await make(); welcome(last()).say(message(5)); last().end(1006); client.ack(held.m5);
        await until(() => sockets.length === 2); welcome(last());
        await until(() => last().heard("ack").length); return last().heard("ack").map((x) => x.ack);""")
    assert acks == [{"ids": ["m5"]}]


def test_a_floor_in_the_connect_reply_is_a_receipt(play):
    receipts, acks = play("""const client = await make(); welcome(last()).say(message(5)); client.ack(held.m5); last().end(1006);
        await until(() => sockets.length === 2); welcome(last(), { "user:a": 5 }).say({});
        return [seen("receipt"), last().heard("ack")];""")
    assert (receipts, acks) == ([{"ids": ["m5"]}], [])


def test_a_repeat_of_what_is_acked_is_acked_again_and_not_shown_again(play):
    shown, repeats, acks = play("""const client = await make(); welcome(last()).say(message(5)); client.ack(held.m5);
        await until(() => last().heard("ack").length === 1); last().say(message(5, { attempt: 2, redelivered: true }));
        await until(() => last().heard("ack").length === 2);
        return [seen("message").length, seen("duplicate").length, last().heard("ack").map((x) => x.ack)];""")
    assert (shown, repeats) == (1, 1)
    assert acks == [{"up_to": {"user:a": 5}}] * 2


def test_a_ping_is_answered(play):
    assert play("await make(); welcome(last()).say({}); return last().sent.slice(1);") == [{}]


@pytest.mark.parametrize("code,state", [(1000, "waiting"), (1006, "waiting"), (1012, "waiting"), (3000, "waiting"), (3499, "waiting"),
                                        (1009, "closed"), (3500, "closed"), (3501, "closed"), (3999, "closed"), (4000, "waiting")])
def test_the_close_code_says_whether_to_come_back(play, code, state):
    found = play(f"const client = await make({{ backoffBaseMs: 10000 }}); welcome(last()).end({code}, 'why'); return client.state;")
    assert (found["state"], found["code"], found["reason"]) == (state, code, "why")


def test_a_disconnect_object_is_obeyed(play):
    delay, state = play("""const client = await make(); welcome(last()).say({ disconnect: { code: 1012, reason: "restart", reconnect: true, delay_ms: 7000 } });
        const before = Date.now(); last().end(1012); return [client.state.retryAt - before, client.state.state];""")
    assert 7000 <= delay < 7500 and state == "waiting"
    assert play("""const client = await make(); welcome(last()).say({ disconnect: { code: 3000, reason: "no", reconnect: false } });
        last().end(3000); return client.state.state;""") == "closed"


def test_the_delay_doubles_up_to_its_limit_and_is_a_random_part_of_that(play):
    def delays(random):
        return play(f"""const client = await make({{ backoffBaseMs: 500, backoffMaxMs: 4000, random: () => {random} }}); const found = [];
            for (let i = 1; i <= 6; i++) {{
              const before = Date.now(); last().end(1006); found.push(client.state.retryAt - before);
              client.retryNow(); await until(() => sockets.length === i + 1);
            }}
            return found;""")
    for found, ceiling in zip(delays(1), [500, 1000, 2000, 4000, 4000, 4000]):
        assert ceiling <= found < ceiling + 200
    assert all(found < 200 for found in delays(0))


def test_after_close_nothing_is_tried_again_and_what_an_old_socket_says_is_ignored(play):
    state, count, shown = play("""const client = await make(); welcome(last()); client.close(); last().end(1006); last().say(message(5));
        await new Promise((next) => setTimeout(next)); return [client.state.state, sockets.length, seen("message").length];""")
    assert (state, count, shown) == ("idle", 1, 0)
