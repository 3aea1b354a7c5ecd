# SPDX-License-Identifier: Apache-2.0
"""Routing rules over the real server: records and requests by one road, an event for ten thousand, reloads, and the commands that try rules."""
import asyncio
import json
import signal
import time

from support.client import Tab, in_thread, run
from support.server import TOP, run_doorstep

STRUCTURED = "application/cloudevents+json"
RULES = """
[[routes]]
name = "paid"
match.type = "com.shop.order.paid"
match.where = "/data/total >= 10"
to = ["user:{/data/buyer}", "users:{/data/watchers}"]
except = "user:{/data/by}"
[routes.render]
title = "Order {/data/id} is paid"
body = "{/data/total} EUR, {/data/note|no note}"
data = ["/data/id"]

[[routes]]
name = "wide"
match.type = "com.shop.news"
to = "users:{/data/to}"
render.data = ["/data/text"]
"""


def paid(number, **data):
    return {"specversion": "1.0", "id": str(number), "source": "/shop", "type": "com.shop.order.paid",
            "data": {"id": number, "total": 12.5, "buyer": "alice", "watchers": ["bob", "carol"], "by": "carol"} | data}


def post(server, body, headers=None):
    return server.request("POST", "/v1/events", json.dumps(body), {"Content-Type": STRUCTURED} | (headers or {}))


def with_routes(doorstep, rules, sources=(), options=None):
    server = doorstep(options, sources, start=False)
    server.routes = rules
    return server.start()


def reload(server, rules):
    server.routes = rules
    server.write_config()
    return server.request("POST", "/v1/admin/reload")


def logged(server, what, timeout=20):
    deadline = time.monotonic() + timeout
    while what not in server.log_path.read_text(errors="replace"):
        assert time.monotonic() < deadline, server.log_tail()
        time.sleep(0.02)


def test_a_published_event_goes_by_the_rules_and_is_rendered(doorstep):
    server = with_routes(doorstep, RULES)
    reply = post(server, paid(1))
    assert (reply.status, reply.json()) == (202, {"events": [{"id": "1", "accepted": 2, "duplicates": 0}]})
    assert post(server, paid(1)).json()["events"][0] == {"id": "1", "accepted": 0, "duplicates": 2}
    assert post(server, paid(2, total=5)).json()["events"][0] == {"id": "2", "accepted": 0, "duplicates": 0, "unmatched": True}
    refused = post(server, paid(3, buyer={"no": "id"}))
    assert refused.status == 400 and refused.json()["field"] == "user:{/data/buyer}" and "paid" in refused.json()["detail"]
    assert "doorstep_events_unmatched_total 1" in server.get("/metrics").body

    async def scenario():
        for user in ("alice", "bob"):
            tab = await Tab.open(server, user)
            [got] = await tab.messages(1)
            assert (got["title"], got["body"], got["data"]) == ("Order 1 is paid", "12.5 EUR, no note", {"id": 1})
            await tab.nothing("message", 0.2)
        carol = await Tab.open(server, "carol")
        await carol.nothing("message", 0.2)

    run(scenario())


def test_records_go_by_the_same_rules_and_a_replay_after_a_kill_makes_nothing_twice(doorstep, kafka):
    topic = kafka.make_topic(2)
    server = with_routes(doorstep, RULES, [kafka.source(topic, f"g-{topic}")])
    kafka.produce(topic, [(str(n), paid(n)) for n in range(20)])
    kafka.wait_committed(f"g-{topic}", topic, 2)
    server.kill()
    server.start()
    kafka.produce(topic, [(str(n), paid(n)) for n in range(20, 25)])

    async def scenario():
        for user in ("alice", "bob"):
            tab = await Tab.open(server, user)
            got = await tab.messages(25)
            assert sorted(m["data"]["id"] for m in got) == list(range(25))
            await tab.nothing("message", 0.2)

    run(scenario())
    kafka.wait_committed(f"g-{topic}", topic, 2)


def test_an_event_for_ten_thousand_reaches_them_all_and_another_one_meanwhile(doorstep):
    server = with_routes(doorstep, RULES)
    users = [f"u {n}/\"\U0001f680\"" for n in range(10_000)]
    wide = {"specversion": "1.0", "id": "w", "source": "/shop", "type": "com.shop.news", "data": {"to": users, "text": "hello"}}
    reply = post(server, wide)
    assert reply.status == 202 and reply.json()["events"][0]["accepted"] == 10_000
    assert post(server, wide).json()["events"][0] == {"id": "w", "accepted": 0, "duplicates": 10_000}

    async def scenario():
        for user in (users[0], users[-1]):
            tab = await Tab.open(server, user)
            [got] = await tab.messages(1)
            assert (got["event_id"], got["data"]) == ("w", {"text": "hello"})

    run(scenario())


