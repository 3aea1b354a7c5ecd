# SPDX-License-Identifier: Apache-2.0
"""What was given up: over HTTP and from the command line, through a kill."""
import asyncio
import datetime
import json
import time
import urllib.parse

from support.client import Tab, in_thread, run
from support.server import API_KEY, make_event, run_doorstep

GIVES_UP = {"delivery.max_attempts": 1, "delivery.retry_base": "50ms", "delivery.retry_max": "100ms"}


def command(server, what, *arguments):
    return run_doorstep("dead-letters", what, "--url", f"http://127.0.0.1:{server.internal_port}", "--api-key", API_KEY, *arguments)


async def refused(server, tab, count):
    """`count` messages that the client nacks, dead."""
    server.publish(*[make_event(tab.user, n) for n in range(count)])
    for message in await tab.messages(count):
        await tab.send({"nack": {"ids": [message["id"]], "reason": "cannot render"}})
    while len(server.dead_letters()) < count:
        await asyncio.sleep(0.02)


def test_a_dead_letter_survives_a_kill_and_comes_back_once_however_often_it_is_requeued(doorstep):
    server = doorstep(GIVES_UP)

    async def die():
        await refused(server, await Tab.open(server, "picky"), 2)

    run(die())
    server.kill()
    server.start()
    first, second = server.dead_letters()
    assert first["reason"] == "nacked" and first["detail"] == "cannot render" and first["address"] == "user:picky" and first["attempts"] == 1

    async def come_back():
        tab = await Tab.open(server, "picky")
        await tab.nothing("message", 0.5)
        for answer in ({"requeued": 1}, {"requeued": 0, "already_requeued": 1}):
            done = command(server, "requeue", first["id"])
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout).items() >= answer.items()
        message = await tab.expect("message")
        assert message["id"] == first["id"] and message["redelivered"] and message["attempt"] == 1 and message["seq"] > first["seq"]
        await tab.ack(message)
        await tab.nothing("message", 0.5)

    run(come_back())
    shown = json.loads(command(server, "show", first["id"]).stdout)
    assert shown["state"] == "requeued" and shown["requeue"] == 1
    assert [x["id"] for x in server.dead_letters()] == [second["id"]], "those taken back are shown where they are asked for"
    assert json.loads(command(server, "purge", "--user", "picky").stdout)["purged"] == 1
    assert server.dead_letters() == []
    assert command(server, "requeue", second["id"]).returncode == 1
    assert "not-found" in command(server, "show", second["id"]).stderr
    assert command(server, "purge").returncode == 1, "everything is deleted only where that is said"


def test_a_message_of_a_topic_is_found_among_the_dead_letters_by_that_topic(doorstep, kafka):
    topic = kafka.make_topic(1)
    server = doorstep(GIVES_UP, [kafka.source(topic, f"g-{topic}")])

    async def die():
        tab = await Tab.open(server, "picky")
        await refused(server, tab, 1)
        await in_thread(kafka.produce, topic, [("picky", make_event("picky", n, "/kafka")) for n in range(1, 3)])
        for message in await tab.messages(2):
            await tab.send({"nack": {"ids": [message["id"]], "reason": "cannot render"}})
        while len(server.dead_letters()) < 3:
            await asyncio.sleep(0.02)

    run(die())
    server.kill()
    server.start()
    found = server.get(f"/v1/dead-letters?topic={topic}").json()["dead_letters"]
    assert [(x["source"], x["topic"], x["partition"], x["offset"]) for x in found] == [(topic, topic, 0, 0), (topic, topic, 0, 1)]
    assert all(x["first_ms"] <= x["last_ms"] and x["attempts"] == 1 and x["address"] == "user:picky" for x in found)
    assert sum("topic" not in x for x in server.dead_letters()) == 1, "what came over HTTP has no origin"


