# SPDX-License-Identifier: Apache-2.0
"""Limits of one user over all its connections, and of one address."""
import asyncio
import contextlib

import websockets

from support.client import Tab, run
from support.entrance import ending, knock, wait_for
from support.tokens import make_token


def test_a_user_has_so_many_sessions_and_others_are_not_touched(doorstep):
    server = doorstep({"ws.connections_per_user_max": 2})

    async def scenario():
        tabs = [await Tab.open(server, "alice") for _ in range(2)]
        assert (await knock(server, make_token("alice")))[0] == 3006
        assert (await knock(server, make_token("bob")))[0] == "connected"
        await tabs[0].close()
        for _ in range(100):
            if (await knock(server, make_token("alice")))[0] == "connected":
                return
            await asyncio.sleep(0.02)
        raise AssertionError("the place was not given back")

    run(scenario())


def test_frames_and_bytes_of_a_user_are_counted_over_its_connections(doorstep):
    server = doorstep({"ws.frames_per_second_per_user_max": 30, "ws.bytes_per_second_per_user_max": "64KiB", "ws.frames_per_second_max": 1000})

    async def scenario():
        tabs = [await Tab.open(server, "alice") for _ in range(3)]
        other = await Tab.open(server, "bob")
        for _ in range(19):  # 57 of them may come at once: 60, less the first frames
            for tab in tabs:
                await tab.send({"id": 1, "ping": {}})
        with contextlib.suppress(websockets.ConnectionClosed):
            for _ in range(60):
                await tabs[0].send({"id": 1, "ping": {}})
        assert (await ending(tabs[0]))[0] == 3005
        await other.send({"id": 2, "ping": {}})
        assert (await other.next())["id"] == 2
        # Five frames, and more bytes than two seconds' worth.
        big = await Tab.open(server, "carol")
        for _ in range(5):
            await big.send({"id": 3, "nack": {"ids": ["x"], "reason": "y" * 1000}, "filling": "z" * 50_000})
        assert (await ending(big))[0] == 3005

    run(scenario())


def test_an_address_has_so_many_connections(doorstep):
    server = doorstep({"http.connections_per_address_max": 3})

    async def scenario():
        tabs = [await Tab.open(server, f"user-{n}") for n in range(3)]
        assert (await knock(server, make_token("alice")))[0] == 429
        await tabs[0].close()

    run(scenario())
    wait_for(lambda: run(knock(server, make_token("alice")))[0] == "connected")
