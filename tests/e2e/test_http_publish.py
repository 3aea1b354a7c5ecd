# SPDX-License-Identifier: Apache-2.0
"""POST /v1/events: what is taken, what is refused and how it is said, and the same event twice."""
import json

from support.client import Tab, run
from support.server import API_KEY, make_event

EVENT = {"specversion": "1.0", "id": "1", "source": "/e2e", "type": "t", "touser": "alice", "data": {"n": 1}}
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


def post(server, body, content_type=STRUCTURED, headers=None):
    text = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return server.request("POST", "/v1/events", text, {"Content-Type": content_type} | (headers or {}))


def without(name):
    return {key: value for key, value in EVENT.items() if key != name}


def assert_problem(reply, status, field=None):
    assert reply.status == status, f"{reply.status} {reply.body}"
    assert reply.headers["Content-Type"].startswith("application/problem+json")
    if field is not None:
        assert reply.json()["field"] == field, reply.body


def test_binary_structured_and_batch_are_taken(doorstep):
    server = doorstep()
    binary = server.request("POST", "/v1/events", '{"n":1}', {
        "Content-Type": "application/json", "ce-specversion": "1.0", "ce-id": "b", "ce-source": "/e2e", "ce-type": "t", "ce-touser": "alice",
        "ce-title": "Gr%C3%BC%C3%9Fe"})
    assert (binary.status, binary.json()) == (202, {"events": [{"id": "b", "accepted": 1, "duplicates": 0}]})
    structured = post(server, EVENT | {"id": "s", "data": {"n": 2}})
    assert (structured.status, structured.json()) == (202, {"events": [{"id": "s", "accepted": 1, "duplicates": 0}]})
    batch = post(server, [EVENT | {"id": "x", "data": {"n": 3}}, EVENT | {"id": "y", "touser": '["alice","bob"]', "data": {"n": 4}}], BATCH)
    assert batch.status == 202
    assert batch.json()["events"] == [{"id": "x", "accepted": 1, "duplicates": 0}, {"id": "y", "accepted": 2, "duplicates": 0}]

    async def scenario():
        tab = await Tab.open(server, "alice")
        got = await tab.messages(4)
        assert [m["data"]["n"] for m in got] == [1, 2, 3, 4]
        assert got[0]["title"] == "Grüße"

    run(scenario())


def test_a_refusal_names_the_field_and_takes_nothing(doorstep):
    server = doorstep({"internal.body_bytes_max": "64KiB"})
    for name in ("id", "source", "type", "specversion", "touser"):
        assert_problem(post(server, without(name)), 400, name)
    assert_problem(post(server, EVENT | {"specversion": "0.3"}), 400, "specversion")
    assert_problem(post(server, "{"), 400)
    assert_problem(post(server, [EVENT, without("touser")], BATCH), 400, "[1].touser")
    assert_problem(post(server, EVENT, headers={"Authorization": None}), 401)
    assert_problem(post(server, EVENT, headers={"Authorization": f"Bearer {API_KEY}x"}), 401)
    assert_problem(post(server, EVENT | {"data": "x" * 70000}), 413)
    assert_problem(post(server, "a=b", "application/x-www-form-urlencoded"), 415)
    assert server.request("GET", "/v1/events").status in (404, 405)

    async def scenario():
        tab = await Tab.open(server, "alice")
        await tab.nothing("message", 0.3)

    run(scenario())


def test_the_same_source_and_id_is_delivered_once_also_after_a_restart(doorstep):
    server = doorstep()
    assert server.publish(EVENT) == [{"id": "1", "accepted": 1, "duplicates": 0}]
    assert server.publish(EVENT) == [{"id": "1", "accepted": 0, "duplicates": 1}]
    # In one batch too, and another source is another event.
    twice = server.publish(EVENT | {"id": "2", "data": {"n": 2}}, EVENT | {"id": "2", "data": {"n": 2}}, EVENT | {"source": "/other", "data": {"n": 3}})
    assert [(x["accepted"], x["duplicates"]) for x in twice] == [(1, 0), (0, 1), (1, 0)]
    server.kill()
    server.start()
    assert server.publish(EVENT) == [{"id": "1", "accepted": 0, "duplicates": 1}]

    async def scenario():
        tab = await Tab.open(server, "alice")
        assert [m["data"]["n"] for m in await tab.messages(3)] == [1, 2, 3]
        await tab.nothing("message", 0.3)

    run(scenario())


def test_the_mailbox_says_what_is_owed_and_the_metrics_count_it(doorstep):
    server = doorstep()
    server.publish(*[make_event("alice", n) for n in range(3)])

    async def scenario():
        tab = await Tab.open(server, "alice")
        got = await tab.messages(3)
        assert server.get("/v1/mailboxes/alice").json()["owed"] == 3
        await tab.ack(*got)
        assert server.get("/v1/mailboxes/alice").json()["owed"] == 0

    run(scenario())
    assert server.get("/v1/actors").json()
    assert [server.get(f"/health/{probe}").status for probe in ("live", "ready", "startup")] == [200, 200, 200]
    assert any(name.startswith("doorstep_") and "acked" in name and value == 3 for name, value in server.metrics().items()), server.metrics()


def test_the_inspection_pages_ask_for_the_key(doorstep):
    server = doorstep()
    for path in ("/v1/mailboxes/alice", "/v1/actors", "/v1/dead-letters"):
        assert server.request("GET", path, headers={"Authorization": None}).status == 401, path
