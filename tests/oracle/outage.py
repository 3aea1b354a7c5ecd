# SPDX-License-Identifier: Apache-2.0
"""Something that the server stands on fails under load, comes back, and the oracle judges: nothing lost, no repeat without its flag, memory within its budget,
and delivering again within ten seconds.

scripts/chaos outage --fault store-down --seconds 30 --seed 7 [--rate 300 --users 100]      --fault all: one after the other

broker-down   the Kafka broker is stopped; one producer publishes over HTTP all the while
store-down    kill -9 of MongoDB
store-slow    every write to MongoDB takes two seconds longer (a proxy)
reply-lost    three of ten writes are applied, and their answer is lost with the connection (a proxy)
log-away      the broker of a mailbox log in Kafka is stopped: accepted messages and acks go on, publishers are answered 503
disk-full     the embedded file's disk is full: a tmpfs, so it needs root

Prints the checker's line and one of figures a fault. Exits 1 when a promise was broken (the folder is kept), 2 when the run itself failed, 77 when a fault was left
out because this user may not mount.
"""
import argparse
import bisect
import http.client
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time

from oracle import chaos
from oracle.chaos import Run, RunFailed
from oracle.proxy import Proxy
from oracle.records import now_ms
from support.kafka import Kafka
from support.ports import free_port
from support.server import TOP, make_event

MIB = 1024 * 1024
BACKLOG = 4 * MIB          # store.backlog_bytes_max: small, so that an outage of half a minute fills it
MARGIN = 48 * MIB          # above the server's memory before the fault, beside the backlog: writes under way, sockets, the allocator's slack
RECOVERY_MAX = 10          # seconds
CAUGHT_UP = 300            # messages that may wait for the store at any time
LEFT_OUT = 77


