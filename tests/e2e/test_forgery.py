# SPDX-License-Identifier: Apache-2.0
"""A client that names what is somebody else's, in every command that names anything: refused, counted, nothing changed. And rules that meet data they were not written for."""
import json

import pytest

from support.client import Tab, run
from support.entrance import wait_for
from support.server import make_event
from support.tokens import make_token

RULES = """
[[routes]]
name = "sold"
match.type = "sold"
to = ["user:{/data/buyer}", "role:admin"]
"""
ODD_RULES = """
[routing]
match = "all"
unmatched = "dead_letter"
recipients_max = 20000
[[routes]]
name = "dear"
match.type = "order"
match.where = "/data/total > 10"
to = "user:{/data/buyer}"
render.title = "{/data/name|nobody} bought {/data/items/0/name}"
[[routes]]
name = "state"
match.type = "order"
match.where = "/data/state == 'paid'"
to = "user:cashier"
[[routes]]
name = "watchers"
match.type = "order"
to = "users:{/data/watchers}"
"""


def sold(number, **data):
    return {"specversion": "1.0", "id": str(number), "source": "/shop", "type": "sold", "data": {"buyer": "alice"} | data}


def states_of(server, user):
    async def look():
        tab = await Tab.open(server, user, token=make_token(user, roles=["admin"]), counts=True)
        while "counts" not in (counts := await tab.next()):
            pass
        found = []
        for of in (f"user:{user}", "role:admin"):
            await tab.send({"id": 3, "history": {"address": of}})
            while "history" not in (x := await tab.next()):
                pass
            found.append([(m["id"], {name for name in m["states"]}) for m in x["history"]["messages"]])
        await tab.close()
        return counts, found, tab.connected["addresses"]
    return run(look())


@pytest.mark.parametrize("roles", [(), ("viewer",)])
def test_every_command_that_names_what_is_anothers_is_refused_counted_and_changes_nothing(doorstep, roles):
    server = doorstep(start=False)
    server.routes = RULES + '[[routes]]\nmatch.type = "seen"\nto = "role:viewer"\n'
    server.start()
    run(first_of(server, "alice"))  # her cursor of role:admin begins here
    server.publish(sold(1), sold(2))
    before = states_of(server, "alice")
    assert before[0] == {"counts": {"unread": 4, "unseen": 4}} and [len(x) for x in before[1]] == [2, 2]
    ids = [m for m, _ in before[1][0] + before[1][1]]
    named = [{"user:alice": 2 ** 50}, {"role:admin": 2 ** 50}, {"user:mallory": 1, "user:alice": 2 ** 50}, {"user:mallory": 1, "role:admin": 2 ** 50}]
    forged = [{"ack": {"up_to": x}} for x in named]
    forged += [{"ack": {"up_to": named[0], "ids": ids}}]
    forged += [{mark: {"up_to": x}} for mark in ("read", "unread", "seen", "archive", "unarchive") for x in named[:2]]
    forged += [{mark: {"seqs": {of: [1, 2, 3]}}} for mark in ("read", "archive") for of in ("user:alice", "role:admin")]
    forged += [{"history": {"address": of}} for of in ("user:alice", "role:admin", "group:x", "all", "user:nobody", "topic:x")]
    forged += [{"subscribe": {"address": of}} for of in ("role:admin", "group:x", "all", "user:alice", "topic:x")]
    forged += [{"unsubscribe": {"address": of}} for of in ("role:admin", "user:alice", "user:mallory", "all", *(f"role:{x}" for x in roles))]
    malformed = [{"history": {"address": of}} for of in ("dead-letters:records", "reader:role:admin\nalice", "gone:role:admin", "rolle:admin", "", "user:")]
    malformed += [{"ack": {"up_to": {of: 1}}} for of in ("dead-letters:records", "reader:role:admin\nalice")] + [{"subscribe": {"address": 7}}, {"ack": {"up_to": [1]}}, {"ack": {"up_to": {"user:mallory": -1}}}]

    async def scenario():
        # What it says it has seen says nothing about others either.
        mallory = await Tab.open(server, "mallory", {"user:alice": 2 ** 50, "role:admin": 2 ** 50}, make_token("mallory", roles=list(roles)))
        assert set(mallory.connected["addresses"]) == {"user:mallory", *(f"role:{x}" for x in roles)}
        for number, what in enumerate(forged):
            await mallory.send({"id": 100 + number} | what)
            answer = await mallory.next()
            assert answer["id"] == 100 + number and answer.get("error", {}).get("code") == "forbidden", (what, answer)
        assert server.metrics()["doorstep_commands_forbidden_total"] == len(forged)
        for what in malformed:
            await mallory.send({"id": 7} | what)
            assert (await mallory.next())["error"]["code"] in ("malformed", "forbidden"), what
        # An id is no address: one that is not there in what the session reads is nobody's.
        for what in ({"ack": {"ids": ids}}, {"nack": {"ids": ids, "reason": "forged", "retry_in": 0}}, {"in_progress": {"ids": ids}}):
            await mallory.send({"id": 8} | what)
            assert (await mallory.next())["id"] == 8
        # Marks without an address are one's own.
        for what in ({"seen": {}}, {"read": {"all": True}}, {"archive": {"all": True}}):
            await mallory.send({"id": 9} | what)
            assert (await mallory.next()) == {"id": 9, "done": {}}
        await mallory.nothing("message", 0.2)

    run(scenario())
    assert states_of(server, "alice") == before
    assert server.dead_letters() == []

    async def all_of_it_comes():
        alice = await Tab.open(server, "alice", token=make_token("alice", roles=["admin"]))
        got = await alice.messages(4)
        assert sorted(m["id"] for m in got) == sorted(ids) and {m["attempt"] for m in got} <= {1, 2}

    run(all_of_it_comes())


