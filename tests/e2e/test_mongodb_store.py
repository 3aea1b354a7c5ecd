# SPDX-License-Identifier: Apache-2.0
"""The road with the store in MongoDB, beside the embedded log: deaths of the program, and of the store under it."""
import asyncio
import os
import signal
import time

import pytest

from support.client import Tab, in_thread, run
from support.crowd import Crowd
from support.load import chance_of_this_run, kill_again_and_again, kill_and_come_back, publish_all, stored_numbers
from support.mongodb import MongoDB
from support.server import make_event

KILLS = int(os.environ.get("DOORSTEP_MONGODB_KILLS", "3"))
USERS, EACH = 30, 20


@pytest.fixture
def mongodb(tmp_path):
    server = MongoDB(tmp_path / "mongodb")
    yield server
    server.script("stop")


def test_what_was_acked_stays_acked_and_the_rest_comes_again_flagged_after_a_kill(doorstep, mongodb):
    server = doorstep(mongodb.options())

    async def scenario():
        tab = await Tab.open(server, "alice")
        server.publish(*[make_event("alice", n) for n in range(6)])
        seen = await tab.messages(6)
        assert not any(m["redelivered"] for m in seen)
        await tab.ack(*seen[:3])
        again = await kill_and_come_back(server, "alice", seen[3:])
        server.publish(make_event("alice", 6))
        live = await again.expect("message")
        assert live["seq"] > seen[-1]["seq"] and not live["redelivered"]
        assert (await stored_numbers(again, "alice"))[:6] == list(range(6))
        await again.close()

    run(scenario())
    assert server.stop() == 0


def test_kills_of_the_program_in_the_middle_of_the_load_lose_nothing(doorstep, mongodb):
    seed, chance = chance_of_this_run()
    server = doorstep(mongodb.options())
    users = [f"u{i}" for i in range(USERS)]

    async def scenario():
        async with Crowd(server, users, seed) as crowd:
            load = asyncio.create_task(publish_all(server, crowd.oracle, users, EACH))
            await kill_again_and_again(server, crowd, chance, KILLS, 20, USERS * EACH // (KILLS + 1), 10)
            await load
            await crowd.finished(60)
            crowd.oracle.check()

    run(scenario(), 150)
    assert server.stop() == 0


def test_kills_while_the_log_sheds_what_the_store_has_lose_nothing(doorstep, mongodb):
    seed, chance = chance_of_this_run()
    server = doorstep(mongodb.options() | {"log.dedup_window": "8s", "store.retention_interval": "100ms"})
    users = [f"u{i}" for i in range(USERS)]

    async def shed(count):
        deadline = time.monotonic() + 60
        while (await in_thread(server.metrics))["doorstep_log_records_removed_total"] < count:
            assert time.monotonic() < deadline, "the log keeps what the store has"
            await asyncio.sleep(0.1)

    async def scenario():
        async with Crowd(server, users, seed) as crowd:
            for first in range(0, 4000, 500):
                await in_thread(server.publish, *[make_event("nobody", n, "/old") for n in range(first, first + 500)])
            await shed(1)
            load = asyncio.create_task(publish_all(server, crowd.oracle, users, EACH))
            await kill_again_and_again(server, crowd, chance, KILLS, 20, USERS * EACH // (KILLS + 1), 10)
            await load
            await crowd.finished(60)
            crowd.oracle.check()
            await in_thread(server.kill)
            await in_thread(server.start)
            await shed(USERS * EACH // 2)
            crowd.oracle.check()

    run(scenario(), 200)
    assert server.stop() == 0


def test_the_store_is_killed_and_comes_back_under_load(doorstep, mongodb):
    server = doorstep(mongodb.options())
    users = [f"u{i}" for i in range(USERS)]

    async def scenario():
        async with Crowd(server, users, 1) as crowd:
            load = asyncio.create_task(publish_all(server, crowd.oracle, users, EACH))
            await crowd.delivered(USERS * EACH // 4, 30)
            await in_thread(mongodb.script, "kill")
            await asyncio.sleep(1.5)
            print(f"away: {crowd.oracle.summary()}")
            await in_thread(mongodb.script, "restart")
            await load
            await crowd.finished(60)
            crowd.oracle.check()

    run(scenario(), 120)
    assert server.stop() == 0


def test_a_drain_that_the_store_holds_up_ends_at_its_deadline_and_loses_nothing(doorstep, mongodb):
    server = doorstep(mongodb.options() | {"runtime.drain_timeout": "2s"})

    async def scenario():
        tab = await Tab.open(server, "alice")
        server.publish(make_event("alice", 0))
        first = await tab.expect("message")
        mongodb.signal(signal.SIGSTOP)
        try:
            server.process.send_signal(signal.SIGTERM)
            begin = time.monotonic()
            assert await in_thread(server.process.wait, 30) == 1
            assert time.monotonic() - begin < 6, "not the store's own timeout on top"
        finally:
            mongodb.signal(signal.SIGCONT)
        assert "drain-timed-out" in server.log_tail()
        await in_thread(server.start)
        again = await Tab.open(server, "alice")
        repeat = await again.expect("message")
        assert repeat["id"] == first["id"] and repeat["redelivered"]
        await again.ack(repeat)
        await again.close()

    run(scenario())
    assert server.stop() == 0
