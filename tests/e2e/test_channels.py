# SPDX-License-Identifier: Apache-2.0
"""Channels: roles, groups, topics, everybody. Stored once, delivered to each, acked by each, over kills and retention."""
import asyncio
import json

from support.client import Tab, in_thread, run
from support.tokens import make_token

ROUTES = """
[[routes]]
match.type = "to.all"
to = "all"
[[routes]]
match.type = "to.admins"
to = "role:admin"
[[routes]]
match.type = "to.team"
to = "group:{/data/team}"
[[routes]]
match.type = "to.news"
to = "topic:news.eu"
"""


def made(doorstep, options=None, routes=ROUTES):
    server = doorstep(options, start=False)
    server.routes = routes
    return server.start()


def event(number, kind="to.all", **data):
    return {"specversion": "1.0", "id": str(number), "source": "/e2e", "type": kind, "data": {"n": number, **data}}


def open_tab(server, user, roles=(), groups=(), **connect):
    return Tab.open(server, user, token=make_token(user, roles=list(roles), groups=list(groups)), **connect)


async def numbers(tab, count):
    return [m["data"]["n"] for m in await tab.messages(count)]


def test_one_publish_to_all_is_one_stored_message_and_a_delivery_to_each(doorstep, store):
    server = made(doorstep, store)

    async def scenario():
        tabs = await asyncio.gather(*[open_tab(server, f"u{i}") for i in range(60)])
        assert all(set(t.connected["addresses"]) == {f"user:{t.user}", "all"} for t in tabs)
        before = server.metrics()
        assert server.publish(event(1)) == [{"id": "1", "accepted": 1, "duplicates": 0}]
        got = [await t.expect("message") for t in tabs]
        assert {(m["address"], m["seq"], m["redelivered"], m["attempt"]) for m in got} == {("all", got[0]["seq"], False, 1)}
        receipts = [await t.ack(m) for t, m in zip(tabs, got)]
        assert all(r["ids"] == [got[0]["id"]] and r["up_to"]["all"] == got[0]["seq"] for r in receipts)
        after = server.metrics()
        assert after["doorstep_messages_appended_total"] - before["doorstep_messages_appended_total"] == 1
        assert after["doorstep_channel_pushes_total"] == 60 and after["doorstep_channel_readers"] == 60
        assert server.publish(event(1))[0]["duplicates"] == 1
        await tabs[0].nothing("message", 0.3)
        assert any(x["kind"] == "channel" for x in actors_of(server.get("/v1/actors").json()))

    run(scenario())


def actors_of(report):
    for x in report.get("children", report.get("actors", [])):
        yield x
        yield from actors_of(x)


def test_what_was_acked_with_a_receipt_never_comes_again_and_the_rest_does_flagged_over_a_kill(doorstep, store):
    server = made(doorstep, store)

    async def scenario():
        tabs = [await open_tab(server, f"u{i}") for i in range(8)]
        server.publish(*[event(n) for n in range(10)])
        for i, tab in enumerate(tabs):
            got = await tab.messages(10)
            await tab.ack(*got[:i])
        await in_thread(server.kill)
        await in_thread(server.start)
        again = [await open_tab(server, f"u{i}") for i in range(8)]
        server.publish(event(10))
        for i, tab in enumerate(again):
            got = await tab.messages(11 - i)
            assert [m["data"]["n"] for m in got] == list(range(i, 11))
            assert [m["redelivered"] for m in got] == [True] * (10 - i) + [False]
            await tab.ack(*got)
            await tab.nothing("message", 0.05)

    run(scenario())


def test_acks_of_many_go_up_to_a_seq_in_one_frame_with_the_mailbox(doorstep):
    server = made(doorstep, routes=ROUTES + '[[routes]]\nto = "touser"\n')

    async def scenario():
        tab = await open_tab(server, "alice", roles=["admin"])
        server.publish(event(1), event(2, "to.admins"), {**event(3, "x"), "touser": "alice"})
        got = {m["address"]: m for m in await tab.messages(3)}
        await tab.send({"id": 9, "ack": {"up_to": {address: m["seq"] for address, m in got.items()}}})
        x = await tab.next()
        while x.get("id") != 9:
            x = await tab.next()
        assert x["receipt"]["up_to"] == {address: m["seq"] for address, m in got.items()}
        tab.vanish()
        again = await open_tab(server, "alice", roles=["admin"])
        assert again.connected["addresses"] == {address: m["seq"] for address, m in got.items()}
        await again.nothing("message", 0.3)

    run(scenario())


def test_roles_groups_and_topics_reach_those_who_hold_or_join_them(doorstep):
    server = made(doorstep, {"channels.topics": ["news.*"]})

    async def scenario():
        admin = await open_tab(server, "ann", roles=["admin"], groups=["north"])
        plain = await open_tab(server, "ben", groups=["south"])
        await plain.send({"id": 5, "subscribe": {"address": "role:admin"}}, {"id": 6, "subscribe": {"address": "topic:secret"}})
        for _ in range(2):
            assert (await plain.expect("error"))["code"] == "forbidden"
        await plain.send({"id": 7, "subscribe": {"address": "topic:news.eu"}})
        assert list(await plain.expect("joined")) == ["topic:news.eu"]
        server.publish(event(1, "to.admins"), event(2, "to.team", team="north"), event(3, "to.team", team="south"), event(4, "to.news"))
        assert await numbers(admin, 2) in ([1, 2], [2, 1])
        assert sorted(await numbers(plain, 2)) == [3, 4]
        await plain.send({"id": 8, "ack": {"up_to": {"role:admin": 10}}})
        assert (await plain.expect("error"))["code"] == "forbidden"
        await plain.nothing("message", 0.2)
        # Losing a role stops delivery at the refresh.
        await admin.send({"id": 9, "refresh": {"token": make_token("ann", groups=["north"])}})
        assert await admin.expect("left") == ["role:admin"]
        await admin.expect("done")
        server.publish(event(5, "to.admins"))
        await admin.nothing("message", 0.3)
        assert server.metrics()["doorstep_commands_forbidden_total"] == 3

    run(scenario())


