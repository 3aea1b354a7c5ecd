# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random points under load, from Kafka and over HTTP at once: nothing lost, nothing twice without the flag, order kept.

The seed is printed; DOORSTEP_SEED repeats one. DOORSTEP_KILLS changes how often (10)."""
import asyncio
import os
import random

from support.client import run
from support.crowd import Crowd
from support.load import chance_of_this_run, expected_from_kafka, feed, kill_again_and_again, publish_until_taken

PARTITIONS = 4
KILLS = int(os.environ.get("DOORSTEP_KILLS", "10"))
USERS, EACH = 200, 50


async def publish_over_http(server, oracle, users, enough):
    number = 0
    while not enough.is_set():
        for user in users:
            await publish_until_taken(server, oracle, user, number)
        number += 1


def test_ten_kills_in_the_middle_of_the_load_lose_nothing(doorstep, kafka):
    seed, chance = chance_of_this_run()
    topic = kafka.make_topic(PARTITIONS)
    group = f"g-{topic}"
    server = doorstep(sources=[kafka.source(topic, group)])
    users = [f"u{i}" for i in range(USERS)]

    async def scenario():
        async with Crowd(server, users, seed) as crowd:
            events = expected_from_kafka(crowd.oracle, users, EACH, chance)
            enough = asyncio.Event()
            http = asyncio.create_task(publish_over_http(server, crowd.oracle, users[:10], enough))
            pauses = random.Random(seed + 1)
            load = asyncio.create_task(feed(kafka, topic, events, 100, lambda: pauses.uniform(0, 0.1)))
            await kill_again_and_again(server, crowd, chance, KILLS, 1, len(events) // (KILLS + 2), 4)
            await load
            enough.set()
            await http
            await crowd.finished(60)
            crowd.oracle.check()
            assert sum(reader.sessions for reader in crowd.readers) > USERS, "the clients were cut off and came back"
            assert len(crowd.oracle.accepted["/http", "u0"]) > 0

    run(scenario(), 200)
    kafka.wait_committed(group, topic, PARTITIONS)
    # After all that, one more start finds nothing owed.
    assert server.stop() == 0
