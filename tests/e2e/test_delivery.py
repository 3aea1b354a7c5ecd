# SPDX-License-Identifier: Apache-2.0
"""What a client sees: resending, coming back, several tabs, a restart of the process."""
import asyncio

from support.client import ENDED, Tab, close_code, in_thread, open_socket, run
from support.server import make_event
from support.tokens import make_token

QUICK = {"delivery.ack_timeout": "300ms", "delivery.retry_base": "50ms", "delivery.retry_max": "200ms"}


def identity(message):
    return message["id"], message["seq"]


def test_a_client_that_never_acks_gets_it_again_flagged_with_the_attempt_rising(doorstep):
    server = doorstep(QUICK)

    async def scenario():
        tab = await Tab.open(server, "lazy")
        server.publish(make_event("lazy", 1))
        rounds = await tab.messages(4)
        assert [m["attempt"] for m in rounds] == [1, 2, 3, 4]
        assert [m["redelivered"] for m in rounds] == [False, True, True, True]
        assert len({identity(m) for m in rounds}) == 1
        await tab.ack(rounds[0])
        await tab.nothing("message", 1.0)

    run(scenario())


def test_a_nack_brings_it_back_as_another_attempt(doorstep):
    server = doorstep({"delivery.retry_base": "50ms", "delivery.retry_max": "200ms"})

    async def scenario():
        tab = await Tab.open(server, "picky")
        server.publish(make_event("picky", 1))
        first = await tab.expect("message")
        await tab.send({"nack": {"ids": [first["id"]], "reason": "cannot render"}})
        second = await tab.expect("message", 3)
        assert identity(second) == identity(first) and second["attempt"] == 2 and second["redelivered"]

    run(scenario())


def test_the_next_connection_of_a_vanished_client_gets_what_is_unacked_in_order_then_live(doorstep):
    server = doorstep()

    async def scenario():
        tab = await Tab.open(server, "gone")
        server.publish(*[make_event("gone", n) for n in range(10)])
        seen = await tab.messages(10)
        await tab.ack(*seen[:3], seen[5])
        tab.vanish()
        while server.get("/v1/mailboxes/gone").json()["sessions"]:
            await asyncio.sleep(0.01)
        server.publish(*[make_event("gone", n) for n in range(10, 13)])

        again = await Tab.open(server, "gone", resume={"user:gone": seen[-1]["seq"]})
        got = await again.messages(9)
        assert [m["data"]["n"] for m in got] == [3, 4, 6, 7, 8, 9, 10, 11, 12]
        assert [m["seq"] for m in got] == sorted(m["seq"] for m in got)
        assert [m["redelivered"] for m in got[:6]] == [True] * 6
        assert [m["redelivered"] for m in got[6:]] == [False] * 3, "what nobody was sent is not flagged"
        assert {identity(m) for m in got[:6]} < {identity(m) for m in seen}
        server.publish(make_event("gone", 13))
        assert (await again.expect("message"))["data"]["n"] == 13

    run(scenario())


def test_a_client_that_stops_reading_holds_nobody_up_and_loses_nothing(doorstep):
    server = doorstep()
    big = "x" * 20000

    async def scenario():
        stuck = await Tab.open(server, "stuck")
        stuck.socket.transport.pause_reading()
        other = await Tab.open(server, "other")
        for begin in range(0, 200, 50):
            await in_thread(server.publish, *[make_event("stuck", n, data={"n": n, "pad": big}) for n in range(begin, begin + 50)])
        await in_thread(server.publish, *[make_event("other", n) for n in range(20)])
        assert [m["data"]["n"] for m in await other.messages(20, timeout=5)] == list(range(20))

        stuck.vanish()
        again = await Tab.open(server, "stuck")
        seen = []
        while len(seen) < 200:
            message = await again.expect("message")
            seen.append(message["data"]["n"])
            await again.send({"ack": {"up_to": {"user:stuck": message["seq"]}}})
        assert seen == list(range(200))

    run(scenario())


def test_no_more_than_the_window_is_unacked_at_a_time(doorstep):
    server = doorstep({"delivery.window": 4})

    async def scenario():
        tab = await Tab.open(server, "windowed")
        assert tab.connected["window"] == 4
        server.publish(*[make_event("windowed", n) for n in range(10)])
        got = await tab.messages(4)
        await tab.nothing("message", 0.3)
        await tab.ack(got[0], got[1])
        assert [m["data"]["n"] for m in await tab.messages(2)] == [4, 5]
        await tab.nothing("message", 0.2)

    run(scenario())