def test_a_late_subscriber_gets_the_past_as_configured(doorstep):
    server = made(doorstep, {"channels.topics": ["news.*"], "channels.starts": ["topic:news.eu=last 2", "role:*=earliest"], "channels.recent_messages_max": 64})

    async def scenario():
        server.publish(*[event(n, "to.news") for n in range(5)])
        server.publish(*[event(n, "to.admins") for n in range(100, 300)])
        server.publish(*[event(n) for n in range(50, 53)])
        tab = await open_tab(server, "ann", roles=["admin"])
        seen = []
        while len(seen) < 200:
            m = await tab.expect("message")
            seen.append(m["data"]["n"])
            await tab.send({"ack": {"up_to": {m["address"]: m["seq"]}}})
        assert seen == list(range(100, 300))
        await tab.send({"id": 7, "subscribe": {"address": "topic:news.eu"}})
        heard = []
        while not any("joined" in x for x in heard) or sum("message" in x for x in heard) < 2:
            heard.append(await tab.next())  # in which order is not said
        assert [x["message"]["data"]["n"] for x in heard if "message" in x] == [3, 4]
        await tab.nothing("message", 0.3)

    run(scenario())


def test_a_reader_back_after_retention_is_told_of_the_gap(doorstep, store):
    server = made(doorstep, {**store, "store.retention": "2s", "store.retention_interval": "200ms", "log.dedup_window": "1s", "delivery.passivate_after": "100ms"})

    async def scenario():
        tab = await open_tab(server, "ann")
        server.publish(event(0))
        await tab.ack(await tab.expect("message"))
        tab.vanish()
        await asyncio.sleep(0.2)
        server.publish(*[event(n) for n in range(1, 4)])
        for _ in range(60):
            await asyncio.sleep(0.25)
            if server.metrics()["doorstep_messages_retention_removed_total"] >= 4:
                break
        server.publish(event(4))
        again = await open_tab(server, "ann")
        gap = await again.expect("gap")
        assert gap["address"] == "all" and gap["reason"] == "retention" and gap["from"] == again.connected["addresses"]["all"] + 1
        assert (await again.expect("message"))["data"]["n"] == 4
        new = await open_tab(server, "new")
        await new.nothing("gap", 0.3)

    run(scenario())


def test_rules_that_name_channels_only_after_a_reload_reach_who_is_connected(doorstep):
    server = made(doorstep, routes='[[routes]]\nto = "user:nobody"\n')

    async def scenario():
        tab = await open_tab(server, "ann", roles=["admin"])
        assert list(tab.connected["addresses"]) == ["user:ann"]
        server.routes = ROUTES
        server.write_config()
        assert server.request("POST", "/v1/admin/reload").status == 200
        joined = {}
        while len(joined) < 2:
            joined |= await tab.expect("joined")
        assert sorted(joined) == ["all", "role:admin"]
        server.publish(event(1))
        assert await numbers(tab, 1) == [1]

    run(scenario())


def test_history_of_a_channel_has_the_states_of_who_asks(doorstep):
    server = made(doorstep)

    async def scenario():
        tab = await open_tab(server, "ann")
        server.publish(event(1), event(2))
        got = await tab.messages(2)
        await tab.ack(got[0])
        await tab.send({"id": 4, "history": {"address": "all"}})
        page = await tab.expect("history")
        assert [(m["data"]["n"], list(m["states"])) for m in page["messages"]] == [(1, ["delivered"]), (2, [])]
        await tab.send({"id": 5, "history": {"address": "role:admin"}})
        assert (await tab.expect("error"))["code"] == "forbidden"

    run(scenario())


def test_what_was_read_in_a_channel_stays_read_over_a_kill_and_one_list_holds_mailbox_and_channels(doorstep, store):
    server = made(doorstep, store, ROUTES + '[[routes]]\nto = "touser"\n')

    async def listed(tab):
        await tab.send({"id": 6, "history": {"inbox": True}})
        page = await tab.expect("history")
        times = [m["appended"] for m in page["messages"]]
        assert times == sorted(times)
        # Within a millisecond the shard decides, so only the set is the same every time.
        return sorted((m["data"]["n"], m["address"], "read" in m["states"]) for m in page["messages"])

    async def scenario():
        tab = await open_tab(server, "ann", roles=["admin"])
        for one in (event(1), {**event(2, "x"), "touser": "ann"}, event(3, "to.admins"), event(4)):
            server.publish(one)
        got = {m["data"]["n"]: m for m in await tab.messages(4)}
        await tab.send({"id": 5, "read": {"seqs": {"all": [got[4]["seq"]]}}})
        assert await tab.expect("done") == {}
        expected = [(1, "all", False), (2, "user:ann", False), (3, "role:admin", False), (4, "all", True)]
        assert await listed(tab) == expected
        await in_thread(server.kill)
        await in_thread(server.start)
        assert [x for x in await listed_when_quiet(await open_tab(server, "ann", roles=["admin"]), listed)] == expected

    run(scenario())


async def listed_when_quiet(tab, listed):
    await tab.messages(4)
    return await listed(tab)
