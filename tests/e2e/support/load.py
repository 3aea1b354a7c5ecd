# SPDX-License-Identifier: Apache-2.0
"""Load on a server that is killed under it: what is published, how often it dies, and what a client sees after a death."""
import asyncio
import os
import random

from support.client import Tab, in_thread
from support.server import make_event


def chance_of_this_run():
    """@returns a seed, which is printed and which DOORSTEP_SEED repeats, and random numbers from it."""
    seed = int(os.environ.get("DOORSTEP_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"DOORSTEP_SEED={seed}")
    return seed, random.Random(seed)


def numbered(users, each, shuffle):
    """`each` events for every user, mixed, in order for each user."""
    turns = [user for user in users for _ in range(each)]
    shuffle.shuffle(turns)
    count = dict.fromkeys(users, 0)
    for user in turns:
        yield user, count[user]
        count[user] += 1


def expected_from_kafka(oracle, users, each, shuffle):
    """@returns such events as (user, number); the oracle waits for them from now on."""
    events = list(numbered(users, each, shuffle))
    for user, number in events:
        oracle.expect("/kafka", user, number)
    return events


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


async def publish_all(server, oracle, users, each):
    for number in range(each):
        for user in users:
            await publish_until_taken(server, oracle, user, number)


async def feed(kafka, topic, events, size, pauses):
    """Produces in pieces with pauses between, so that every life of the process has its share."""
    for begin in range(0, len(events), size):
        await in_thread(kafka.produce, topic, [(user, make_event(user, number, "/kafka")) for user, number in events[begin:begin + size]])
        await asyncio.sleep(pauses())


async def kill_again_and_again(server, crowd, chance, kills, least, most, patience):
    """kill -9 after so many more were delivered (least to most), and a moment later."""
    for kill in range(kills):
        goal = len(crowd.oracle.place) + chance.randrange(least, most)
        try:
            await crowd.delivered(goal, patience)
        except AssertionError:
            pass  # the load is through, or slow: any moment is a good one
        await asyncio.sleep(chance.uniform(0, 0.05))
        await in_thread(server.kill)
        print(f"kill {kill + 1}: {crowd.oracle.summary()}")
        await in_thread(server.start)


async def kill_and_come_back(server, user, owed):
    """kill -9, a start, and the user again: what was owed comes again in its order, flagged, and nothing else. @returns the new tab, with all acked."""
    await in_thread(server.kill)
    await in_thread(server.start)
    tab = await Tab.open(server, user)
    got = await tab.messages(len(owed))
    assert [m["seq"] for m in got] == [m["seq"] for m in owed]
    assert all(m["redelivered"] for m in got)
    await tab.ack(*got)
    return tab


async def stored_numbers(tab, user):
    """@returns the numbers of all stored events, oldest first."""
    await tab.send({"id": 5, "history": {"address": f"user:{user}", "after": 0, "limit": 100}})
    return [m["data"]["n"] for m in (await tab.expect("history"))["messages"]]
