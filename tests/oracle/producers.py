# SPDX-License-Identifier: Apache-2.0
"""The load: producers that publish batches over HTTP, or all but the first through Kafka; each the same batch again until it is taken. Ends on SIGTERM,
with its last batches taken.

producers.py --port N --file F --users N --rate N [--producers N] [--seed S] [--channels] [--kafka HOST:PORT --topic T]
"""
import argparse
import asyncio
import collections
import pathlib
import random
import signal
import sys

from oracle.records import Recorder, event_name, now_ms
from support.kafka import STRUCTURED
from support.server import API_KEY

TICK = 0.05      # between the batches of one producer
CATCH_UP = 0.25  # what a longer outage cost is not made up for
ANSWER_TIMEOUT = 5
CHANNEL_SHARES = (("role", 0.03), ("all", 0.02))   # of the events, where there are channels: each goes to many
TYPES = {"role": "oracle.role", "all": "oracle.all"}


class Refused(Exception):
    """An answer that this load cannot deserve."""


class HttpPublisher:
    """One HTTP connection that is kept alive."""

    def __init__(self, port):
        self.port = port
        self.reader = self.writer = None

    async def publish(self, events):
        """Events are (user, text). @returns false when they were not taken, or nobody answered and nobody knows what became of them."""
        body = ("[" + ",".join(text for _, text in events) + "]").encode()
        try:
            return await asyncio.wait_for(self.exchange(body), ANSWER_TIMEOUT) == 202
        except (OSError, EOFError, asyncio.TimeoutError, ValueError):
            self.close()
            return False

    async def exchange(self, body):
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = (f"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {API_KEY}\r\n"
                f"Content-Type: application/cloudevents-batch+json\r\nContent-Length: {len(body)}\r\n\r\n")
        self.writer.write(head.encode() + body)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        lines = head.split("\r\n")
        length = next((int(line.split(":", 1)[1]) for line in lines if line.startswith("content-length:")), 0)
        answer = await self.reader.readexactly(length)
        if "connection: close" in lines:
            self.close()
        status = int(lines[0].split(" ")[1])
        if status not in (202, 429, 503):
            raise Refused(f"{status} {answer[:300]}")
        return status

    def close(self):
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


class KafkaPublisher:
    """Events of a user, or of a channel, are records of one partition, by their key."""

    def __init__(self, address, topic):
        self.command = ["kcat", "-P", "-b", address, "-t", topic, "-K", "\t", "-X", "acks=all", "-X", "enable.idempotence=true", "-X", "linger.ms=2",
                        "-X", "reconnect.backoff.max.ms=500",
                        "-H", STRUCTURED]

    async def publish(self, events):
        lines = "".join(f"u{user}\t{text}\n" for user, text in events)
        kcat = await asyncio.create_subprocess_exec(*self.command, stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL)
        await kcat.communicate(lines.encode())
        return kcat.returncode == 0

    def close(self):
        pass


class Producer:
    def __init__(self, number, arguments, recorder):
        self.number = number
        self.recorder = recorder
        self.random = random.Random(f"{arguments.seed}/producer/{number}")
        self.users = arguments.users
        self.rate = arguments.rate / arguments.producers
        self.shares = CHANNEL_SHARES if arguments.channels else ()
        self.next = collections.Counter()  # a user, or a channel
        self.publisher = KafkaPublisher(arguments.kafka, arguments.topic) if arguments.kafka and number > 0 else HttpPublisher(arguments.port)

    def target(self):
        for name, share in self.shares:
            if self.random.random() < share:
                return name
        return self.random.randrange(self.users)

    def batch(self, size):
        events, names = [], []
        for _ in range(size):
            user = self.target()
            name = event_name(self.number, user, self.next[user])
            self.next[user] += 1
            names.append(name)
            events.append((user, f'{{"specversion":"1.0","id":"{name}","source":"/oracle/{self.number}","type":"{TYPES.get(user, "oracle.numbered")}","touser":"u{user}",'
                                 f'"data":{{"n":{self.next[user] - 1}}}}}'))
        return names, events

    async def run(self, stopping):
        loop = asyncio.get_running_loop()
        last, owed, batches = loop.time(), 0.0, 0
        while not stopping.is_set():
            now = loop.time()
            owed, last = owed + self.rate * min(now - last, CATCH_UP), now
            if owed >= 1:
                names, events = self.batch(int(owed))
                owed -= int(owed)
                batches += 1
                await self.publish(f"{self.number}.{batches}", names, events)
            await asyncio.sleep(max(0.0, last + TICK - loop.time()))
        self.publisher.close()

    async def publish(self, batch, names, events):
        self.recorder.add(f"A {batch} {' '.join(names)}")
        await self.recorder.durable()
        while not await self.publisher.publish(events):
            await asyncio.sleep(self.random.uniform(0.02, 0.06))
        self.recorder.add(f"Y {batch} {now_ms()}")


async def publish_until_stopped(arguments):
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    recorder = Recorder(arguments.file)
    writing = asyncio.create_task(recorder.run(0.001))
    await asyncio.gather(*(Producer(i, arguments, recorder).run(stopping) for i in range(arguments.producers)))
    await recorder.durable()
    writing.cancel()
    recorder.close()


def main(words):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--file", type=pathlib.Path, required=True)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="messages a second, all together")
    parser.add_argument("--producers", type=int, default=4)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--channels", action="store_true", help="some events are for the role and for all")
    parser.add_argument("--kafka", default="")
    parser.add_argument("--topic", default="")
    asyncio.run(publish_until_stopped(parser.parse_args(words)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
