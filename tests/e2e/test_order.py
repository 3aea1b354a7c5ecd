# SPDX-License-Identifier: Apache-2.0
"""How a message asks to be delivered, and what gives way in a full mailbox: through a kill."""
import asyncio

from support.client import Tab, run
from support.server import make_event


def numbers(messages):
    return [m["data"]["n"] for m in messages]


def test_a_strict_group_goes_one_by_one_and_the_newest_of_a_key_takes_the_place_of_the_others(doorstep):
    server = doorstep({})
    for n, more in enumerate([{"deliveryorder": "strict", "deliverykey": "a"}, {"deliveryorder": "strict", "deliverykey": "a"}, {"deliveryorder": "latest", "deliverykey": "p"},
                              {"deliveryorder": "latest", "deliverykey": "p"}, {}]):
        server.publish(make_event("carol", n, **more))
    server.kill()
    server.start()

    async def scenario():
        tab = await Tab.open(server, "carol")
        first = await tab.messages(3)
        assert numbers(first) == [0, 3, 4], "1 waits for 0, and 2 is no news any more"
        await tab.ack(first[0])
        assert numbers(await tab.messages(1)) == [1]

    run(scenario())
    assert server.metrics()["doorstep_messages_superseded_total"] == 1
    assert server.dead_letters() == []


def test_what_an_event_cannot_ask_is_refused(doorstep):
    server = doorstep({})
    for more in ({"deliveryorder": "fifo"}, {"deliverypriority": "high"}, {"deliverypriority": 10}):
        reply = server.post_events([make_event("carol", 1, **more)])
        assert reply.status == 400 and reply.json()["field"] == next(iter(more)), reply.body


def test_a_full_mailbox_rejects_what_comes_and_keeps_what_it_owes_through_a_kill(doorstep):
    server = doorstep({"delivery.mailbox_messages_max": 5, "delivery.overflow": "reject_newest"})
    server.publish(*[make_event("dave", n) for n in range(50)])

    async def scenario():
        tab = await Tab.open(server, "dave")
        assert numbers(await tab.messages(5)) == [0, 1, 2, 3, 4]
        while len(server.dead_letters()) < 45:
            await asyncio.sleep(0.02)

    run(scenario())
    assert {x["reason"] for x in server.dead_letters()} == {"overflow"}
    server.kill()
    server.start()

    async def again():
        tab = await Tab.open(server, "dave")
        messages = await tab.messages(5)
        assert numbers(messages) == [0, 1, 2, 3, 4]
        await tab.ack(*messages)
        await tab.nothing("message", 0.5)

    run(again())
    assert len(server.dead_letters()) == 45
