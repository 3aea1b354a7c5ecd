# SPDX-License-Identifier: Apache-2.0
"""A real Kafka broker, through kcat (produce, watermarks) and scripts/kafka (topics, groups, stop and start)."""
import json
import os
import pathlib
import re
import subprocess
import time
import uuid

import pytest

from support.ports import free_port

TOP = pathlib.Path(__file__).resolve().parents[3]
STRUCTURED = "content-type=application/cloudevents+json; charset=utf-8"


class Kafka:
    def __init__(self, address=None):
        self.address = address or os.environ.get("DOORSTEP_TEST_KAFKA", "")
        if not self.address:
            say = pytest.fail if os.environ.get("DOORSTEP_REQUIRE_PEERS") == "1" else pytest.skip
            say("no Kafka broker: DOORSTEP_TEST_KAFKA is not set, and scripts/kafka could not start one")

    def script(self, *words, timeout=90):
        done = subprocess.run([str(TOP / "scripts" / "kafka"), *words], capture_output=True, text=True, timeout=timeout, check=False)
        assert done.returncode == 0, f"scripts/kafka {words}: {done.stderr[-2000:]}"
        return done.stdout

    def make_topic(self, partitions, name="e2e"):
        topic = f"{name}-{uuid.uuid4().hex[:8]}"
        self.script("topic", topic, str(partitions), "--bootstrap", self.address)
        return topic

    def produce(self, topic, lines, headers=(STRUCTURED,), partition=None):
        """Lines are (key, value); durable at the broker when this returns."""
        command = ["kcat", "-P", "-b", self.address, "-t", topic, "-K", "\t", "-X", "acks=all", "-X", "linger.ms=5"]
        for header in headers:
            command += ["-H", header]
        if partition is not None:
            command += ["-p", str(partition)]
        text = "".join(f"{key}\t{value if isinstance(value, str) else json.dumps(value)}\n" for key, value in lines)
        done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr.decode()

    def consume(self, topic):
        """Every record there is now: {"key", "payload", "headers": {name: value}, ...}."""
        output = subprocess.run(["kcat", "-C", "-b", self.address, "-t", topic, "-o", "beginning", "-e", "-q", "-J"], capture_output=True, text=True,
                                timeout=60, check=True).stdout
        records = [json.loads(line) for line in output.splitlines()]
        for record in records:
            pairs = record.get("headers", [])
            record["headers"] = dict(zip(pairs[::2], pairs[1::2]))
        return records

    def ends(self, topic, partitions):
        words = [word for p in range(partitions) for word in ("-t", f"{topic}:{p}:-1")]
        output = subprocess.run(["kcat", "-Q", "-b", self.address, *words], capture_output=True, text=True, timeout=60, check=True).stdout
        return {int(p): int(end) for p, end in re.findall(r"\[(\d+)\] offset (\d+)", output)}

    def committed(self, group, topic):
        """What the broker holds for the group, asked with Kafka's own tool."""
        rows = [line.split() for line in self.script("group", group, "--bootstrap", self.address).splitlines()]
        return {int(row[1]): int(row[2]) for row in rows if len(row) >= 4 and row[0] == topic and row[2].isdigit()}

    def wait_committed(self, group, topic, partitions, timeout=30):
        """The committed offset reaches the end of every partition that has records, and never passes it."""
        deadline = time.monotonic() + timeout
        ends = {p: end for p, end in self.ends(topic, partitions).items() if end > 0}
        while True:
            committed = self.committed(group, topic)
            assert all(committed.get(p, 0) <= end for p, end in ends.items()), f"committed {committed} is past the end {ends}"
            if all(committed.get(p) == end for p, end in ends.items()):
                return ends
            assert time.monotonic() < deadline, f"committed {committed}, end {ends}"
            time.sleep(0.5)

    def log(self):
        """Options of a server that keeps its mailbox log there, in a topic of its own."""
        topic = f"mailbox-{uuid.uuid4().hex[:8]}"
        return {"log.engine": "kafka", "log.brokers": self.address, "log.topic": topic, "log.group": topic, "log.replication": 1, "log.shards": 4}

    def source(self, topic, group, **more):
        """A [[sources]] table. Static membership, so that a killed process comes back to its partitions at once."""
        return {"name": topic, "brokers": self.address, "topics": [topic], "group": group, "instance_id": "e2e", "session_timeout": "6s",
                "commit_interval": "200ms"} | more


class OwnKafka(Kafka):
    """A broker of the test's own, which may be paused and restarted without harm to others."""

    def __init__(self, folder):
        self.folder = str(folder)
        done = subprocess.run([str(TOP / "scripts" / "kafka"), "start", "--port", str(free_port(2)), "--dir", self.folder], capture_output=True,
                              text=True, timeout=120, check=False)
        if done.returncode != 0:
            say = pytest.fail if os.environ.get("DOORSTEP_REQUIRE_PEERS") == "1" else pytest.skip
            say(f"no Kafka broker: {done.stderr[-500:]}")
        self.address = done.stdout.strip()

    def script(self, *words, timeout=90):
        return super().script(*words, "--dir", self.folder, timeout=timeout)
