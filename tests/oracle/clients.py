# SPDX-License-Identifier: Apache-2.0
"""Many clients in one process, each as an app would have it: it handles and acks what it gets, sometimes late and out of order, sometimes it nacks, or goes away
with messages in hand; it comes back when it is cut off and repeats acks without a receipt. All it sees goes to the file. Ends on SIGTERM.

clients.py --port N --file F --users FIRST:END --status F [--seed S] [--devices N] [--channels]
With --devices each user has so many, each with a cursor of its own; without, every tenth user has two that share one.
"""
import argparse
import asyncio
import json
import os
import pathlib
import random
import signal
import sys

from oracle.records import ROLE, Recorder, channels_of, has_role, now_ms
from support.client import ENDED, open_socket
from support.tokens import make_token

SECOND_DEVICE_EVERY = 10   # every tenth user has two
GO_AWAY, HOLD, NACK, BY_ID = 0.004, 0.10, 0.002, 0.35  # chances a frame with messages
REPEATED_ACKS_MAX = 200    # ids a frame


class WentAway(Exception):
    """The app was closed with messages in hand."""


class Place:
    """What the clients of this process share."""

    def __init__(self, arguments):
        self.port, self.seed = arguments.port, arguments.seed
        self.recorder = Recorder(arguments.file)
        self.by_device = arguments.devices > 0
        self.channels = arguments.channels
        self.receipted = set()  # message ids of each user; of each device where it has a cursor
        self.greeted = set()    # clients
        self.received_count = 0
        self.connected_count = 0


class Client:
    def __init__(self, place, user, device):
        self.place, self.user, self.name = place, user, f"{user}.{device}"
        self.address = f"user:u{user}"
        self.channels = channels_of(user) if place.channels else []
        self.random = random.Random(f"{place.seed}/client/{self.name}")
        self.token = make_token(f"u{user}", expires_in=86400, roles=[ROLE] if has_role(user) else [])
        self.highest = {}      # address -> seq
        self.pending = {}      # message id -> address and seq: acked, and no receipt yet
        self.socket = None
        self.start_afresh()

    def start_afresh(self):
        """What the app knows only while it runs."""
        self.held = {}         # message id -> address and seq: received, acked later
        self.again = set()     # message ids of channels that came again: another connection of the user may have nacked them, so that they are acked by id
        self.by_id_only = False

    async def run(self):
        while True:
            pause = self.random.uniform(0.02, 0.15)
            try:
                await self.connection()
            except WentAway:
                pause = self.random.uniform(0.02, 1.5)
            except ENDED:
                pass
            self.start_afresh()
            await asyncio.sleep(pause)

    async def connection(self):
        self.opened = now_ms()
        self.socket = socket = await asyncio.wait_for(open_socket(self.place.port), 5)
        self.place.connected_count += 1
        try:
            connect = {"token": self.token, "device": self.name}
            if self.highest:
                connect["resume"] = self.highest
            await socket.send(json.dumps({"id": 1, "connect": connect}))
            while True:
                await self.frame(await socket.recv())
        finally:
            self.socket = None
            self.place.connected_count -= 1
            socket.transport.abort()

    async def frame(self, frame):
        fresh = {}
        for line in frame.split("\n"):
            if not line.strip():
                continue
            x = json.loads(line)
            if "message" in x:
                self.received(x["message"], fresh)
            elif "receipt" in x:
                self.receipted(x["receipt"])
            elif "connected" in x:
                self.place.greeted.add(self.name)
                self.record(f"C {self.name} {self.opened} {self.floors(x['connected']['addresses'])}")
                await self.repeat_acks()
            elif not x:
                await self.socket.send("{}")
            elif "error" in x and x["error"].get("temporary") or "disconnect" in x:
                pass
            else:
                self.record(f"E {self.name} {now_ms()} {line[:300]}")
        if fresh:
            await self.handle(fresh)

    def floors(self, addresses):
        return " ".join([str(addresses.get(self.address, 0)), *(f"{x}={seq}" for x, seq in addresses.items() if x != self.address)])

    def record(self, line):
        self.place.recorder.add(line)

    def received(self, x, fresh):
        seq, identity = x["seq"], x["id"]
        self.record(f"R {self.name} {now_ms()} {seq} {1 if x['redelivered'] else 0} {x['attempt']} {identity} {x['event_id']} {x['address']}")
        self.place.received_count += 1
        self.highest[x["address"]] = max(self.highest.get(x["address"], 0), seq)
        fresh[identity] = x["address"], seq
        if x["redelivered"] and x["address"] != self.address:
            self.again.add(identity)

    def receipted(self, x):
        floors, ids = x.get("up_to", {}), x.get("ids", [])
        self.record(f"P {self.name} {now_ms()} {self.floors(floors)} {' '.join(ids)}")
        done = [i for i in ids if i in self.pending] + [i for i, (address, seq) in self.pending.items() if seq <= floors.get(address, 0)]
        for i in done:
            self.pending.pop(i, None)
        self.place.receipted.update((self.name if self.place.by_device else self.user, i) for i in done)

    async def handle(self, fresh):
        chance = self.random.random()
        if chance < GO_AWAY:
            raise WentAway()
        chance -= GO_AWAY
        if chance < NACK:
            # It comes again; from now on this connection acks by id (docs/protocol.md, nack).
            self.by_id_only = True
            identity = self.random.choice(list(fresh))
            del fresh[identity]
            self.held.pop(identity, None)
            await self.socket.send(json.dumps({"nack": {"ids": [identity], "reason": "not now"}}))
        elif chance < NACK + HOLD:
            identity = self.random.choice(list(fresh))
            self.held[identity] = fresh.pop(identity)
            asyncio.get_running_loop().call_later(self.random.uniform(0.05, 0.4), self.ack_held, self.socket, identity)
        for identity in self.held:
            fresh.pop(identity, None)  # a repeat of what is acked later anyway
        if fresh:
            await self.ack(fresh, self.held or self.by_id_only or not self.again.isdisjoint(fresh) or self.random.random() < BY_ID)

    async def ack(self, fresh, by_id):
        self.record(f"K {self.name} {now_ms()} {' '.join(fresh)}")
        self.pending.update(fresh)
        if by_id:
            await self.socket.send(json.dumps({"id": 3, "ack": {"ids": list(fresh)}}))
        else:
            up_to = {}
            for address, seq in fresh.values():
                up_to[address] = max(up_to.get(address, 0), seq)
            await self.socket.send(json.dumps({"ack": {"up_to": up_to}}))

    def ack_held(self, socket, identity):
        if socket is self.socket and identity in self.held:
            task = asyncio.ensure_future(self.ack({identity: self.held.pop(identity)}, True))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # a connection that ended is seen by its reader

    async def repeat_acks(self):
        ids = list(self.pending)
        for begin in range(0, len(ids), REPEATED_ACKS_MAX):
            await self.socket.send(json.dumps({"id": 2, "ack": {"ids": ids[begin:begin + REPEATED_ACKS_MAX]}}))


