# SPDX-License-Identifier: Apache-2.0
"""The files of a run: lines of words, appended, fsynced in groups. Times are milliseconds of the machine's monotonic clock, the same in all processes.

producer-*.log  A <batch> <event>...            about to be sent; fsynced before the request leaves
                Y <batch> <t>                   the server said 202 to all of it
clients-*.log   C <client> <opened> <floor> [<channel>=<floor>...]   connected; `opened` is when the connection began to be made
                R <client> <t> <seq> <redelivered 0|1> <attempt> <message id> <event> <address>
                K <client> <t> <message id>...  handled by the client; written before the ack is sent
                P <client> <t> <floor> [<channel>=<floor>...] <message id>...   a receipt as it came; 0: it says no floor of the mailbox
                E <client> <t> <what>           an answer that no client should get
An event is p<producer>-<user>-<number>, its number one more with each event of this producer for this user. A client is <user>.<device>.
With channels the user may also be `role` or `all`: an event for everybody who has the role, which are the users of even numbers, or for all.
"""
import asyncio
import collections
import os
import time

Event = collections.namedtuple("Event", "producer user number")
CHANNELS = {"role": "role:oracle", "all": "all"}   # by what stands in an event's name
ROLE = "oracle"


def has_role(user):
    return int(user) % 2 == 0


def channels_of(user):
    return [address for name, address in CHANNELS.items() if name == "all" or has_role(user)]


def readers_among(users, name):
    """How many of so many users, from 0 on, an event with this in its name is for."""
    return {"all": users, "role": (users + 1) // 2}.get(name, 1)


def event_name(producer, user, number):
    return f"p{producer}-{user}-{number}"


def parse_event(name):
    """@returns nothing when it is no name of ours."""
    words = name.split("-")
    if len(words) != 3 or not words[0].startswith("p") or not all(x.isdigit() for x in (words[0][1:], words[2])) \
            or not (words[1].isdigit() or words[1] in CHANNELS):
        return None
    return Event(words[0], words[1], int(words[2]))


def now_ms():
    return int(time.monotonic() * 1000)


class Recorder:
    """Gathers lines and writes them with one fsync a turn, in a thread beside the event loop."""

    def __init__(self, path):
        self.file = open(path, "ab", buffering=0)
        self.lines = []
        self.waiting = []

    def add(self, line):
        self.lines.append(line)

    async def durable(self):
        """Until all that was added is on the disk."""
        done = asyncio.get_running_loop().create_future()
        self.waiting.append(done)
        await done

    async def run(self, interval):
        """Writes for ever, at most once an interval."""
        loop = asyncio.get_running_loop()
        while True:
            lines, self.lines = self.lines, []
            waiting, self.waiting = self.waiting, []
            if lines:
                await loop.run_in_executor(None, self.write, lines)
            for done in waiting:
                if not done.done():
                    done.set_result(None)
            await asyncio.sleep(interval)

    def write(self, lines):
        self.file.write(("\n".join(lines) + "\n").encode())
        os.fsync(self.file.fileno())

    def close(self):
        if self.lines:
            self.write(self.lines)
        self.file.close()
