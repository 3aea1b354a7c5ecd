# SPDX-License-Identifier: Apache-2.0
"""The mailbox log in Kafka, with either store: what was accepted over HTTP or read from a topic survives kill -9, and comes twice only with the flag."""
import asyncio
import os
import random

import pytest

from support.client import Tab, in_thread, run
from support.crowd import Crowd
from support.load import chance_of_this_run, expected_from_kafka, feed, kill_again_and_again, kill_and_come_back, publish_all, stored_numbers
from support.mongodb import MongoDB
from support.server import make_event

PARTITIONS = 4
KILLS = int(os.environ.get("DOORSTEP_KAFKA_LOG_KILLS", "3"))
USERS, EACH = 30, 20


@pytest.fixture(params=["sqlite", "mongodb"])
def engines(request, kafka, tmp_path):
    """Options of a server with its log in Kafka."""
    if request.param == "sqlite":
        yield kafka.log()
        return
    server = MongoDB(tmp_path / "mongodb")
    yield kafka.log() | server.options()
    server.script("stop")


def test_what_was_acked_stays_acked_and_the_rest_comes_again_flagged_after_a_kill(doorstep, kafka, engines):
    topic = kafka.make_topic(1)
    server = doorstep(engines, [kafka.source(topic, f"g-{topic}")])

    async def scenario():
        tab = await Tab.open(server, "alice")
        reply = await in_thread(server.post_events, [make_event("alice", n) for n in range(3)], 10)
        assert reply.status == 202
        seen = await tab.messages(3)
        await in_thread(kafka.produce, topic, [("alice", make_event("alice", n, "/kafka")) for n in range(3, 6)])
        seen += await tab.messages(3)
        assert [m["data"]["n"] for m in seen] == list(range(6))
        assert not any(m["redelivered"] for m in seen)
        await tab.ack(*seen[:4])
        again = await kill_and_come_back(server, "alice", seen[4:])
        # producers' duplicates, of before the kill and of now
        reply = await in_thread(server.post_events, [make_event("alice", 0), make_event("alice", 6), make_event("alice", 6)], 10)
        assert reply.status == 202
        live = await again.expect("message")
        assert live["data"]["n"] == 6 and live["seq"] > seen[-1]["seq"] and not live["redelivered"]
        await again.ack(live)
        server.publish(make_event("alice", 7))
        assert (await again.expect("message"))["data"]["n"] == 7
        assert await stored_numbers(again, "alice") == list(range(8))
        await again.close()

    run(scenario())
    kafka.wait_committed(f"g-{topic}", topic, 1)
    assert server.stop() == 0


def test_kills_in_the_middle_of_the_load_lose_nothing(doorstep, kafka, engines):
    seed, chance = chance_of_this_run()
    topic = kafka.make_topic(PARTITIONS)
    server = doorstep(engines, [kafka.source(topic, f"g-{topic}")])
    users = [f"u{i}" for i in range(USERS)]

    async def scenario():
        async with Crowd(server, users, seed) as crowd:
            events = expected_from_kafka(crowd.oracle, users, EACH, chance)
            pauses = random.Random(seed + 1)
            load = asyncio.gather(publish_all(server, crowd.oracle, users, EACH // 2), feed(kafka, topic, events, 60, lambda: pauses.uniform(0, 0.2)))
            await kill_again_and_again(server, crowd, chance, KILLS, 20, USERS * EACH // (KILLS + 1), 10)
            await load
            await crowd.finished(60)
            crowd.oracle.check()

    run(scenario(), 180)
    kafka.wait_committed(f"g-{topic}", topic, PARTITIONS)
    assert server.stop() == 0


def test_a_topic_that_does_not_fit_stops_the_start_with_the_command_to_run(doorstep, kafka):
    options = kafka.log()
    kafka.script("topic", options["log.topic"], "4", "--bootstrap", kafka.address)
    server = doorstep(options, start=False)
    server.start(wait=False)
    assert server.process.wait(30) == 78
    assert "kafka-configs.sh" in server.log_tail()
