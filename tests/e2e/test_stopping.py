# SPDX-License-Identifier: Apache-2.0
"""SIGTERM, a second signal, and a second process on the same data."""
import asyncio
import signal
import subprocess
import time

from support.client import ENDED, Tab, close_code, in_thread, run
from support.server import BINARY, Doorstep, clean_environment, make_event


def test_sigterm_tells_clients_to_come_back_and_exits_0(doorstep):
    server = doorstep({"runtime.drain_timeout": "5s", "runtime.reconnect_spread": "2s"})

    async def scenario():
        tabs = [await Tab.open(server, f"u{i}") for i in range(10)]
        server.publish(*[make_event("u0", n) for n in range(5)])
        await tabs[0].messages(5)
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        delays = []
        for tab in tabs:
            goodbye = await tab.expect("disconnect")
            assert goodbye["code"] == 1012 and goodbye["reconnect"] is True
            delays.append(goodbye["delay_ms"])
            assert await in_thread(server.ready_status) != 200
            try:
                while True:
                    await asyncio.wait_for(tab.socket.recv(), 5)
            except ENDED as ended:
                assert close_code(ended) == 1012
        assert len(set(delays)) > 3 and all(0 <= x <= 2000 for x in delays), f"spread, not {delays}"
        assert await in_thread(server.process.wait, 10) == 0
        assert time.monotonic() - begin < 5

    run(scenario())


def test_ctrl_c_does_the_same(doorstep):
    server = doorstep()
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(10) == 0


def test_a_stop_under_load_loses_nothing_that_was_accepted(doorstep):
    server = doorstep()
    taken = []

    def publish_until_the_end():
        number = 0
        while True:
            try:
                if server.post_events(make_event("alice", number)).status != 202:
                    return
            except OSError:
                return
            taken.append(number)
            number += 1

    async def scenario():
        publisher = asyncio.ensure_future(in_thread(publish_until_the_end))
        while len(taken) < 20:
            await asyncio.sleep(0.01)
        assert await in_thread(server.stop) == 0
        await publisher
        await in_thread(server.start)
        tab = await Tab.open(server, "alice")
        seen = []
        while len(seen) < len(taken):
            message = await tab.expect("message")
            seen.append(message["data"]["n"])
            await tab.send({"ack": {"ids": [message["id"]]}})
        assert seen == taken

    run(scenario())


def test_a_second_signal_ends_at_once_and_loses_nothing(doorstep):
    server = doorstep({"runtime.drain_timeout": "30s"})

    async def scenario():
        # A client that neither reads nor closes keeps the drain waiting.
        stuck = await Tab.open(server, "stuck")
        stuck.socket.transport.pause_reading()
        server.publish(*[make_event("alice", n) for n in range(3)])
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        await in_thread(server.process.wait, 5)
        assert time.monotonic() - begin < 2
        stuck.vanish()
        await in_thread(server.start)
        tab = await Tab.open(server, "alice")
        assert [m["data"]["n"] for m in await tab.messages(3)] == [0, 1, 2]

    run(scenario())


def test_a_start_after_a_kill_says_so_and_one_after_a_clean_stop_does_not(doorstep):
    server = doorstep()

    def warnings():
        return server.log_path.read_text().count("WARN  store not-stopped-cleanly")

    server.publish(make_event("alice", 1))
    assert (warnings(), server.metrics()["doorstep_started_after_crash"]) == (0, 0)
    server.kill()
    server.start()
    assert (warnings(), server.metrics()["doorstep_started_after_crash"]) == (1, 1)
    server.publish(make_event("alice", 2))
    assert server.stop() == 0
    server.start()
    assert (warnings(), server.metrics()["doorstep_started_after_crash"]) == (1, 0)


def test_no_two_sessions_have_one_name_not_even_over_a_kill(doorstep):
    server = doorstep()

    async def names():
        tabs = [await Tab.open(server, "alice") for _ in range(2)]
        found = [tab.connected["session"] for tab in tabs]
        for tab in tabs:
            tab.vanish()
        return found

    first = run(names())
    server.kill()
    server.start()
    assert len({*first, *run(names())}) == 4


def test_a_second_process_on_the_same_data_is_refused_and_says_so(doorstep):
    first = doorstep()
    second = Doorstep(first.folder / "second", {"store.path": first.options["store.path"]})
    second.start(wait=False)
    try:
        code = second.process.wait(15)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        second.close()
    log = second.log_tail()
    assert code not in (None, 0), log
    assert first.options["store.path"] in log, f"it names the file another process has:\n{log}"
    assert first.publish(make_event("alice", 1)) == [{"id": "alice-1", "accepted": 1, "duplicates": 0}]


def test_a_port_in_use_ends_the_start_with_a_reason(doorstep):
    first = doorstep()
    second = Doorstep(first.folder / "second", {"http.listen": first.options["http.listen"]})
    second.start(wait=False)
    try:
        code = second.process.wait(15)
    finally:
        second.close()
    assert code == 1
    assert first.options["http.listen"] in second.log_tail()


def test_help_does_not_need_a_configuration():
    done = subprocess.run([str(BINARY), "--help"], capture_output=True, text=True, timeout=10, check=False, env=clean_environment())
    assert done.returncode == 0 and "serve" in done.stdout