async def first_of(server, user):
    await (await Tab.open(server, user, token=make_token(user, roles=["admin"]))).close()


def order(number, **data):
    return {"specversion": "1.0", "id": str(number), "source": "/shop", "type": "order", "data": data}


def test_rules_that_meet_what_they_were_not_written_for_neither_match_nor_guess(doorstep, kafka):
    topic = kafka.make_topic(1)
    server = doorstep(None, [kafka.source(topic, f"g-{topic}")], start=False)
    server.routes = ODD_RULES
    server.start()
    nobody = [order(1), order(2, total="12"), order(3, total=None), order(4, total=[12]), order(5, total={"n": 12}), order(6, total=True), order(7, state=1), order(8, state=["paid"]),
              order(9, total=5, buyer="bob"), order(10, watchers=None), order(11, watchers=[]), order(12, total=12), order(13, total=12, buyer=None)]
    malformed = [order(20, total=12, buyer=1.5), order(21, total=12, buyer=["a"]), order(22, total=12, buyer={}), order(23, total=12, buyer=False), order(24, total=12, buyer=""),
                 order(25, watchers={"a": 1}), order(26, watchers=["a", None]), order(27, watchers=["a", ["b"]]), order(28, watchers=["a", 1e300]), order(29, watchers=True),
                 order(30, total=12, buyer="x" * 4096), order(31, watchers=[f"w{n}" for n in range(20_001)])]
    fine = [order(40, total=12.5, buyer=42), order(41, total=1e300, buyer="42"), order(42, state="paid", total=-1), order(43, watchers="42"), order(44, watchers=42)]
    for one in nobody:
        reply = server.post_events(one)
        assert (reply.status, reply.json()["events"][0]["accepted"]) == (202, 0), (one, reply.body)
    for one in malformed:
        reply = server.post_events(one)
        assert reply.status == 400 and reply.json()["code"] == "malformed" and len(reply.body) < 1000, (one["id"], reply.body)
    for one in fine:
        assert server.post_events(one).json()["events"][0]["accepted"] == 1, one
    kafka.produce(topic, [("k", one | {"source": "/kafka"}) for one in nobody + malformed + fine])
    wait_for(lambda: server.metrics()["doorstep_records_malformed_total"] == len(malformed), 30)
    wait_for(lambda: len(server.dead_letters()) == len(malformed))
    for letter, one in zip(sorted(server.dead_letters(), key=lambda x: x["offset"]), malformed):
        assert letter["reason"] == "malformed" and letter["offset"] == len(nobody) + malformed.index(one)
        assert "dear" in letter["detail"] or "watchers" in letter["detail"] or "routing.recipients_max" in letter["detail"], letter["detail"]
        assert len(letter["detail"]) < 1000

    async def scenario():
        tab = await Tab.open(server, "42")  # the number 42 and the text "42" are one user
        got = await tab.messages(8)
        assert [m["event_id"] for m in got] == ["40", "41", "43", "44"] * 2
        assert got[0]["title"] == "nobody bought "
        cashier = await Tab.open(server, "cashier")
        assert [m["event_id"] for m in await cashier.messages(2)] == ["42", "42"]

    run(scenario())
    assert server.ready_status() == 200
