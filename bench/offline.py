# SPDX-License-Identifier: Apache-2.0
"""The workloads of bench/run without a broker: W7 durable publishing over HTTP, W9 a backlog for users who are away, unloaded: memory of users who are not there."""
import json
import subprocess
import time
import urllib.request

from pathlib import Path

PUBLISH_COLUMNS = [("rate", "events/s"), ("cpu_us", "CPU-us/event"), ("user_us", "user"), ("system_us", "sys"), ("p50_ms", "p50 ms"), ("p99_ms", "p99 ms"), ("max_ms", "max ms"),
                   ("events_commit", "events/fsync"), ("server_cores", "server")]
BACKLOG_COLUMNS = [("stored_rate", "stored/s"), ("restart_ms", "restart ms"), ("cpu_us", "CPU-us/msg"), ("rate", "msg/s"), ("drain_s", "drain s"), ("messages_frame", "msg/frame"),
                   ("connect_us", "us/connect"), ("lost", "lost"), ("repeated", "rep"), ("repeated_unflagged", "rep!flag"), ("reordered", "reord"), ("generator_cores", "gen")]
UNLOADED_COLUMNS = [("bytes_unacked", "B/user, 1 owed"), ("bytes_settled", "B/user, all acked"), ("anon_mb", "anon MB"), ("mailboxes", "loaded")]
COLUMNS = {"W7": PUBLISH_COLUMNS, "W9": BACKLOG_COLUMNS, "unloaded": UNLOADED_COLUMNS}
TOOLS = ["bench_publish", "bench_backlog", "bench_loadgen"]
KEY = "the-bench-publishes"


def metrics(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port + 1}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line and line[0] != "#")}


def anonymous_bytes(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


class Bench:
    """One round. `start` starts the server on this folder, or again, and returns it when it is ready (or at once, with wait=False)."""

    def __init__(self, options, folder, port, pinned, tools, start):
        self.options, self.folder, self.port, self.pinned, self.tools, self.start = options, folder, port, pinned, tools, start

    def tool(self, name, *words):
        return self.pinned(self.options.other_core, [str(self.tools / "bench" / name), *map(str, words)])

    def figures(self, command):
        path = self.folder / "figures.json"
        path.unlink(missing_ok=True)
        with open(self.folder / "tool.log", "a") as log:
            subprocess.run([*command, "--json", str(path)], stdout=log, stderr=log, timeout=3600)
        if not path.exists():
            return {"void": ["the generator failed: " + (self.folder / "tool.log").read_text()[-600:]]}
        return json.loads(path.read_text())

    def publish(self, server, *words):
        return self.figures(self.tool("bench_publish", "--connect", f"127.0.0.1:{self.port + 1}", "--api-key", KEY, "--publishers", self.options.publishers,
                                      "--server-pid", server.pid, *words))

    def w7(self):
        server = self.start()
        found = self.publish(server, "--users", self.options.users, "--batch", self.options.batch, "--seconds", self.options.seconds, "--warm", self.options.warm)
        counted = metrics(self.port)
        return found | {"events_commit": counted["doorstep_messages_appended_total"] / max(1, counted["doorstep_log_commits_total"])}

    def w9(self):
        server = self.start()
        path = self.folder / "figures.json"
        command = self.tool("bench_backlog", "--connect", f"127.0.0.1:{self.port}", "--publish", f"127.0.0.1:{self.port + 1}", "--secret", self.options.secret, "--api-key", KEY,
                            "--users", self.options.users, "--backlog", self.options.backlog, "--json", path)
        with open(self.folder / "tool.log", "w") as log:
            tool = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
            try:
                if tool.stdout.readline().strip() != "stored":
                    return {"void": ["the generator failed: " + (self.folder / "tool.log").read_text()[-600:]]}
                server.kill()
                server.wait()
                began = time.monotonic_ns()
                server = self.start(wait=False)
                tool.communicate(f"{server.pid} {began}\n", timeout=900)
            finally:
                tool.kill()
                tool.wait()
        return json.loads(path.read_text()) if path.exists() else {"void": ["the generator failed"]}

    def slope(self, server, count, act):
        """Bytes a user that a second half of as many adds to a first one: what fills up and stays, as caches do, is in the first."""
        act(0)
        before = anonymous_bytes(server.pid)
        act(count)
        return (anonymous_bytes(server.pid) - before) / count

    def unloaded(self):
        """Users nobody has loaded, each with one message, and users who came, acked all of it and went."""
        server, half = self.start(), self.options.backlog // 2
        void = []

        def store(first):
            void.extend(self.publish(server, "--users", half, "--first-user", first, "--events", half, "--batch", 100, "--in-turn")["void"])
            time.sleep(5)  # what is gathered for a while is written

        def visit(first):
            command = self.tool("bench_loadgen", "visit", "--connect", f"127.0.0.1:{self.port}", "--secret", self.options.secret, "--users", self.options.users, "--first-user", first,
                                "--seconds", 6)
            void.extend(self.figures(command)["void"])
            end = time.monotonic() + 60
            while metrics(self.port)["doorstep_mailboxes"] > 0 and time.monotonic() < end:
                time.sleep(0.5)
            time.sleep(2)

        unacked = self.slope(server, half, store)
        for number in range(2, 5):
            visit(number * self.options.users)  # room for as many mailboxes and sockets, and what the allocator keeps, is there from now on
        settled = self.slope(server, self.options.users, visit)
        return {"bytes_unacked": unacked, "bytes_settled": settled, "anon_mb": anonymous_bytes(server.pid) / 1048576,
                "mailboxes": metrics(self.port)["doorstep_mailboxes"], "void": void, "notes": []}

    def run(self):
        return {"W7": self.w7, "W9": self.w9, "unloaded": self.unloaded}[self.options.workload]()