def test_an_event_for_ten_thousand_holds_up_others_by_a_few_steps_only(doorstep, record_property):
    """The bound is 50 ms; a machine that others use as well, ASan and a slow disk get ten times that. What was measured is in the report."""
    server = with_routes(doorstep, RULES)
    users = [f"w{n}" for n in range(10_000)]

    async def scenario():
        tab = await Tab.open(server, "alice")

        async def slowest(first, busy):
            most, number = 0, first
            while busy(number):
                began = time.monotonic()
                assert post(server, paid(number, watchers=[])).status == 202
                await tab.messages(1)
                most = max(most, time.monotonic() - began)
                number += 1
            return most, number

        alone, number = await slowest(0, lambda n: n < 10)
        wide = [asyncio.ensure_future(in_thread(post, server, {"specversion": "1.0", "id": f"w{n}", "source": "/shop", "type": "com.shop.news", "data": {"to": users, "text": "x"}}))
                for n in range(3)]
        await asyncio.sleep(0.02)
        beside, end = await slowest(number, lambda _: not all(x.done() for x in wide))
        for x in wide:
            assert (await x).json()["events"][0]["accepted"] == 10_000
        assert end > number, "none came in between"
        record_property("slowest_alone_ms", round(alone * 1000))
        record_property("slowest_beside_a_wide_event_ms", round(beside * 1000))
        print(f"the slowest took {alone * 1000:.1f} ms alone, {beside * 1000:.1f} ms beside events for ten thousand, of {end - number}")
        assert beside < alone + 0.5

    run(scenario())


def test_a_reload_takes_new_rules_at_once_and_keeps_the_old_ones_on_an_error(doorstep):
    server = with_routes(doorstep, RULES)
    to_dora = "[[routes]]\nto = \"user:dora\"\nmatch.header.x-tenant = \"acme\"\n"
    refused = reload(server, "[[routes]]\nto = \"user:{/data/x\"\n")
    assert refused.status == 422 and "the placeholder has no" in refused.json()["detail"] and str(server.config_path) in refused.json()["detail"]
    assert post(server, paid(1)).json()["events"][0]["accepted"] == 2
    assert reload(server, to_dora).json() == {"routes": 1, "needs_restart": []}
    assert post(server, paid(2)).json()["events"][0]["accepted"] == 0
    assert post(server, paid(3), {"X-Tenant": "acme"}).json()["events"][0]["accepted"] == 1
    server.options["delivery.window"] = 7
    assert reload(server, to_dora).json() == {"routes": 1, "needs_restart": ["delivery.window"]}
    assert server.request("POST", "/v1/admin/reload", headers={"Authorization": None}).status == 401

    server.routes = RULES
    server.write_config()
    server.process.send_signal(signal.SIGHUP)
    logged(server, "routes=2")
    assert post(server, paid(4)).json()["events"][0]["accepted"] == 2
    server.routes = "[[routes]]\nto = \"everybody\"\n"
    server.write_config()
    server.process.send_signal(signal.SIGHUP)
    logged(server, "reload-refused")
    assert post(server, paid(5)).json()["events"][0]["accepted"] == 2
    assert server.stop() == 0


def test_an_address_of_no_kind_is_refused_at_the_start(tmp_path):
    path = tmp_path / "doorstep.toml"
    path.write_text("[[routes]]\nto = [\"user:a\", \"rolle:admin\"]\n")
    for command in ("check-config", "serve"):
        done = run_doorstep(command, "--config", path)
        assert done.returncode == 78 and f"{path}:2:17: is not an address" in done.stderr and "^~~" in done.stderr, done.stderr


def test_rules_are_tried_and_looked_at_from_the_command_line(tmp_path):
    path, record = tmp_path / "doorstep.toml", tmp_path / "event.json"
    path.write_text(RULES + "[[routes]]\nname = \"late\"\nmatch.type = \"com.shop.news\"\nto = \"user:x\"\n"
                    "[[sources]]\nbrokers = \"localhost:9092\"\ntopics = [\"plain\"]\nformat = \"json\"\n")
    record.write_text(json.dumps(paid(7)))
    done = run_doorstep("routes", "test", "--config", path, "--record", record)
    assert done.returncode == 0, done.stderr
    assert "+ paid (line 2): names 2" in done.stdout and "- wide (line 13): type is \"com.shop.order.paid\", not com.shop.news" in done.stdout
    assert "to user:alice\n" in done.stdout and "user:carol" not in done.stdout and '"title":"Order 7 is paid"' in done.stdout
    record.write_text('{"total": 50}')
    plain = run_doorstep("routes", "test", "--config", path, "--record", record, "--topic", "plain")
    assert plain.returncode == 0 and "no route matches: it is dropped and counted" in plain.stdout
    assert run_doorstep("routes", "test", "--config", path, "--record", record, "--topic", "nobody's").returncode == 78
    lint = run_doorstep("routes", "lint", "--config", path)
    assert lint.returncode == 1 and f"{path}:18: late can never match: wide before it matches all that it would" in lint.stdout
    path.write_text(RULES)
    assert run_doorstep("routes", "lint", "--config", path).stdout == "ok\n"


def test_the_example_can_be_used():
    example = TOP / "conf" / "routes.toml"
    assert run_doorstep("check-config", "--config", example).returncode == 0
    assert run_doorstep("routes", "lint", "--config", example).stdout == "ok\n"