def script(name, folder, *words):
    done = subprocess.run([str(TOP / "scripts" / name), *words, "--dir", str(folder)], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise RunFailed(f"scripts/{name} {words}: {done.stderr[-1000:]}")
    return done.stdout.strip()


class Fault:
    """What fails: how it begins and ends, and what must be seen meanwhile."""
    options = {"store.cache_bytes": "8MiB"}  # a cache that fills up would look like a queue that does
    kafka = ""                  # a broker to publish through
    budget = 0                  # bytes on top of MARGIN
    parts = ()                  # of GET /health/ready
    delivers = True             # messages published meanwhile are delivered meanwhile
    after_healing = r"p\d+-"    # the events whose first delivery after healing says that it works again

    def __init__(self, folder, seed):
        self.folder, self.seed = folder, seed
        folder.mkdir(parents=True, exist_ok=True)

    def begin(self):
        raise NotImplementedError

    def heal(self):
        raise NotImplementedError

    def complaint(self, server):
        """What is wrong just before it is healed, or nothing."""
        return ""

    def close(self):
        pass

    def say(self):
        return ""


class BrokerDown(Fault):
    parts = ("source",)
    after_healing = r"p[1-9]\d*-"  # the first producer needs no broker

    def __init__(self, folder, seed):
        super().__init__(folder, seed)
        self.kafka = script("kafka", self.folder, "start", "--port", str(free_port(2)))

    def begin(self):
        script("kafka", self.folder, "pause")

    def heal(self):
        script("kafka", self.folder, "restart")

    def close(self):
        script("kafka", self.folder, "stop")


class LogAway(Fault):
    parts = ("log",)
    delivers = False  # nothing is accepted

    def __init__(self, folder, seed):
        super().__init__(folder, seed)
        address = script("kafka", self.folder, "start", "--port", str(free_port(2)))
        # A publisher is told soon, and the clients that it keeps waiting see that theirs go on.
        self.options = Fault.options | Kafka(address).log() | {"internal.append_timeout": "2s"}

    def begin(self):
        script("kafka", self.folder, "pause")

    def complaint(self, server):
        reply = server.post_events([make_event("nobody", 1)])
        return "" if reply.status == 503 and "Retry-After" in reply.headers else f"a publisher was answered {reply.status} {reply.headers}"

    def heal(self):
        script("kafka", self.folder, "restart")

    def close(self):
        script("kafka", self.folder, "stop")


class StoreDown(Fault):
    budget = BACKLOG
    parts = ("store",)

    def __init__(self, folder, seed):
        super().__init__(folder, seed)
        self.uri = script("mongodb", self.folder, "start", "--port", str(free_port()))
        self.options = Fault.options | {"store.engine": "mongodb", "store.uri": self.uri, "store.database": "outage",
                                        "store.backlog_bytes_max": f"{BACKLOG // MIB}MiB", "store.selection_timeout": "2s"}

    def begin(self):
        script("mongodb", self.folder, "kill")

    def heal(self):
        script("mongodb", self.folder, "restart")

    def close(self):
        script("mongodb", self.folder, "stop")


class BehindProxy(StoreDown):
    def __init__(self, folder, seed):
        super().__init__(folder, seed)
        self.proxy = Proxy(int(self.uri.rsplit(":", 1)[1]), seed)
        self.options["store.uri"] = f"mongodb://127.0.0.1:{self.proxy.port}"

    def heal(self):
        self.proxy.delay = self.proxy.loss = 0

    def close(self):
        self.proxy.stop()
        super().close()


class StoreSlow(BehindProxy):
    parts = ()  # slow is not away

    def begin(self):
        self.proxy.delay = 2.0


class ReplyLost(BehindProxy):
    def begin(self):
        self.proxy.loss = 0.3

    def say(self):
        return f"; {self.proxy.lost} of {self.proxy.writes} answers lost"


class DiskFull(Fault):
    parts = ("log",)
    delivers = False  # nothing is accepted

    def __init__(self, folder, seed):
        super().__init__(folder, seed)
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=192m", "tmpfs", str(folder)], capture_output=True, check=False).returncode:
            raise PermissionError("a tmpfs cannot be mounted here: that needs root")
        self.options = Fault.options | {"store.path": str(folder / "doorstep.db")}

    def begin(self):
        with open(self.folder / "filler", "wb", buffering=0) as filler:
            block = bytes(65536)
            while block:
                try:
                    filler.write(block)
                except OSError:
                    block = block[:len(block) // 2]

    def heal(self):
        os.unlink(self.folder / "filler")

    def close(self):
        subprocess.run(["umount", str(self.folder)], check=True)


FAULTS = {"broker-down": BrokerDown, "log-away": LogAway, "store-down": StoreDown, "store-slow": StoreSlow, "reply-lost": ReplyLost, "disk-full": DiskFull}


class Watcher(threading.Thread):
    """Looks at the server while it runs: its memory, whether it is ready and why not, and how much waits for the store."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server = server
        self.looks = []      # (time, resident bytes, ready, waiting)
        self.reasons = []
        self.ending = threading.Event()

    def run(self):
        while not self.ending.is_set():
            try:
                with open(f"/proc/{self.server.process.pid}/status", encoding="ascii") as file:
                    status = file.read()
                ready = self.server.get("/health/ready", timeout=2)
                waiting = self.server.metrics()["doorstep_store_backlog_messages"]
            except (OSError, http.client.HTTPException):
                self.ending.wait(0.05)
                continue
            self.looks.append((now_ms(), int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) * 1024, ready.status == 200, waiting))
            self.reasons += [x for x in ready.json()["reasons"] if x not in self.reasons]
            self.ending.wait(0.05)

    def stop(self):
        self.ending.set()
        self.join(10)

    def memory(self, begin, end):
        return max((x[1] for x in self.looks if begin <= x[0] <= end), default=0)

    def well_since(self, begin):
        """The moment from which on it is ready, and no more waits for the store than always may."""
        bad = [x[0] for x in self.looks if x[0] >= begin and not (x[2] and x[3] <= CAUGHT_UP)]
        return max(bad, default=begin)


class OutageRun(Run):
    def __init__(self, arguments, fault):
        arguments.kafka = fault.kafka
        arguments.devices = 0
        arguments.channels = False
        super().__init__(arguments, fault.options)
        self.fault = fault
        self.broken = []

    def sleep(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.look_at_children()
            if self.server.process.poll() is not None:
                raise RunFailed(f"the server ended with {self.server.process.returncode}:\n{self.server.log_tail()}")
            time.sleep(0.05)

    def run(self):
        a = self.arguments
        self.start_server(None)
        self.start_clients()
        self.wait_connected()
        watcher = Watcher(self.server)
        watcher.start()
        load = self.start_load()
        began = time.monotonic()
        self.sleep(a.before)
        self.fault_at = now_ms()
        self.fault.begin()
        self.sleep(a.seconds)
        complaint = self.fault.complaint(self.server)
        self.require(not complaint, complaint)
        self.heal_begun = now_ms()
        self.fault.heal()
        self.healed_at = now_ms()
        self.sleep(a.after)
        self.end(load, 40)
        self.load_seconds = time.monotonic() - began
        self.drain(self.attempted())
        self.ended_at = now_ms()
        watcher.stop()
        for child in self.clients:
            self.end(child, 20)
        self.exit_code = self.server.stop(20)
        judge = chaos.checker.check(self.folder)
        self.measure(watcher)
        return judge

    def measure(self, watcher):
        accepted = {}
        for path in self.folder.glob("producer-*.log"):
            batches = {}
            for line in path.read_text(encoding="utf-8").splitlines():
                kind, batch, *words = line.split()
                if kind == "A":
                    batches[batch] = words
                else:
                    accepted.update(dict.fromkeys(batches.pop(batch), int(words[0])))
        first = {}
        for path in self.folder.glob("clients-*.log"):
            with open(path, encoding="utf-8") as lines:
                for words in (line.split() for line in lines if line[0] == "R"):
                    first[words[7]] = min(int(words[2]), first.get(words[7], 1 << 62))
        delivered = sorted(at for event, at in first.items() if accepted.get(event, 0) >= self.fault_at)
        self.delivered_meanwhile = bisect.bisect(delivered, self.heal_begun)
        fresh = [at for event, at in first.items() if accepted.get(event, 0) > self.healed_at and at > self.healed_at and re.match(self.fault.after_healing, event)]
        self.first_after = (min(fresh, default=self.ended_at) - self.healed_at) / 1000
        late = max((at for event, at in first.items() if accepted.get(event, 1 << 62) <= self.healed_at), default=0)
        self.drained_after = max(0, max(late, watcher.well_since(self.healed_at)) - self.healed_at) / 1000
        self.memory_before = watcher.memory(0, self.fault_at)
        self.memory_most = watcher.memory(self.fault_at, self.ended_at)
        seen = {x.split(" ")[0] for x in watcher.reasons}
        self.refused = "intake" in seen
        self.require(set(self.fault.parts) <= seen, f"readiness named {sorted(seen)}, and not {self.fault.parts}")
        self.require(self.delivered_meanwhile > 0 or not self.fault.delivers, "nothing that was published during the outage was delivered during it")
        self.require(max(self.first_after, self.drained_after) <= RECOVERY_MAX, f"not delivering, ready and caught up {RECOVERY_MAX} s after healing")
        self.require(self.memory_most - self.memory_before <= self.fault.budget + MARGIN, "more memory than the budget")

    def require(self, holds, what):
        if not holds:
            self.broken.append(f"BROKEN: {what}")

    def lines_of_outages(self):
        return sum("outage" in line and ("began" in line or "ended" in line) for line in self.server.log_path.read_text(errors="replace").splitlines())

    def figures(self, judge):
        return (f"outage: {len(judge.attempted) / self.load_seconds:.0f} messages/s over {self.load_seconds:.0f} s, {(self.heal_begun - self.fault_at) / 1000:.0f} s of it "
                f"an outage; {self.delivered_meanwhile} published and delivered meanwhile, intake {'paused' if self.refused else 'never paused'}; after healing first "
                f"delivery {self.first_after:.1f} s, caught up {self.drained_after:.1f} s; memory {self.memory_before / MIB:.0f} MiB, at most "
                f"+{(self.memory_most - self.memory_before) / MIB:.0f} of +{(self.fault.budget + MARGIN) / MIB:.0f} MiB; {self.lines_of_outages()} lines of the log"
                f"{self.fault.say()}; exit code {self.exit_code}")


def one(arguments, name):
    """@returns the exit code of one fault."""
    run, fault, code = None, None, 2
    rates = {"rate": 300 if issubclass(FAULTS[name], StoreDown) else 800, "users": 100}
    given = argparse.Namespace(**vars(arguments) | {key: value for key, value in rates.items() if getattr(arguments, key) is None})
    folder = chaos.pathlib.Path(arguments.folder or chaos.tempfile.mkdtemp(prefix="doorstep-outage-")) / name
    if folder.exists():
        print(f"chaos: {folder} is there already, and what it has would be judged too")
        return 2
    try:
        fault = FAULTS[name](folder / "peer", arguments.seed)
        given.folder = str(folder)
        run = OutageRun(given, fault)
        judge = run.run()
        print(f"{name}: {judge.summary()}")
        print(run.figures(judge))
        for sentence in judge.faults + run.broken:
            print(sentence)
        code = 0 if judge.ok() and not run.broken and run.exit_code == 0 else 1
    except PermissionError as x:
        print(f"chaos: {name} LEFT OUT: {x}")
        return LEFT_OUT
    except (RunFailed, AssertionError) as x:
        print(f"chaos: the run failed: {x}")
    finally:
        if run is not None:
            run.close()
        if fault is not None:
            fault.close()
        if code:
            print(f"chaos: kept {folder}; replay: scripts/chaos outage --fault {name} --seed {arguments.seed} --seconds {arguments.seconds}")
        elif not arguments.keep:
            shutil.rmtree(folder)
    return code


def main(words):
    parser = argparse.ArgumentParser(prog="scripts/chaos outage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fault", choices=[*FAULTS, "all"], default="all")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--seconds", type=float, default=30, help="how long it fails")
    parser.add_argument("--before", type=float, default=5, help="seconds of load before it fails")
    parser.add_argument("--after", type=float, default=12, help="seconds of load after it is healed")
    parser.add_argument("--rate", type=float, help="messages a second; 300 where MongoDB is the store, else 800")
    parser.add_argument("--users", type=int)
    parser.add_argument("--producers", type=int, default=4)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--drain", type=float, default=60)
    parser.add_argument("--standstill", type=float, default=12)
    parser.add_argument("--folder")
    parser.add_argument("--keep", action="store_true")
    parser.set_defaults(bug="", seconds_between=1, kafka="", engine="embedded")
    arguments = parser.parse_args(words)
    codes = [one(arguments, name) for name in ([*FAULTS] if arguments.fault == "all" else [arguments.fault])]
    return next((x for x in (1, 2, LEFT_OUT) if x in codes), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
