# SPDX-License-Identifier: Apache-2.0
"""The program under test as a process: its configuration, its life and death, its HTTP surfaces."""
import http.client
import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.parse

from support.ports import free_port
from support.tokens import SECRET

TOP = pathlib.Path(__file__).resolve().parents[3]
BINARY = pathlib.Path(os.environ.get("DOORSTEP_BINARY", TOP / "build" / "ci" / "doorstep"))
API_KEY = "an-end-to-end-api-key"


def run_doorstep(*arguments, timeout=20, env=None):
    """Runs the program to its end. @returns subprocess.CompletedProcess with text."""
    return subprocess.run([str(BINARY), *map(str, arguments)], capture_output=True, text=True, timeout=timeout, check=False,
                          env=clean_environment() | (env or {}), stdin=subprocess.DEVNULL)


def clean_environment():
    """Options of the one who runs the tests must not reach the program."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DOORSTEP_")}


def toml(options, sources=()):
    """Options by their dotted names, as the text of a configuration file."""
    sections = {}
    for name, value in options.items():
        section, key = name.split(".", 1)
        sections.setdefault(section, {})[key] = value
    lines = []
    for section, values in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    for source in sources:
        lines.append("[[sources]]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in source.items()]
    return "\n".join(lines) + "\n"


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


class Doorstep:
    """One data folder and the processes that serve it, one after the other. The ports stay the same over restarts."""

    def __init__(self, folder, options=None, sources=()):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port(2)
        self.internal_port = self.port + 1
        self.log_path = self.folder / "doorstep.log"
        self.config_path = self.folder / "doorstep.toml"
        self.process = None
        self.options = {
            "http.listen": f"127.0.0.1:{self.port}",
            "internal.listen": f"127.0.0.1:{self.internal_port}",
            "internal.api_keys": [API_KEY],
            "auth.hs256_secret": SECRET,
            "store.path": str(self.folder / "doorstep.db"),
            "delivery.receipt_delay": "100ms",
            "runtime.lanes": 2,
            "runtime.reconnect_spread": "100ms",
        } | (options or {})
        self.sources = list(sources)
        self.environment = {}  # of the next start
        self.routes = ""       # TOML behind all that

    def start(self, wait=True):
        assert self.process is None or self.process.poll() is not None, "it runs already"
        self.write_config()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([str(BINARY), "serve", "--config", str(self.config_path)], stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, env=clean_environment() | self.environment)
        if wait:
            self.wait_ready()
        return self

    def write_config(self):
        self.config_path.write_text(toml(self.options, self.sources) + self.routes)

    def wait_ready(self, timeout=20):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"it ended with {self.process.returncode} while it started:\n{self.log_tail()}"
            if self.ready_status() == 200:
                return
            time.sleep(0.02)
        raise AssertionError(f"not ready after {timeout} s:\n{self.log_tail()}")

    def ready_status(self):
        """@returns the status of /health/ready, 0 when nobody answers."""
        try:
            return self.get("/health/ready", timeout=2).status
        except (OSError, http.client.HTTPException):
            return 0

    def kill(self):
        """kill -9: no goodbye."""
        self.process.kill()
        self.process.wait(10)

    def stop(self, timeout=20):
        """SIGTERM. @returns the exit code."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def log_tail(self, lines=30):
        if not self.log_path.exists():
            return "(no log)"
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def get(self, path, timeout=10):
        return self.request("GET", path, timeout=timeout)

    def request(self, method, path, body=None, headers=None, timeout=10):
        """On the internal port, with the API key unless `headers` has its own Authorization (None: none at all)."""
        headers = {"Authorization": f"Bearer {API_KEY}"} | (headers or {})
        connection = http.client.HTTPConnection("127.0.0.1", self.internal_port, timeout=timeout)
        try:
            connection.request(method, path, body, {name: value for name, value in headers.items() if value is not None})
            reply = connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read().decode())
        finally:
            connection.close()

    def post_events(self, events, timeout=10):
        """One event structured, several as a batch."""
        kind = "application/cloudevents-batch+json" if isinstance(events, list) else "application/cloudevents+json"
        return self.request("POST", "/v1/events", json.dumps(events), {"Content-Type": kind}, timeout)

    def publish(self, *events):
        """Must be taken. @returns the outcome of each event."""
        reply = self.post_events(list(events))
        assert reply.status == 202, f"{reply.status} {reply.body}"
        return reply.json()["events"]

    def dead_letters(self):
        found, after = [], ""
        while True:
            page = self.get(f"/v1/dead-letters?limit=500&after={urllib.parse.quote(after, safe='')}").json()["dead_letters"]
            if not page:
                return found
            found += page
            after = page[-1]["id"]

    def metrics(self):
        """Prometheus text as {name with labels: value}."""
        lines = [line.rsplit(" ", 1) for line in self.get("/metrics").body.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, value in lines}


def make_event(user, number, source="/e2e", **more):
    """A CloudEvent whose data says the place in its stream: the checker reads it."""
    return {"specversion": "1.0", "id": f"{user}-{number}", "source": source, "type": "e2e.numbered", "touser": user,
            "data": {"n": number}, **more}
