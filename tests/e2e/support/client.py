# SPDX-License-Identifier: Apache-2.0
"""An independent client of doorstep.v1 (docs/protocol.md) on Debian's websockets library, version 10 and 15."""
import asyncio
import json
import random

import websockets
import websockets.version

from support.tokens import make_token

ENDED = (websockets.ConnectionClosed, OSError, EOFError, asyncio.TimeoutError, websockets.InvalidHandshake)


async def open_socket(port, subprotocols=("doorstep.v1",), headers=None, path="/v1/ws", tls=None):
    # The name of the headers' argument changed with websockets 14; 15 would ask the environment for a proxy.
    major = int(websockets.version.version.split(".")[0])
    extra = {"additional_headers" if major >= 14 else "extra_headers": headers or {}}
    if major >= 15:
        extra["proxy"] = None
    if tls:
        extra["ssl"] = tls
    return await websockets.connect(f"{'wss' if tls else 'ws'}://127.0.0.1:{port}{path}", subprotocols=list(subprotocols), compression=None, ping_interval=None,
                                    close_timeout=1, max_size=None, max_queue=None, **extra)


def objects(frame):
    return [json.loads(line) for line in frame.split("\n") if line.strip()]


def close_code(error):
    """The code the server closed with, 1006 where there was none."""
    return error.rcvd.code if getattr(error, "rcvd", None) else 1006


class Tab:
    """One connection, driven by the test: it does what it is told and nothing by itself but answer pings."""

    def __init__(self, user):
        self.user = user
        self.socket = None
        self.waiting = []      # objects that arrived and nobody asked for yet

    @classmethod
    async def open(cls, server, user, resume=None, token=None, **connect):
        tab = cls(user)
        tab.socket = await open_socket(server.port)
        request = {"token": token or make_token(user), **connect}
        if resume is not None:
            request["resume"] = resume
        await tab.send({"id": 1, "connect": request})
        tab.connected = await tab.expect("connected")
        return tab

    async def send(self, *what):
        await self.socket.send("\n".join(json.dumps(x) for x in what))

    async def next(self, timeout=10):
        """The next object that is no ping."""
        while not self.waiting:
            for x in objects(await asyncio.wait_for(self.socket.recv(), timeout)):
                if x:
                    self.waiting.append(x)
                else:
                    await self.socket.send("{}")
        return self.waiting.pop(0)

    async def expect(self, kind, timeout=10):
        """@returns the next object of this kind; receipts and counts in between are left out, anything else is wrong."""
        while True:
            x = await self.next(timeout)
            if kind in x:
                return x[kind]
            assert "receipt" in x or "counts" in x, f"waited for {kind}, got {x}"

    async def messages(self, count, timeout=10):
        return [await self.expect("message", timeout) for _ in range(count)]

    async def nothing(self, kind, seconds):
        """Nothing of this kind comes for so long."""
        end = asyncio.get_running_loop().time() + seconds
        while (left := end - asyncio.get_running_loop().time()) > 0:
            try:
                x = await self.next(left)
            except asyncio.TimeoutError:
                return
            assert kind not in x, f"nothing should come, got {x}"

    async def ack(self, *messages, request=99):
        """Acks by id and waits for the durable receipt; what comes before it is kept for later."""
        await self.send({"id": request, "ack": {"ids": [m["id"] for m in messages]}})
        before = []
        while True:
            x = await self.next()
            if x.get("id") == request:
                self.waiting = before + self.waiting
                return x["receipt"]
            before.append(x)

    def vanish(self):
        """No close frame, no FIN in order: the connection is reset."""
        self.socket.transport.abort()

    async def close(self):
        await self.socket.close()


class Reader:
    """A client as an app would have it: acks what it got, comes back when it is cut off, repeats acks without a receipt. Tells the oracle everything."""

    def __init__(self, server, user, oracle, seed=0):
        self.server, self.user, self.oracle = server, user, oracle
        self.random = random.Random(f"{seed}/{user}")
        self.highest = 0
        self.pending = {}      # id -> seq, acked and without a receipt
        self.sessions = 0

    async def run(self):
        while True:
            try:
                await self.session()
            except ENDED:
                pass
            await asyncio.sleep(self.random.uniform(0.02, 0.15))

    async def session(self):
        socket = await asyncio.wait_for(open_socket(self.server.port), 5)
        try:
            connect = {"token": make_token(self.user)}
            if self.highest:
                connect["resume"] = {f"user:{self.user}": self.highest}
            await socket.send(json.dumps({"id": 1, "connect": connect}))
            first = True
            while True:
                await self.frame(socket, objects(await socket.recv()))
                if first:
                    first = False
                    self.sessions += 1
                    if self.pending:
                        await socket.send(json.dumps({"id": 2, "ack": {"ids": list(self.pending)}}))
        finally:
            await socket.close()

    async def frame(self, socket, received):
        fresh = []
        for x in received:
            if not x:
                await socket.send("{}")
            elif "message" in x:
                message = x["message"]
                self.oracle.pushed(self.user, message)
                self.highest = max(self.highest, message["seq"])
                self.pending[message["id"]] = message["seq"]
                fresh.append(message)
            elif "receipt" in x:
                self.receipt(x["receipt"])
            elif "error" in x:
                self.oracle.faults.append(f"UNEXPECTED: {self.user} was answered {x}")
        if fresh and self.random.random() < 0.7:
            await socket.send(json.dumps({"ack": {"up_to": {f"user:{self.user}": max(m["seq"] for m in fresh)}}}))
        elif fresh:
            await socket.send(json.dumps({"id": 3, "ack": {"ids": [m["id"] for m in fresh]}}))

    def receipt(self, receipt):
        floor = receipt.get("up_to", {}).get(f"user:{self.user}", 0)
        done = [i for i, seq in self.pending.items() if seq <= floor] + [i for i in receipt.get("ids", []) if i in self.pending]
        for i in set(done):
            del self.pending[i]
        self.oracle.receipted(self.user, done)


def run(coroutine, timeout=60):
    """Runs a test's coroutine to its end, or fails."""
    async def bounded():
        return await asyncio.wait_for(coroutine, timeout)
    return asyncio.run(bounded())


async def in_thread(function, *arguments):
    """Blocking calls (HTTP, processes) beside the sockets."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)
