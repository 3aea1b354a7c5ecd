# SPDX-License-Identifier: Apache-2.0
"""Faults under load, judged by the oracle. Today: kill -9 of the server, at random moments and at the named points of runtime/test_points.hpp in turn.

scripts/chaos kill --engine embedded --kills 10 --seed 7 [--rate 1000 --users 200 --seconds-between 1 --kafka 127.0.0.1:9092 ...]
scripts/chaos kill --engine kafka-mongo --kafka 127.0.0.1:9092 --kills 10 --seed 7 --rate 300
The log of kafka-mongo is in that broker as well; its store is in a server of the run's own (scripts/mongodb).

Prints the checker's line and one of figures. Exits 1 when a promise was broken (the folder is kept, and how to replay it is said), 2 when the run itself failed.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from oracle import checker
from oracle.clients import SECOND_DEVICE_EVERY
from oracle.records import CHANNELS, now_ms, parse_event, readers_among
from support.kafka import Kafka
from support.mongodb import MongoDB
from support.server import Doorstep

TESTS = pathlib.Path(__file__).resolve().parents[1]
POINTS = ("append-staged", "append-committed", "handed-over", "push", "cursor-staged", "cursor-committed", "receipt", "passivation", "drain-begun",
          "drain-ended")
POINTS_OF_SOURCES = ("source-commit",)   # passed only with a [[sources]] table
POINTS_OF_CHANNELS = ("channel-push",)   # passed only where rules name channels
POINTS_OF_MIRROR = ("mirrored",)         # passed only with a mirror of dead letters: tests/e2e/test_mirror.py ends lives there
POINTS_OF_SQLITE = {"append-staged", "cursor-staged", "cursor-committed"}  # stages of a transaction
PASSES_MAX = {"push": 400, "receipt": 200, "passivation": 2, "drain-begun": 8, "drain-ended": 8}
ANY_PASS_MAX = 60
ROUTES = "".join(f'[[routes]]\nmatch.type = "{kind}"\nto = "{to}"\n' for kind, to in
                 (("oracle.numbered", "touser"), ("oracle.role", CHANNELS["role"]), ("oracle.all", CHANNELS["all"])))
PARTITIONS = 4
READY_TIMEOUT = 20
OPTIONS = {  # everything that waits waits short, so that every life of a few seconds has all of it
    "delivery.ack_timeout": "2s", "delivery.retry_base": "100ms", "delivery.retry_max": "500ms", "delivery.ack_linger": "20ms",
    "delivery.receipt_delay": "20ms", "delivery.passivate_after": "300ms", "runtime.reconnect_spread": "200ms", "ws.connect_timeout": "10s",
}

Life = collections.namedtuple("Life", "point passes seconds")  # how a process ends; without a point by kill -9 after so long


class RunFailed(Exception):
    """No judgement: something that is not the server's promise went wrong."""


def plan(arguments, chance):
    """How each life after the first ends: points and moments by turns, the points one after the other from one that the seed names."""
    all_points = POINTS + (POINTS_OF_SOURCES if arguments.kafka else ()) + (POINTS_OF_CHANNELS if arguments.channels else ())
    if arguments.engine == "kafka-mongo":
        all_points = tuple(point for point in all_points if point not in POINTS_OF_SQLITE)
    points = [] if arguments.points == "none" else list(all_points) if arguments.points == "all" else arguments.points.split(",")
    offset = chance.randrange(len(points)) if points else 0
    lives = []
    for number in range(1, arguments.kills):
        seconds = arguments.seconds_between * chance.uniform(0.3, 1.7)
        if points and (number % 2 == 1 or arguments.only_points):
            point = points[offset % len(points)]
            offset += 1
            lives.append(Life(point, chance.randint(1, PASSES_MAX.get(point, ANY_PASS_MAX)), seconds))
        else:
            lives.append(Life(None, 0, seconds))
    return lives


