# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random points under load, from Kafka and over HTTP at once: nothing lost, nothing twice without the flag, order kept.

The seed is printed; DOORSTEP_SEED repeats one. DOORSTEP_KILLS changes how often (10)."""
import asyncio
import os
import random

from support.client import in_thread, run
from support.crowd import Crowd
from support.server import make_event
from test_kafka_road import numbered

PARTITIONS = 4
KILLS = int(os.environ.get("DOORSTEP_KILLS", "10"))
USERS, EACH = 200, 50


async def publish_until_taken(server, oracle, user, number):
    """The producer's side of at-least-once: the same source and id again until somebody says 202."""
    oracle.attempt("/http", user, number)
    while True:
        try:
            reply = await in_thread(server.post_events, make_event(user, number, "/http"), 3)
            if reply.status == 202:
                oracle.expect("/http", user, number)
                return
            assert reply.status in (429, 503), f"{reply.status} {reply.body}"
        except OSError:
            pass
        await asyncio.sleep(0.05)


async def publish_over_http(server, oracle, users, enough):
    number = 0
    while not enough.is_set():
        for user in users:
            await publish_until_taken(server, oracle, user, number)
        number += 1


async def feed(kafka, topic, lines, pause):
    """Produces in pieces with pauses between, so that every life of the process has its share."""
    for begin in range(0, len(lines), 100):
        await in_thread(kafka.produce, topic, lines[begin:begin + 100])
        await asyncio.sleep(pause.uniform(0, 0.1))


async def kill_again_and_again(server, crowd, when, total):
    for kill in range(KILLS):
        # A point in the load (so many more delivered), then a point in the work on it.
        goal = len(crowd.oracle.place) + when.randrange(1, total // (KILLS + 2))
        try:
            await crowd.delivered(goal, 4)
        except AssertionError:
            pass  # the load is through, or slow: any moment is a good one
        await asyncio.sleep(when.uniform(0, 0.05))
        await in_thread(server.kill)
        print(f"kill {kill + 1}: {crowd.oracle.summary()}")
        await in_thread(server.start)


def test_ten_kills_in_the_middle_of_the_load_lose_nothing(doorstep, kafka):
    seed = int(os.environ.get("DOORSTEP_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"DOORSTEP_SEED={seed} DOORSTEP_KILLS={KILLS}")
    chance = random.Random(seed)
    topic = kafka.make_topic(PARTITIONS)
    group = f"g-{topic}"
    server = doorstep(sources=[kafka.source(topic, group)])
    users = [f"u{i}" for i in range(USERS)]

    async def scenario():
        async with Crowd(server, users, seed) as crowd:
            events = list(numbered(users, EACH, chance))
            for user, number in events:
                crowd.oracle.expect("/kafka", user, number)
            enough = asyncio.Event()
            http = asyncio.create_task(publish_over_http(server, crowd.oracle, users[:10], enough))
            load = asyncio.create_task(feed(kafka, topic, [(u, make_event(u, n, "/kafka")) for u, n in events], random.Random(seed + 1)))
            await kill_again_and_again(server, crowd, chance, len(events))
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