async def write_status(place, clients, path):
    """How far it is, for the one who waits for the end of it."""
    while True:
        status = {"connected": place.connected_count, "received": place.received_count, "receipted": len(place.receipted), "greeted": len(place.greeted),
                  "pending": sum(len(x.pending) for x in clients)}
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(status))
        os.replace(fresh, path)
        await asyncio.sleep(0.1)


async def run_until_stopped(arguments):
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    place = Place(arguments)
    first, end = map(int, arguments.users.split(":"))
    clients = [Client(place, user, device) for user in range(first, end)
               for device in range(arguments.devices or (2 if user % SECOND_DEVICE_EVERY == 0 else 1))]
    tasks = [asyncio.create_task(x.run()) for x in clients]
    beside = [asyncio.create_task(place.recorder.run(0.05)), asyncio.create_task(write_status(place, clients, arguments.status))]
    waiting = asyncio.create_task(stopping.wait())
    done, _ = await asyncio.wait([waiting, *tasks, *beside], return_when=asyncio.FIRST_COMPLETED)
    for task in [*tasks, *beside]:
        task.cancel()
    await asyncio.gather(*tasks, *beside, return_exceptions=True)
    place.recorder.close()
    for task in done - {waiting}:
        task.result()  # a client that broke is a broken run


def main(words):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--file", type=pathlib.Path, required=True)
    parser.add_argument("--users", required=True)
    parser.add_argument("--status", type=pathlib.Path, required=True)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--devices", type=int, default=0)
    parser.add_argument("--channels", action="store_true", help="every second user has the role; all read the channels")
    asyncio.run(run_until_stopped(parser.parse_args(words)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
