# SPDX-License-Identifier: Apache-2.0
"""A proxy on loopback between the server and MongoDB that can be slow, or lose answers. It reads just enough of the wire protocol (OP_MSG: four bytes of length,
the command's name first in its document) to know a write from the rest: what it loses was applied. Runs in a thread of its own."""
import asyncio
import random
import struct
import threading

OP_MSG = 2013
WRITES = ("insert", "update", "delete")
NAME_AT = 16 + 4 + 1 + 4 + 1   # header, flags, section kind, length of the document, type of its first element


def command_of(message):
    """The command's name, empty for what is no OP_MSG with a document first."""
    if struct.unpack_from("<i", message, 12)[0] != OP_MSG or message[20] != 0:
        return ""
    return message[NAME_AT:message.index(b"\0", NAME_AT)].decode()


async def read_message(reader):
    length = await reader.readexactly(4)
    return length + await reader.readexactly(struct.unpack("<i", length)[0] - 4)


class Proxy:
    def __init__(self, port, seed):
        """@param port of the server behind it."""
        self.behind = port
        self.random = random.Random(f"{seed}/proxy")
        self.delay = 0.0          # seconds before a write goes on to the server
        self.loss = 0.0           # chance that a write's answer is lost, and its connection with it
        self.writes = self.lost = 0
        self.loop = asyncio.new_event_loop()
        self.started = threading.Event()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self.run(),), daemon=True)
        self.thread.start()
        self.started.wait(10)

    async def run(self):
        self.stopping = asyncio.Event()
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.started.set()
        await self.stopping.wait()
        server.close()

    def stop(self):
        self.loop.call_soon_threadsafe(self.stopping.set)
        self.thread.join(10)

    async def serve(self, reader, writer):
        """The driver has one request under way on a connection, so requests and answers take turns."""
        try:
            behind, to_behind = await asyncio.open_connection("127.0.0.1", self.behind)
        except OSError:
            writer.close()
            return
        try:
            while True:
                request = await read_message(reader)
                is_write = command_of(request) in WRITES
                self.writes += is_write
                if is_write and self.delay:
                    await asyncio.sleep(self.delay)
                to_behind.write(request)
                answer = await read_message(behind)
                if is_write and self.random.random() < self.loss:
                    self.lost += 1
                    return
                writer.write(answer)
                await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()
            to_behind.close()
