# SPDX-License-Identifier: Apache-2.0
"""What the person did with messages: from any device, durable, counted; history and retention."""
import asyncio

from support.client import Tab, in_thread, run
from support.server import make_event

ALICE = "user:alice"


async def counts(tab, **expected):
    """Waits until the counts are these; whatever else comes before is left out."""
    while (await tab.next()).get("counts") != expected:
        pass


async def do(tab, request, **what):
    """A request and its durable answer."""
    await tab.send({"id": 77, request: what})
    assert await tab.expect("done") == {}


async def states(tab, **query):
    await tab.send({"id": 78, "history": {"address": ALICE, **query}})
    page = await tab.expect("history")
    return [(m["data"]["n"], sorted(m["states"])) for m in page["messages"]]


def test_read_on_one_device_clears_the_badge_of_another_that_was_offline_also_over_a_kill(doorstep, store):
    server = doorstep(store)

    async def scenario():
        phone = await Tab.open(server, "alice", counts=True)
        server.publish(*[make_event("alice", n) for n in range(3)])
        await phone.ack(*await phone.messages(3))
        phone.vanish()

        laptop = await Tab.open(server, "alice", counts=True)
        await counts(laptop, unread=3, unseen=3)
        await do(laptop, "read", all=True)
        await counts(laptop, unread=0, unseen=0)
        await in_thread(server.kill)
        await in_thread(server.start)

        again = await Tab.open(server, "alice", counts=True)
        assert await again.expect("counts") == {"unread": 0, "unseen": 0}
        await again.nothing("message", 0.3)

    run(scenario())


def test_every_open_device_sees_the_counts_after_any_sequence_and_history_the_states(doorstep, store):
    server = doorstep(store)

    async def scenario():
        phone, laptop = await Tab.open(server, "alice", counts=True), await Tab.open(server, "alice", counts=True)
        server.publish(*[make_event("alice", n) for n in range(5)])
        seqs = [m["seq"] for m in await phone.messages(5)]
        await counts(laptop, unread=5, unseen=5)
        await do(phone, "seen")
        await counts(laptop, unread=5, unseen=0)
        await do(phone, "read", seqs={ALICE: [seqs[1], seqs[2]]})
        await counts(laptop, unread=3, unseen=0)
        await do(laptop, "archive", seqs={ALICE: [seqs[4]]})
        await counts(phone, unread=2, unseen=0)
        await do(laptop, "unread", seqs={ALICE: [seqs[2]]})
        await counts(phone, unread=3, unseen=0)
        await do(laptop, "unarchive", seqs={ALICE: [seqs[4]]})
        await counts(phone, unread=4, unseen=0)
        await do(phone, "read", up_to={ALICE: seqs[3]})
        await counts(laptop, unread=1, unseen=0)
        await laptop.send({"id": 5, "ack": {"up_to": {ALICE: seqs[0]}}})
        await laptop.expect("receipt")
        assert await states(phone) == [(0, ["delivered", "read", "seen"]), (1, ["read", "seen"]), (2, ["read", "seen"]), (3, ["read", "seen"]), (4, ["seen"])]
        assert [n for n, _ in await states(phone, after=seqs[1], limit=2)] == [2, 3]
        assert [n for n, _ in await states(phone, before=seqs[3], limit=2)] == [1, 2]
        assert [n for n, _ in await states(phone, since=0, until=1)] == []
        assert len(await states(phone, since=1_600_000_000_000)) == 5
        assert server.get("/v1/mailboxes/alice").json()["unread"] == 1

    run(scenario())


def test_another_device_is_told_what_one_acked(doorstep):
    server = doorstep({"delivery.receipt_delay": "50ms"})

    async def scenario():
        phone, laptop = await Tab.open(server, "alice"), await Tab.open(server, "alice")
        server.publish(make_event("alice", 1), make_event("alice", 2))
        first, second = await phone.messages(2)
        await laptop.messages(2)
        await phone.ack(second)
        told = await laptop.expect("receipt")
        assert told["ids"] == [second["id"]]
        await phone.ack(first)
        assert (await laptop.expect("receipt"))["up_to"] == {ALICE: second["seq"]}

    run(scenario())


def test_retention_removes_what_was_acked_and_history_names_the_gap_also_over_a_kill(doorstep, store):
    server = doorstep(store | {"store.retention": "1s", "store.retention_interval": "200ms", "log.dedup_window": "1s"})

    async def past(tab):
        await tab.send({"id": 78, "history": {"address": ALICE}})
        return await tab.expect("history")

    async def scenario():
        tab = await Tab.open(server, "alice")
        server.publish(*[make_event("alice", n) for n in range(4)])
        seen = await tab.messages(4)
        await tab.ack(*seen[:3])
        while len((await past(tab))["messages"]) > 1:
            await asyncio.sleep(0.1)
        page = await past(tab)
        assert [m["data"]["n"] for m in page["messages"]] == [3], "what is owed stays"
        assert page["gap"] == {"from": 1, "to": seen[2]["seq"], "reason": "retention"}
        assert server.metrics()["doorstep_messages_retention_removed_total"] == 3
        await in_thread(server.kill)
        await in_thread(server.start)
        again = await Tab.open(server, "alice")
        assert [m["data"]["n"] for m in await again.messages(1)] == [3]
        assert await past(again) == page

    run(scenario())