def test_two_tabs_both_get_it_and_one_ack_is_enough(doorstep):
    server = doorstep(QUICK)

    async def scenario():
        one, two = await Tab.open(server, "twice"), await Tab.open(server, "twice")
        server.publish(make_event("twice", 1))
        first, second = await one.expect("message"), await two.expect("message")
        assert identity(first) == identity(second)
        assert not first["redelivered"] and not second["redelivered"], "one delivery round to all that are there"
        receipt = await one.ack(first)
        assert receipt["up_to"]["user:twice"] >= first["seq"]
        await two.nothing("message", 1.0)

        # A tab that closes takes nothing with it.
        await one.close()
        server.publish(make_event("twice", 2))
        assert (await two.expect("message"))["data"]["n"] == 2
        late = await Tab.open(server, "twice")
        again = await late.expect("message")
        assert again["data"]["n"] == 2 and again["redelivered"], "attached after the round: flagged"

    run(scenario())


def test_messages_for_one_user_are_seen_by_no_other(doorstep):
    server = doorstep()

    async def scenario():
        alice, bob = await Tab.open(server, "alice"), await Tab.open(server, "bob")
        server.publish(make_event("alice", 1), make_event("alice,bob", 2))
        assert [m["data"]["n"] for m in await alice.messages(2)] == [1, 2]
        assert (await bob.expect("message"))["data"]["n"] == 2
        await bob.nothing("message", 0.2)

    run(scenario())


def test_a_restart_changes_nothing_but_the_flag(doorstep):
    server = doorstep()

    async def scenario(ending):
        user = f"kept-{ending}"
        tab = await Tab.open(server, user)
        server.publish(*[make_event(user, n) for n in range(6)])
        seen = await tab.messages(6)
        await tab.ack(seen[1])
        if ending == "kill":
            await in_thread(server.kill)
        else:
            assert await in_thread(server.stop) == 0
        await in_thread(server.start)

        again = await Tab.open(server, user)
        got = await again.messages(5)
        assert [identity(m) for m in got] == [identity(m) for m in seen if m is not seen[1]]
        assert all(m["redelivered"] for m in got)
        await again.ack(*got)
        server.publish(make_event(user, 6))
        live = await again.expect("message")
        assert live["seq"] > seen[-1]["seq"] and not live["redelivered"]
        await again.close()

    run(scenario("kill"))
    run(scenario("terminate"))


def test_an_ack_with_a_receipt_survives_a_kill(doorstep):
    server = doorstep()

    async def scenario():
        tab = await Tab.open(server, "signed")
        server.publish(*[make_event("signed", n) for n in range(5)])
        seen = await tab.messages(5)
        receipt = await tab.ack(*seen)
        assert receipt["up_to"]["user:signed"] >= seen[-1]["seq"]
        await in_thread(server.kill)
        await in_thread(server.start)
        again = await Tab.open(server, "signed")
        assert again.connected["addresses"]["user:signed"] >= seen[-1]["seq"]
        await again.nothing("message", 0.4)
        await again.send({"id": 5, "history": {"address": "user:signed", "after": 0, "limit": 10}})
        history = await again.expect("history")
        assert [m["data"]["n"] for m in history["messages"]] == [0, 1, 2, 3, 4] and history["more"] is False

    run(scenario())


def test_tokens_in_the_header_and_as_a_subprotocol_and_bad_ones(doorstep):
    server = doorstep({"ws.connect_timeout": "500ms"})

    async def who(**how):
        socket = await open_socket(server.port, **how)
        tab = Tab("?")
        tab.socket = socket
        await tab.send({"id": 1, "connect": {}})
        return socket.subprotocol, (await tab.expect("connected"))["user"]

    async def refused(request, **how):
        socket = await open_socket(server.port, **how)
        try:
            if request is not None:
                await socket.send(request)
            while True:
                await asyncio.wait_for(socket.recv(), 5)
        except ENDED as ended:
            return close_code(ended)

    async def scenario():
        token = make_token("dora")
        assert await who(headers={"Authorization": f"Bearer {token}"}) == ("doorstep.v1", "dora")
        assert await who(subprotocols=("doorstep.v1", f"doorstep.token.{token}")) == ("doorstep.v1", "dora")
        connect = '{"id":1,"connect":{"token":"%s"}}'
        assert await refused(connect % make_token("eve", secret="x" * 40)) == 3500
        assert await refused(connect % make_token("eve", expires_in=-3600)) == 3500
        assert await refused(connect % make_token("eve", algorithm="none")) == 3500
        assert await refused(None, headers={"Authorization": "Bearer rubbish"}) == 3500
        assert await refused("no JSON") == 3501
        assert await refused('{"ack":{"ids":[]}}') == 3501
        assert await refused(None) == 3002

    run(scenario())
