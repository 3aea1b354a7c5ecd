# SPDX-License-Identifier: Apache-2.0
"""Many readers of one server under one oracle, until everything that was accepted is delivered and receipted."""
import asyncio

from support.client import Reader
from support.oracle import Oracle


class Crowd:
    def __init__(self, server, users, seed=0):
        self.oracle = Oracle()
        self.readers = [Reader(server, user, self.oracle, seed) for user in users]
        self.tasks = []

    async def __aenter__(self):
        self.tasks = [asyncio.create_task(reader.run()) for reader in self.readers]
        return self

    async def __aexit__(self, *_):
        for task in self.tasks:
            task.cancel()
        ended = await asyncio.gather(*self.tasks, return_exceptions=True)
        broken = [x for x in ended if isinstance(x, Exception) and not isinstance(x, asyncio.CancelledError)]
        assert not broken, broken

    async def delivered(self, count, timeout=60):
        """Until so many messages were delivered."""
        await self.until(lambda: len(self.oracle.place) >= count, timeout)

    async def finished(self, timeout=60):
        """Until nothing is owed; gives up early when a promise is broken."""
        await self.until(lambda: self.oracle.missing_count() == 0 or self.oracle.faults, timeout)

    async def until(self, condition, timeout):
        end = asyncio.get_running_loop().time() + timeout
        while not condition():
            broken = [task for task in self.tasks if task.done()]
            assert not broken, broken[0].exception()
            assert asyncio.get_running_loop().time() < end, f"not in {timeout} s: {self.oracle.summary()}"
            await asyncio.sleep(0.02)
