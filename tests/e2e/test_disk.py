# SPDX-License-Identifier: Apache-2.0
"""A disk that is full, read-only or broken under the embedded engines, by a preloaded library (tests/support/failing_disk.cpp): events are refused before they
are accepted, what was accepted stays and is delivered, and it goes on when the disk does. After a failed fsync nobody knows what the disk has: the process ends."""
import pathlib
import resource
import time

import pytest

from support.client import Tab, in_thread, run
from support.server import BINARY, make_event

LIBRARY = BINARY.parent / "tests" / "support" / "failing_disk.so"
IO_ERROR = 74  # EX_IOERR


class Disk:
    def __init__(self, folder):
        self.folder = folder
        self.fault = folder.with_name(folder.name + ".fault")

    def fail(self, how):
        fresh = self.fault.with_suffix(".new")
        fresh.write_text(how)
        fresh.rename(self.fault)

    def heal(self):
        self.fault.unlink()


@pytest.fixture
def disk(tmp_path):
    (tmp_path / "disk").mkdir()
    return Disk(tmp_path / "disk")


@pytest.fixture
def server(doorstep, disk):
    made = doorstep({"store.path": str(disk.folder / "doorstep.db")}, start=False)
    made.environment = {"LD_PRELOAD": str(LIBRARY), "DOORSTEP_FAILING_DISK": str(disk.folder)}
    return made.start()


def lines_with(server, *words):
    return [x for x in server.log_path.read_text().splitlines() if all(word in x for word in words)]


async def until(condition, timeout=10):
    end = time.monotonic() + timeout
    while not await in_thread(condition):
        assert time.monotonic() < end, f"not in {timeout} s"
        await in_thread(time.sleep, 0.05)


@pytest.mark.parametrize("how", ["full", "read-only", "broken"])
def test_while_nothing_can_be_written_events_are_refused_and_what_was_accepted_is_kept_and_all_goes_on_afterwards(server, disk, how):
    async def scenario():
        tab = await Tab.open(server, "alice")
        server.publish(make_event("alice", 0), make_event("bob", 0))
        first = await tab.expect("message")
        disk.fail(how)
        refused = [server.post_events(make_event("alice", n)) for n in range(1, 6)]
        assert {x.status for x in refused} == {503}, [x.body for x in refused]
        assert all(int(x.headers["Retry-After"]) > 0 for x in refused)
        ready = server.get("/health/ready")
        assert ready.status == 503
        [reason] = ready.json()["reasons"]
        assert reason.startswith("log is away since 20") and "503" in reason, reason
        assert server.metrics()['doorstep_outage{part="log"}'] == 1
        await tab.send({"id": 7, "ack": {"ids": [first["id"]]}})
        await tab.nothing("receipt", 1)
        bob = await Tab.open(server, "bob")
        await bob.nothing("message", 0.5)  # that it is pushed could not be remembered, and a repeat after a kill would have no flag
        disk.heal()
        assert (await tab.expect("receipt"))["ids"] == [first["id"]]
        waited = await bob.expect("message")
        assert waited["data"]["n"] == 0 and not waited["redelivered"], "what was accepted is kept and delivered"
        # Nobody publishes: it finds out by itself.
        await until(lambda: server.ready_status() == 200)
        assert server.publish(make_event("alice", 1))[0]["accepted"] == 1, "what was refused was not taken"
        assert (await tab.expect("message"))["data"]["n"] == 1
        assert server.metrics()['doorstep_outage{part="log"}'] == 0
        assert len(lines_with(server, "outage", "WARN")) == 2 or len(lines_with(server, "outage", "warn")) == 2, "\n".join(lines_with(server, "outage"))

    run(scenario())
    assert server.stop() == 0


def test_a_failed_fsync_ends_the_process_and_the_next_start_has_what_was_accepted(server, disk):
    async def scenario():
        server.publish(make_event("alice", 0))
        disk.fail("fsync")
        try:
            assert (await in_thread(server.post_events, make_event("alice", 1))).status != 202
        except OSError:
            pass
        assert await in_thread(server.process.wait, 10) == IO_ERROR
        [line] = lines_with(server, "fsync-failed")
        assert "doorstep.db" in line and "exit" in line, line
        disk.heal()
        await in_thread(server.start)
        tab = await Tab.open(server, "alice")
        assert (await tab.expect("message"))["data"]["n"] == 0

    run(scenario())
    assert server.stop() == 0


def test_a_file_at_its_size_limit_is_a_write_that_fails_and_not_the_end_of_the_process(doorstep):
    server = doorstep()
    server.publish(make_event("alice", 0))
    log = pathlib.Path(server.options["store.path"] + "-wal")
    _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (log.stat().st_size, resource.RLIM_INFINITY))
    refused = server.post_events(make_event("alice", 1))
    assert refused.status == 503 and server.process.poll() is None, server.log_tail()
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))

    async def scenario():
        await until(lambda: server.ready_status() == 200)
        server.publish(make_event("alice", 1))
        tab = await Tab.open(server, "alice")
        assert [m["data"]["n"] for m in await tab.messages(2)] == [0, 1]

    run(scenario())
    assert server.stop() == 0
