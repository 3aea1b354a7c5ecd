# SPDX-License-Identifier: Apache-2.0
"""A cursor for each device of a user: delivery.ack_scope = "device"."""
import json

import pytest
import websockets

from support.client import Tab, close_code, in_thread, open_socket, run
from support.server import make_event
from support.tokens import make_token

ALICE = "user:alice"
BY_DEVICE = {"delivery.ack_scope": "device"}


def devices(server):
    return {x["device"]: x for x in server.get("/v1/mailboxes/alice").json()["devices"]}


async def refused(server, **connect):
    """@returns the code a connection is closed with."""
    socket = await open_socket(server.port)
    await socket.send(json.dumps({"id": 1, "connect": {"token": make_token("alice"), **connect}}))
    with pytest.raises(websockets.ConnectionClosed) as end:
        while True:
            assert "connected" not in await socket.recv()
    return close_code(end.value)


def test_every_device_gets_and_acks_everything_also_over_a_kill_and_each_knows_its_own(doorstep, store):
    server = doorstep(BY_DEVICE | store)

    async def scenario():
        server.publish(make_event("alice", 0))
        phone = await Tab.open(server, "alice", device="phone")
        first = (await phone.messages(1))[0]
        assert not first["redelivered"]
        laptop = await Tab.open(server, "alice", device="laptop")
        assert laptop.connected["addresses"][ALICE] >= first["seq"], "it begins where it comes"
        server.publish(make_event("alice", 1), make_event("alice", 2))
        got = await laptop.messages(2)
        assert [m["redelivered"] for m in got] == [False, False]
        await laptop.ack(*got)
        await phone.ack(first)
        for tab in (phone, laptop):
            tab.vanish()
        await in_thread(server.kill)
        await in_thread(server.start)

        laptop = await Tab.open(server, "alice", device="laptop")
        await laptop.nothing("message", 0.3)
        phone = await Tab.open(server, "alice", device="phone")
        assert [(m["data"]["n"], m["redelivered"]) for m in await phone.messages(2)] == [(1, True), (2, True)], "they may have been on their way"
        server.publish(make_event("alice", 3))
        for tab in (phone, laptop):
            assert [(m["data"]["n"], m["redelivered"]) for m in await tab.messages(1)] == [(3, False)]
        tablet = await Tab.open(server, "alice", device="tablet")
        await tablet.nothing("message", 0.3)
        await tablet.send({"id": 5, "history": {"address": ALICE}})
        assert len((await tablet.expect("history"))["messages"]) == 4, "the past is there"
        report = server.get("/v1/mailboxes/alice").json()
        assert report["unread"] == 4 and "floor" not in report
        seen = devices(server)
        assert sorted(seen) == ["laptop", "phone", "tablet"]
        assert (seen["phone"]["owed"], seen["laptop"]["owed"], seen["tablet"]["owed"]) == (3, 1, 0)
        assert all(x["loaded"] and x["sessions"] == 1 and x["seen_ms"] > 0 for x in seen.values())

    run(scenario())


def test_a_clean_stop_keeps_each_devices_place_and_flags_only_what_it_was_sent(doorstep, store):
    server = doorstep(BY_DEVICE | store)

    async def scenario():
        phone = await Tab.open(server, "alice", device="phone")
        laptop = await Tab.open(server, "alice", device="laptop")
        await laptop.close()
        server.publish(make_event("alice", 1))
        await phone.messages(1)
        assert await in_thread(server.stop) == 0
        await in_thread(server.start)
        assert not devices(server)["phone"]["loaded"] and devices(server)["phone"]["owed"] == 1
        phone, laptop = await Tab.open(server, "alice", device="phone"), await Tab.open(server, "alice", device="laptop")
        assert [m["redelivered"] for m in await phone.messages(1)] == [True]
        assert [m["redelivered"] for m in await laptop.messages(1)] == [False]

    run(scenario())


def test_changing_whose_an_ack_is_loses_nothing_and_flags_what_any_device_was_sent(doorstep, store):
    server = doorstep(store)

    async def as_of(scope):
        assert await in_thread(server.stop) == 0
        server.options["delivery.ack_scope"] = scope
        await in_thread(server.start)

    async def scenario():
        tab = await Tab.open(server, "alice")
        server.publish(make_event("alice", 0), make_event("alice", 1))
        await tab.ack((await tab.messages(2))[0])

        await as_of("device")
        phone = await Tab.open(server, "alice", device="phone")
        assert [(m["data"]["n"], m["redelivered"]) for m in await phone.messages(1)] == [(1, True)], "the first device goes on where the user was"
        laptop = await Tab.open(server, "alice", device="laptop")
        server.publish(make_event("alice", 2), make_event("alice", 3))
        await phone.messages(2)
        got = await laptop.messages(2)
        await laptop.ack(got[0])
        await phone.send({"id": 9, "ack": {"up_to": {ALICE: got[0]["seq"]}}})
        await phone.expect("receipt")

        await as_of("user")
        tab = await Tab.open(server, "alice", device="phone")
        assert [(m["data"]["n"], m["redelivered"]) for m in await tab.messages(1)] == [(3, True)], "2 was acked by both"
        assert "devices" not in server.get("/v1/mailboxes/alice").json()

        await as_of("device")
        tablet = await Tab.open(server, "alice", device="tablet")
        assert [(m["data"]["n"], m["redelivered"]) for m in await tablet.messages(1)] == [(3, True)]
        assert sorted(devices(server)) == ["tablet"]

    run(scenario())


def test_a_device_too_many_and_one_that_cannot_be_are_closed_with_codes_that_say_so(doorstep):
    server = doorstep(BY_DEVICE | {"delivery.devices_max": 2})

    async def scenario():
        tabs = [await Tab.open(server, "alice", device="phone"), await Tab.open(server, "alice")]
        assert await refused(server, device="laptop") == 3505
        assert await refused(server, device="a\u0007b") == 3501
        socket = await open_socket(server.port)
        await socket.send(json.dumps({"id": 1, "connect": {"token": make_token("alice"), "device": "x" * 129}}))
        assert json.loads(await socket.recv())["error"]["code"] == "malformed"
        again = await Tab.open(server, "alice", device="phone")
        server.publish(make_event("alice", 1))
        for tab in [*tabs, again]:
            await tab.messages(1)
        assert sorted(devices(server)) == ["", "phone"]

    run(scenario())
