# SPDX-License-Identifier: Apache-2.0
"""Dead letters on a Kafka topic too: whole, with their reason, each at least once, through a broker that is away and through kill -9."""
import asyncio
import datetime
import json
import time

import pytest

from support.client import Tab, in_thread, run
from support.server import make_event
from test_dead_letters import GIVES_UP

PAST = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=1)).isoformat()


def mirrored(broker, topic, ids, timeout=60):
    """Waits until each of these ids is a key there. @returns the last record of each."""
    deadline = time.monotonic() + timeout
    while True:
        found = {record["key"]: record for record in broker.consume(topic)}
        if set(ids) <= set(found):
            return found
        assert time.monotonic() < deadline, f"{len(set(ids) - set(found))} of {len(ids)} are missing"
        time.sleep(0.3)


def test_messages_and_records_are_mirrored_whole_with_their_reason(doorstep, kafka, store):
    source, mirror = kafka.make_topic(1), kafka.make_topic(1, "mirror")
    server = doorstep(GIVES_UP | {"dead_letters.mirror_topic": mirror, "dead_letters.mirror_interval": "100ms"} | store,
                      [kafka.source(source, f"g-{source}")])

    async def die():
        tab = await Tab.open(server, "picky")
        await in_thread(kafka.produce, source, [("picky", make_event("picky", 7, "/kafka"))])
        [message] = await tab.messages(1)
        await tab.send({"nack": {"ids": [message["id"]], "reason": "cannot render"}})
        await in_thread(kafka.produce, source, [("nobody", '{"broken')])
        while len(server.dead_letters()) < 2:
            await asyncio.sleep(0.02)

    run(die())
    letters = {letter["reason"]: letter for letter in server.dead_letters()}
    found = mirrored(kafka, mirror, [letter["id"] for letter in letters.values()])
    message, record = found[letters["nacked"]["id"]], found[letters["malformed"]["id"]]
    assert json.loads(message["payload"])["data"] == {"n": 7}
    assert message["headers"].items() >= {"doorstep-reason": "nacked", "doorstep-detail": "cannot render", "doorstep-address": "user:picky",
                                          "doorstep-source": source, "doorstep-topic": source, "doorstep-partition": "0", "doorstep-offset": "0",
                                          "doorstep-attempts": "1", "content-type": "application/cloudevents+json"}.items()
    assert message["headers"]["doorstep-last"] == str(letters["nacked"]["last_ms"])
    assert record["payload"] == '{"broken'
    assert record["headers"].items() >= {"doorstep-reason": "malformed", "doorstep-offset": "1", "doorstep-record-key": "nobody"}.items()
    deadline = time.monotonic() + 20
    while server.metrics()["doorstep_dead_letters_mirrored_total"] < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    server.stop()
    server.start()
    time.sleep(0.5)  # were a mark not durable, this start would produce it again
    assert len(kafka.consume(mirror)) == 2


def test_a_broker_that_is_away_delays_them_and_nothing_else_and_a_kill_loses_none(doorstep, own_kafka, store):
    mirror = own_kafka.make_topic(1, "mirror")
    server = doorstep(GIVES_UP | {"dead_letters.mirror_topic": mirror, "dead_letters.mirror_brokers": own_kafka.address,
                                  "dead_letters.mirror_interval": "100ms", "dead_letters.mirror_batch_max": 8} | store)

    async def die(first, count):
        tab = await Tab.open(server, "late")
        server.publish(*[make_event("late", n) | {"expirytime": PAST} for n in range(first, first + count)], make_event("late", first + count))
        await tab.ack(await tab.expect("message"))
        await tab.close()

    run(die(0, 20))
    mirrored(own_kafka, mirror, [letter["id"] for letter in server.dead_letters()])
    own_kafka.script("pause")
    run(die(100, 20))
    deadline = time.monotonic() + 30
    while server.metrics().get('doorstep_outage{part="dead-letter mirror"}') != 1:
        assert time.monotonic() < deadline, server.log_tail()
        time.sleep(0.1)
    assert server.ready_status() == 200, "messages are taken and delivered all the same"
    run(die(200, 20))
    server.kill()
    server.start()
    run(die(300, 20))
    ids = [letter["id"] for letter in server.dead_letters()]
    assert len(ids) == 80
    own_kafka.script("restart")
    mirrored(own_kafka, mirror, ids)
    deadline = time.monotonic() + 30
    while server.metrics().get('doorstep_outage{part="dead-letter mirror"}', 0) != 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    lines = [line for line in server.log_path.read_text().splitlines() if "dead-letter mirror" in line and "began" in line]
    assert 1 <= len(lines) <= 2, "one line a process and outage"


def test_kills_between_topic_and_store_repeat_some_and_lose_none(doorstep, kafka):
    mirror = kafka.make_topic(1, "mirror")
    server = doorstep({"dead_letters.mirror_topic": mirror, "dead_letters.mirror_brokers": kafka.address, "dead_letters.mirror_interval": "1h",
                       "dead_letters.mirror_batch_max": 5})

    async def die():
        server.publish(*[make_event("late", n) | {"expirytime": PAST} for n in range(12)], make_event("late", 12))
        tab = await Tab.open(server, "late")
        await tab.ack(await tab.expect("message"))

    run(die())
    ids = {letter["id"] for letter in server.dead_letters()}
    assert len(ids) == 12 and kafka.consume(mirror) == [], "it looked when it started, and will in an hour"
    server.kill()
    server.environment = {"DOORSTEP_CRASH_POINT": "mirrored:2"}
    for _ in range(2):
        server.start(wait=False)
        assert server.process.wait(60) == -9
    server.environment = {}
    server.start()
    assert set(mirrored(kafka, mirror, ids)) == ids, "nothing but dead letters"
    assert len(kafka.consume(mirror)) == 5 + 5 + 5 + 2 + 2, "what landed and was not marked came again, under its key"
