# SPDX-License-Identifier: Apache-2.0
"""Nothing leaves the books: after a run with everything that may become of a record and of a message, the metrics add up at rest (I7)."""
import asyncio
import time

import pytest

from support.client import Tab, run
from support.mongodb import MongoDB
from support.server import make_event

RECORDS, UNREADABLE, FOR_NOBODY = 30, 4, 3
LEFT = ("attempts_exhausted", "given_up_nacked", "expired", "overflowed", "poisoned")  # as dead letters


@pytest.fixture(params=["embedded-sqlite", "embedded-mongodb", "kafka-sqlite"])
def engines(request, kafka, tmp_path):
    log, store = request.param.split("-")
    options = kafka.log() if log == "kafka" else {}
    if store == "sqlite":
        yield options
        return
    server = MongoDB(tmp_path / "mongodb")
    yield options | server.options()
    server.script("stop")


def counted(server):
    return {name.removeprefix("doorstep_").removesuffix("_total"): value for name, value in server.metrics().items() if "{" not in name}


def wait_until(what, timeout=20):
    deadline = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def owed(server, users):
    return sum(server.get(f"/v1/mailboxes/{user}").json()["owed"] for user in users)


async def everything_happens(server):
    """@returns the tabs, open, so that their mailboxes are in memory."""
    reader, picky, sleepy, full = [await Tab.open(server, user) for user in ("reader", "picky", "sleepy", "full")]
    got = await reader.messages(RECORDS)
    await reader.ack(*got[:20])
    server.publish(*[make_event("picky", n) for n in range(3)])
    for message in await picky.messages(3):
        await picky.send({"nack": {"ids": [message["id"]], "reason": "cannot"}})
    server.publish(*[make_event("sleepy", n, deliveryorder="latest", deliverykey="k") for n in range(4)])
    server.publish(make_event("late", 1, time="2020-01-01T00:00:00Z", expirytime="2020-01-01T00:00:01Z"))
    late = await Tab.open(server, "late")
    server.publish(*[make_event("full", n) for n in range(60)])
    server.publish(*[make_event("picky", n) for n in range(3)], make_event("reader", 1000), make_event("reader", 1000))
    await asyncio.sleep(1.5)
    return [reader, picky, sleepy, full, late]


def test_what_came_in_is_what_went_out_and_what_is_still_owed(doorstep, kafka, engines):
    topic = kafka.make_topic(2)
    options = engines | {"delivery.max_attempts": 1, "delivery.mailbox_messages_max": 40, "delivery.ack_linger": "20ms", "delivery.expiry_interval": "500ms"}
    server = doorstep(options, [kafka.source(topic, f"g-{topic}")])
    good = [("k", make_event("reader", n)) for n in range(RECORDS)]
    nobody = [("", {key: value for key, value in make_event("x", n).items() if key != "touser"}) for n in range(FOR_NOBODY)]
    kafka.produce(topic, [*good[:10], *[("bad", "{")] * UNREADABLE, *good[10:], good[0], *nobody])
    kafka.wait_committed(f"g-{topic}", topic, 2)

    async def scenario():
        tabs = await everything_happens(server)
        dead = server.dead_letters()
        for one in [x for x in dead if x["reason"] == "nacked"][:2]:
            assert server.request("POST", "/v1/dead-letters/requeue", '{"id":"%s"}' % one["id"]).json()["requeued"] == 1
        again = await tabs[1].messages(2)
        await tabs[1].ack(*again)
        assert server.request("POST", "/v1/dead-letters/purge", '{"reason":"overflow","limit":5}').json()["purged"] == 5
        check()
        for tab in tabs:
            await tab.close()

    def check():
        users = ("reader", "picky", "sleepy", "full", "late")
        wait_until(lambda: counted(server)["store_backlog_messages"] == 0 and counted(server)["store_queue_entries"] == 0)
        x = counted(server)
        assert x["records_in"] == x["records_routed"] + x["records_no_recipient"] + x["records_malformed"]
        assert (x["records_malformed"], x["records_no_recipient"], x["records_routed"]) == (UNREADABLE, FOR_NOBODY, RECORDS + 1)
        # fanned_out = stored + duplicate + replay; a log in Kafka takes what the store then finds to be a duplicate
        fanned_out = RECORDS + 1 + 3 + 4 + 1 + 60 + 3 + 2
        duplicates = 1 + 3 + 1
        assert x["messages_duplicate"] == duplicates and x["messages_replayed"] == 0
        stored = x["messages_appended"] - (duplicates if options.get("log.engine") == "kafka" else 0)
        of_records = x["records_malformed"]
        requeued = x["dead_letters_requeued"]
        assert stored == fanned_out - duplicates + of_records + requeued
        left = sum(x[f"messages_{reason}"] for reason in LEFT)
        assert x["messages_dead"] == left + of_records
        pending = owed(server, users)
        assert stored - of_records == x["messages_acked"] + pending + left + x["messages_superseded"]
        assert (x["messages_superseded"], x["messages_expired"], x["messages_given_up_nacked"], x["messages_overflowed"], requeued) == (3, 1, 3, 20, 2)
        kept = x["messages_dead"] - x["dead_letters_purged"]
        assert x["dead_letters"] == kept and len(server.dead_letters()) == kept - requeued

    run(scenario())
    assert server.stop() == 0