def test_a_record_is_requeued_after_its_source_was_configured_right(doorstep, kafka):
    topic = kafka.make_topic(1)
    source = kafka.source(topic, f"g-{topic}", format="json", recipient_pointer="/customer", recipient_key=False)
    server = doorstep(sources=[source])
    kafka.produce(topic, [("k", {"customer": {"login": "alice"}, "total": 12})])
    deadline = time.monotonic() + 30
    while not server.dead_letters():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    [letter] = server.dead_letters()
    refusal = command(server, "requeue", letter["id"])
    assert refusal.returncode == 1 and "it still cannot be understood" in refusal.stderr, refusal.stderr
    reply = server.request("POST", "/v1/dead-letters/requeue", json.dumps({"id": letter["id"]}), {"Content-Type": "application/json"})
    assert reply.status == 409 and "it still cannot be understood" in reply.json()["detail"], reply.body
    server.stop()
    server.sources = [source | {"recipient_pointer": "/customer/login"}]
    server.start()

    async def come():
        tab = await Tab.open(server, "alice")
        assert json.loads(command(server, "requeue", letter["id"]).stdout)["requeued"] == 1
        assert (await tab.expect("message"))["data"] == {"customer": {"login": "alice"}, "total": 12}
        assert json.loads(command(server, "requeue", letter["id"]).stdout)["already_requeued"] == 1
        await tab.nothing("message", 0.3)

    run(come())
    assert server.dead_letters() == []


def test_pages_follow_each_other_by_their_token(doorstep):
    server = doorstep(GIVES_UP)

    async def die():
        await refused(server, await Tab.open(server, "picky"), 5)

    run(die())
    found, after = [], ""
    while True:
        page = server.get(f"/v1/dead-letters?user=picky&limit=2&after={urllib.parse.quote(after)}").json()
        found += [x["id"] for x in page["dead_letters"]]
        after = page["next"]
        if not after:
            break
    assert len(found) == len(set(found)) == 5
    assert server.get("/v1/dead-letters?user=somebody").json()["dead_letters"] == []


def test_what_expires_for_somebody_who_never_comes_is_a_dead_letter_once_also_over_a_kill(doorstep):
    server = doorstep({"delivery.expiry_interval": "200ms", "delivery.ttl": "2s"})
    soon = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)).isoformat()
    later = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)).isoformat()
    server.publish(*[make_event(f"gone-{n}", n) | {"expirytime": soon} for n in range(20)], make_event("gone-0", 20), make_event("gone-0", 21) | {"expirytime": later})
    server.kill()
    server.start()
    deadline = time.monotonic() + 30
    while len(server.dead_letters()) < 21:
        assert time.monotonic() < deadline, server.dead_letters()
        time.sleep(0.05)
    assert {letter["reason"] for letter in server.dead_letters()} == {"expired"}
    assert server.metrics()["doorstep_messages_expired_total"] == 21

    async def come():
        tab = await Tab.open(server, "gone-0")
        assert (await tab.expect("message"))["data"]["n"] == 21
        await tab.nothing("message", 0.3)

    run(come())
    assert server.get("/v1/mailboxes/gone-0").json()["unread"] == 1
    assert len(server.dead_letters()) == 21


def test_dead_letters_go_after_their_retention(doorstep):
    server = doorstep({"dead_letters.retention": "1s", "store.retention_interval": "100ms", "delivery.expiry_interval": "100ms"})
    past = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=1)).isoformat()
    server.publish(make_event("gone", 1) | {"expirytime": past})
    deadline = time.monotonic() + 30
    while server.metrics()["doorstep_dead_letters_retention_removed_total"] < 1:
        assert time.monotonic() < deadline, server.dead_letters()
        time.sleep(0.05)
    assert server.dead_letters() == []
    assert server.metrics()["doorstep_dead_letters"] == 0


def test_an_event_past_its_expirytime_is_never_pushed_and_one_without_is(doorstep):
    server = doorstep()
    past = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=1)).isoformat()

    async def scenario():
        tab = await Tab.open(server, "late")
        server.publish(make_event("late", 1) | {"expirytime": past}, make_event("late", 2))
        assert (await tab.expect("message"))["event_id"] == make_event("late", 2)["id"]
        await tab.nothing("message", 0.3)

    run(scenario())
    assert [x["reason"] for x in server.dead_letters()] == ["expired"]
    assert server.metrics()["doorstep_messages_expired_total"] == 1
    reply = server.post_events(make_event("late", 3) | {"expirytime": "soon"})
    assert reply.status == 400 and reply.json()["field"] == "expirytime"
