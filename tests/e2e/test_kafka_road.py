# SPDX-License-Identifier: Apache-2.0
"""The whole road: records of a real broker reach independent clients, are acked, and the offsets follow. And records nobody can understand."""
import asyncio
import json
import random

from support.client import Tab, in_thread, run
from support.crowd import Crowd
from support.load import expected_from_kafka
from support.server import make_event

PARTITIONS = 4


def test_ten_thousand_records_reach_two_hundred_users_in_order_and_are_committed(doorstep, kafka):
    topic = kafka.make_topic(PARTITIONS)
    server = doorstep(sources=[kafka.source(topic, f"g-{topic}")])
    users = [f"u{i}" for i in range(200)]

    async def scenario():
        async with Crowd(server, users) as crowd:
            events = expected_from_kafka(crowd.oracle, users, 50, random.Random(1))
            lines = [(user, make_event(user, number, "/kafka")) for user, number in events]
            await in_thread(kafka.produce, topic, lines)
            await crowd.finished(90)
            crowd.oracle.check()
            assert len(crowd.oracle.place) == 10000
            assert crowd.oracle.flagged == 0, "nothing failed, so nothing may come twice"

    run(scenario(), 120)
    ends = kafka.wait_committed(f"g-{topic}", topic, PARTITIONS)
    assert sum(ends.values()) == 10000


def test_what_came_before_the_first_start_is_delivered_too(doorstep, kafka):
    topic = kafka.make_topic(1)
    kafka.produce(topic, [("early", make_event("early", n)) for n in range(5)])
    server = doorstep(sources=[kafka.source(topic, f"g-{topic}")])

    async def scenario():
        tab = await Tab.open(server, "early")
        assert [m["data"]["n"] for m in await tab.messages(5)] == [0, 1, 2, 3, 4]

    run(scenario())


def test_binary_mode_and_recipients_from_the_key(doorstep, kafka):
    topic = kafka.make_topic(1)
    server = doorstep(sources=[kafka.source(topic, f"g-{topic}")])
    headers = ["ce_specversion=1.0", "ce_id=b1", "ce_source=/shop", "ce_type=order.paid", "content-type=application/json"]

    async def scenario():
        named, keyed = await Tab.open(server, "named"), await Tab.open(server, "keyed")
        await in_thread(kafka.produce, topic, [("keyed", {"total": 12})], [*headers, "ce_touser=named"])
        first = await named.expect("message")
        assert (first["event_id"], first["source"], first["type"], first["data"]) == ("b1", "/shop", "order.paid", {"total": 12})
        await in_thread(kafka.produce, topic, [("keyed", {"total": 13})], headers)
        assert (await keyed.expect("message"))["data"] == {"total": 13}
        await named.nothing("message", 0.3)

    run(scenario())


def test_plain_json_with_a_field_mapping(doorstep, kafka):
    topic = kafka.make_topic(1)
    source = kafka.source(topic, f"g-{topic}", format="json", recipient_pointer="/customer/login", id_pointer="/number", type_pointer="/kind")
    server = doorstep(sources=[source])

    async def scenario():
        tab = await Tab.open(server, "carol")
        record = {"number": "o-7", "kind": "order.sent", "customer": {"login": "carol"}}
        await in_thread(kafka.produce, topic, [("anybody", record)], ())
        message = await tab.expect("message")
        assert (message["event_id"], message["type"], message["data"]) == ("o-7", "order.sent", record)

    run(scenario())


BAD_RECORDS = {
    "not JSON": "this is no JSON",
    "half an object": '{"specversion":"1.0","id":"x"',
    "an array": "[1,2,3]",
    "no id": json.dumps({"specversion": "1.0", "source": "/e2e", "type": "t", "touser": "victim"}),
    "another specversion": json.dumps({"specversion": "7.3", "id": "x", "source": "/e2e", "type": "t", "touser": "victim"}),
    "a recipient nobody can have": json.dumps({"specversion": "1.0", "id": "x", "source": "/e2e", "type": "t", "touser": "\u0007"}),
}


def test_malformed_records_do_no_harm_and_are_found_in_the_dead_letters(doorstep, kafka):
    topic = kafka.make_topic(1)
    lines, bad_offsets = [], []
    for number, bad in enumerate(BAD_RECORDS.values()):
        lines.append(("good", make_event("good", number)))
        bad_offsets.append(len(lines))
        lines.append(("victim", bad))
    lines.append(("good", make_event("good", len(BAD_RECORDS))))
    kafka.produce(topic, lines)
    server = doorstep(sources=[kafka.source(topic, f"g-{topic}")])

    async def scenario():
        tab, victim = await Tab.open(server, "good"), await Tab.open(server, "victim")
        got = await tab.messages(len(BAD_RECORDS) + 1)
        assert [m["data"]["n"] for m in got] == list(range(len(BAD_RECORDS) + 1))
        await tab.ack(*got)
        await victim.nothing("message", 0.2)

    run(scenario())
    kafka.wait_committed(f"g-{topic}", topic, 1)
    letters = {letter["offset"]: letter for letter in server.dead_letters()}
    assert sorted(letters) == bad_offsets
    for letter in letters.values():
        assert letter["topic"] == topic and letter["partition"] == 0 and letter["reason"] == "malformed"
        assert len(letter["detail"]) > 10, f"a reason a person can use, not {letter['detail']!r}"

    # They survive a restart, and are not read again.
    server.kill()
    server.start()
    assert sorted(letter["offset"] for letter in server.dead_letters()) == bad_offsets


def test_the_broker_is_stopped_and_started_under_load(doorstep, own_kafka):
    kafka = own_kafka
    topic = kafka.make_topic(PARTITIONS)
    group = f"g-{topic}"
    server = doorstep(sources=[kafka.source(topic, group)])
    users = [f"u{i}" for i in range(40)]

    async def scenario():
        async with Crowd(server, users) as crowd:
            events = expected_from_kafka(crowd.oracle, users, 50, random.Random(2))
            lines = [(user, make_event(user, number, "/kafka")) for user, number in events]
            await in_thread(kafka.produce, topic, lines[:1000])
            await crowd.delivered(300)
            await in_thread(kafka.script, "pause")
            # What is stored flows while Kafka is away, and other ways in stay open.
            crowd.oracle.expect("/http", "u0", 0)
            await in_thread(server.publish, make_event("u0", 0, "/http"))
            await crowd.until(lambda: 0 in crowd.oracle.delivered["/http", "u0"], 5)
            while await in_thread(server.ready_status) == 200:
                await asyncio.sleep(0.1)
            [reason] = (await in_thread(server.get, "/health/ready")).json()["reasons"]
            assert reason.startswith(f"source {topic} is away since"), reason
            await in_thread(kafka.script, "restart")
            await in_thread(kafka.produce, topic, lines[1000:])
            await crowd.finished(60)
            crowd.oracle.check()

    run(scenario(), 120)
    kafka.wait_committed(group, topic, PARTITIONS)