class Run:
    def __init__(self, arguments, options=None):
        """@param options of the server, beside OPTIONS."""
        self.arguments = arguments
        self.chance = random.Random(arguments.seed)
        self.folder = pathlib.Path(arguments.folder or tempfile.mkdtemp(prefix="doorstep-chaos-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.topic, sources = "", []
        if arguments.kafka:
            kafka = Kafka(arguments.kafka)
            self.topic = kafka.make_topic(PARTITIONS, "chaos")
            sources = [kafka.source(self.topic, f"g-{self.topic}") | {"commit_interval": "20ms"}]
        own, self.mongodb = OPTIONS | (options or {}), None
        if arguments.devices:
            own |= {"delivery.ack_scope": "device"}
        if arguments.engine == "kafka-mongo":
            self.mongodb = MongoDB(self.folder / "mongodb")
            # The stand-in scans where a server looks up, so the last writes take longer than a default drain may.
            own |= kafka.log() | self.mongodb.options() | {"runtime.drain_timeout": "40s"}
        self.server = Doorstep(self.folder / "server", own, sources)
        self.server.routes = ROUTES if arguments.channels else ""
        self.flags = ["--channels"] if arguments.channels else []
        self.children = []
        self.clients = []
        self.status_paths = []
        self.ready_times, self.starts = [], []
        self.ends = collections.Counter()
        self.exit_code = None

    # --- the server

    def start_server(self, life):
        """@returns false when it reached its crash point before it was ready."""
        self.server.environment = {"DOORSTEP_SEEDED_BUG": self.arguments.bug} if self.arguments.bug else {}
        if life is not None and life.point:
            self.server.environment["DOORSTEP_CRASH_POINT"] = f"{life.point}:{life.passes}"
        began = time.monotonic()
        self.starts.append(now_ms())
        self.server.start(wait=False)
        while self.server.ready_status() != 200:
            if self.server.process.poll() is not None:
                if life is not None and life.point and self.server.process.returncode == -signal.SIGKILL:
                    return False
                raise RunFailed(f"the server ended with {self.server.process.returncode} while it started:\n{self.server.log_tail()}")
            if time.monotonic() > began + READY_TIMEOUT:
                raise RunFailed(f"the server is not ready after {READY_TIMEOUT} s:\n{self.server.log_tail()}")
            time.sleep(0.005)
        self.ready_times.append((time.monotonic() - began) * 1000)
        return True

    def live(self, life):
        """One life of the server, from its start to its end."""
        if not self.start_server(life):
            self.ends[life.point] += 1
            return
        process = self.server.process
        drains = bool(life.point) and life.point.startswith("drain")
        if life.point and not drains:
            self.wait_for_end(process, 2 + 3 * self.arguments.seconds_between)
        else:
            self.wait_for_end(process, life.seconds)
        if drains and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            self.wait_for_end(process, 15)
        if process.poll() is None:
            self.ends["kill -9" if life.point is None else f"{life.point} (not reached)"] += 1
            self.server.kill()
        elif process.returncode == -signal.SIGKILL and life.point:
            self.ends[life.point] += 1
        elif process.returncode == 0 and drains:
            self.ends[f"{life.point} (not reached)"] += 1
        else:
            raise RunFailed(f"the server ended by itself with {process.returncode}:\n{self.server.log_tail()}")

    def wait_for_end(self, process, seconds):
        end = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < end:
            self.look_at_children()
            time.sleep(0.01)

    # --- load and clients

    def spawn(self, module, *words):
        log = open(self.folder / f"{module}-{len(self.children)}.err", "ab")
        child = subprocess.Popen([sys.executable, "-m", f"oracle.{module}", *map(str, words)], cwd=TESTS, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        self.children.append(child)
        return child

    def start_clients(self):
        users, processes = self.arguments.users, self.arguments.processes
        for i in range(processes):
            status = self.folder / f"status-{i}.json"
            self.status_paths.append(status)
            self.clients.append(self.spawn("clients", "--port", self.server.port, "--file", self.folder / f"clients-{i}.log", "--status", status, "--users",
                                           f"{i * users // processes}:{(i + 1) * users // processes}", "--seed", self.arguments.seed, "--devices", self.arguments.devices, *self.flags))

    def start_load(self):
        a = self.arguments
        return self.spawn("producers", "--port", self.server.internal_port, "--file", self.folder / "producer-0.log", "--users", a.users, "--rate", a.rate,
                          "--producers", a.producers, "--seed", a.seed, *self.flags, *(["--kafka", a.kafka, "--topic", self.topic] if a.kafka else []))

    def look_at_children(self):
        for child in self.children:
            if child.poll() not in (None, 0):
                errors = "".join(path.read_text(errors="replace")[-1500:] for path in sorted(self.folder.glob("*.err")))
                raise RunFailed(f"{child.args[2]} ended with {child.returncode}:\n{errors}")

    def status(self):
        """The sum of what the clients say."""
        total = collections.Counter()
        for path in self.status_paths:
            if path.exists():
                total.update(json.loads(path.read_text()))
        return total

    def wait_connected(self):
        end = time.monotonic() + 30
        # A device, and a reader of a channel, is owed what comes from its first connection on.
        users, what = self.arguments.users, "greeted" if self.arguments.devices or self.arguments.channels else "connected"
        count = users * max(1, self.arguments.devices)
        if self.arguments.channels:
            count += len(range(0, users, SECOND_DEVICE_EVERY))
        while self.status()[what] < count:
            if time.monotonic() > end:
                raise RunFailed(f"only {self.status()[what]} clients connected")
            time.sleep(0.05)

    def drain(self, attempted):
        """Until every message has its receipt; gives up at the deadline, or when nothing moves any more. What is missing then is the checker's to say."""
        deadline = time.monotonic() + self.arguments.drain
        moved, last = time.monotonic(), None
        standstill = self.arguments.standstill + (8 if self.arguments.kafka else 0)  # a group may wait until its killed member counts as gone
        while True:
            self.look_at_children()
            status = self.status()
            if status["receipted"] >= attempted * max(1, self.arguments.devices) and status["pending"] == 0:
                return
            if (status["received"], status["receipted"]) != last:
                moved, last = time.monotonic(), (status["received"], status["receipted"])
            if time.monotonic() > min(deadline, moved + standstill):
                return
            time.sleep(0.05)

    def end(self, child, seconds):
        child.send_signal(signal.SIGTERM)
        try:
            code = child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise RunFailed(f"{child.args[2]} did not end in {seconds} s") from None
        self.look_at_children()
        return code

    # --- the whole

    def run(self):
        a = self.arguments
        lives = plan(a, self.chance)
        began = time.monotonic()
        if not self.start_server(None):
            raise RunFailed("the server did not start")
        self.start_clients()
        self.wait_connected()
        load = self.start_load()
        time.sleep(min(1.0, a.seconds_between))
        self.server.kill()
        self.ends["kill -9"] += 1
        for number, life in enumerate(lives, 2):
            self.live(life)
            if a.verbose:
                print(f"kill {number}: {life.point or 'kill -9'}:{life.passes} {dict(self.status())}", flush=True)
        self.start_server(None)
        time.sleep(min(1.0, a.seconds_between))
        self.end(load, 20)
        self.load_seconds = time.monotonic() - began
        self.drain(self.attempted())
        for child in self.clients:
            self.end(child, 20)
        self.exit_code = self.server.stop(60)
        return checker.check(self.folder, self.arguments.devices > 0, self.arguments.channels)

    def attempted(self):
        with open(self.folder / "producer-0.log", encoding="utf-8") as lines:
            return sum(readers_among(self.arguments.users, parse_event(event).user) for line in lines if line[0] == "A" for event in line.split()[2:])

    def close(self):
        for child in self.children:
            if child.poll() is None:
                child.kill()
                child.wait(10)
        self.server.close()
        if self.mongodb:
            self.mongodb.script("stop")

    def first_deliveries(self):
        """From each restart to the first message at a client, in ms."""
        arrivals = []
        for path in self.folder.glob("clients-*.log"):
            with open(path, encoding="utf-8") as lines:
                arrivals += [int(line.split(None, 3)[2]) for line in lines if line[0] == "R"]
        arrivals.sort()
        out, at = [], 0
        for begin, end in zip(self.starts[1:], [*self.starts[2:], float("inf")]):
            while at < len(arrivals) and arrivals[at] < begin:
                at += 1
            if at < len(arrivals) and arrivals[at] < end:
                out.append(arrivals[at] - begin)
        return out

    def figures(self, judge):
        ends = ", ".join(f"{name} {count}" for name, count in sorted(self.ends.items()))
        return (f"chaos: {sum(self.ends.values())} kills ({ends}); {len(judge.attempted) / self.load_seconds:.0f} messages/s over {self.load_seconds:.0f} s; "
                f"restart to ready {spread(self.ready_times[1:])}, to the first delivery {spread(self.first_deliveries())}; exit code {self.exit_code}")


def spread(times):
    if not times:
        return "-"
    ordered = sorted(times)
    return f"p50 {ordered[len(ordered) // 2]:.0f} max {ordered[-1]:.0f} ms"


def command(arguments):
    words = ["scripts/chaos", "kill"]
    for name in ("engine", "kills", "seed", "rate", "users", "seconds_between", "points", "producers", "processes", "devices"):
        words += ["--" + name.replace("_", "-"), str(getattr(arguments, name))]
    words += ["--only-points"] if arguments.only_points else []
    words += ["--channels"] if arguments.channels else []
    words += ["--bug", arguments.bug] if arguments.bug else []
    words += ["--kafka", arguments.kafka] if arguments.kafka else []
    return " ".join(words)


def kill(arguments):
    run = Run(arguments)
    code, keep = 2, True
    try:
        judge = run.run()
        print(judge.summary())
        print(run.figures(judge))
        for sentence in judge.faults:
            print(sentence)
        if run.exit_code != 0:
            print(f"chaos: the last life ended with {run.exit_code}:\n{run.server.log_tail()}")
        code = 0 if judge.ok() and run.exit_code == 0 else 1
        keep = code != 0 or arguments.keep
    except (RunFailed, AssertionError) as x:
        print(f"chaos: the run failed: {x}")
    finally:
        run.close()
        if keep:
            print(f"chaos: kept {run.folder}; replay: {command(arguments)}")
        else:
            shutil.rmtree(run.folder)
    return code


def main(words):
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    faults = parser.add_subparsers(required=True, metavar="fault")
    one = faults.add_parser("kill", help="kill -9 again and again under load")
    one.add_argument("--engine", choices=["embedded", "kafka-mongo"], default="embedded")
    one.add_argument("--kills", type=int, default=10)
    one.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32), help="another one each time, unless given")
    one.add_argument("--rate", type=float, default=1000, help="messages a second")
    one.add_argument("--users", type=int, default=200)
    one.add_argument("--seconds-between", type=float, default=1.0, help="how long a life is, about")
    one.add_argument("--points", default="all", help="all, none, or names with commas: every second life ends at one of them in turn")
    one.add_argument("--only-points", action="store_true", help="every life ends at a point")
    one.add_argument("--producers", type=int, default=4)
    one.add_argument("--kafka", default="", metavar="HOST:PORT", help="all producers but one publish through this broker, in a topic of its own")
    one.add_argument("--processes", type=int, default=1, help="processes that share the clients")
    one.add_argument("--devices", type=int, default=0, help="of each user, each with a cursor of its own (delivery.ack_scope = device); 0: acks are the user's")
    one.add_argument("--channels", action="store_true", help="some messages go to a role, which every second user has, and to all")
    one.add_argument("--drain", type=float, default=60, help="seconds the end may take at most")
    one.add_argument("--standstill", type=float, default=6, help="seconds after which an end that does not move is taken for one")
    one.add_argument("--bug", default="", help="a seeded bug: then exit code 1 is what should come")
    one.add_argument("--folder", help="where everything goes; a temporary folder otherwise")
    one.add_argument("--keep", action="store_true", help="keep the folder of a good run too")
    one.add_argument("--verbose", action="store_true")
    one.set_defaults(run=kill)
    arguments = parser.parse_args(words)
    if arguments.engine == "kafka-mongo" and not arguments.kafka:
        parser.error("--engine kafka-mongo needs --kafka")
    if arguments.channels and arguments.devices:
        parser.error("--channels with --devices is not judged")
    return arguments.run(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
