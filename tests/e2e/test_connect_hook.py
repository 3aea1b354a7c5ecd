# SPDX-License-Identifier: Apache-2.0
"""The application is asked who may connect: its yes, its no, its silence."""
import asyncio
import json
import time

import pytest

from support.client import Tab, in_thread, open_socket, run
from support.entrance import assert_secret, knock, wait_for
from support.server import make_event
from support.tokens import make_token
from support.web import Web


@pytest.fixture
def app():
    made = Web(lambda body: (200, {"allow": True}))
    yield made
    made.close()


def options(app, **more):
    return {"auth.hook_url": app.url, "auth.hook_authorization": "Bearer a-secret-of-the-hook", "auth.hook_timeout": "500ms"} | more


def test_it_is_told_who_comes_and_its_word_counts(doorstep, app):
    server = doorstep(options(app, **{"auth.hook_headers": ["User-Agent"]}))

    async def scenario():
        assert (await knock(server, make_token("alice", roles=["viewer"], groups="a b"), device="phone", headers={"User-Agent": "e2e"}))[0] == "connected"
        body, headers = app.asked[-1]
        assert body.pop("remote").startswith("127.0.0.1:")
        assert body == {"user": "alice", "roles": ["viewer"], "groups": ["a", "b"], "device": "phone", "origin": "", "headers": {"User-Agent": "e2e"}}
        assert headers["Authorization"] == "Bearer a-secret-of-the-hook"
        app.answer = lambda body: (200, {"allow": False, "reason": "not on Mondays"})
        assert (await knock(server, make_token("alice")))[:2] == (3503, "not on Mondays")
        app.answer = lambda body: (200, {"allow": True, "user": "bob", "roles": ["admin"], "info": {"n": 1}, "expires_at": int(time.time()) + 500})
        what, found, tab = await knock(server, make_token("alice"))
        assert (what, found["user"]) == ("connected", "bob") and found["expires_at"] < time.time() + 600
        asked = len(app.asked)
        assert (await knock(server, make_token("alice", secret="another secret of at least 32 bytes")))[0] == 3500
        assert len(app.asked) == asked, "a bad token is nobody the application has to know of"
        app.answer = lambda body: (200, {"allow": True, "topics": ["news.*"]})
        _, _, reader = await knock(server, make_token("carol"))
        await reader.send({"id": 2, "subscribe": {"address": "topic:news.eu"}})
        assert list(await reader.expect("joined")) == ["topic:news.eu"]
        # What it said of the roles is what the session has.
        reply = await in_thread(server.request, "POST", "/v1/admin/disconnect", '{"role":"admin"}')
        assert reply.json() == {"disconnected": 1}

    run(scenario())
    assert_secret(server, "a-secret-of-the-hook")


def test_what_a_client_says_meanwhile_waits_and_is_heard_in_order(doorstep, app):
    server = doorstep(options(app, **{"ws.connect_timeout": "1s"}))
    app.answer = lambda body: (200, {"allow": True, "info": {"name": "Alice"}})
    app.delay = 0.3

    async def scenario():
        socket = await open_socket(server.port)
        tab = Tab("alice")
        tab.socket = socket
        await tab.send({"id": 1, "connect": {"token": make_token("alice")}}, {"id": 2, "ping": {}}, {"id": 3, "history": {"address": "user:bob"}})
        await tab.send({"id": 4, "ping": {}})
        heard = [await tab.next() for _ in range(4)]
        assert heard.pop(next(n for n, x in enumerate(heard) if "connected" in x))["connected"]["info"] == {"name": "Alice"}
        assert [x["id"] for x in heard if "pong" in x] == [2, 4]
        assert [x["error"]["code"] for x in heard if x["id"] == 3] == ["forbidden"]
        # One refresh at a time: each may cost the application a question.
        await tab.send(*({"id": n, "refresh": {"token": make_token("alice")}} for n in (5, 6)))
        answers = {(x := await tab.next())["id"]: x for _ in range(2)}
        assert answers[6]["error"]["code"] == "queue-full" and "done" in answers[5]
        # Whoever goes before the answer comes leaves nothing behind.
        gone = await open_socket(server.port)
        await gone.send(json.dumps({"id": 1, "connect": {"token": make_token("bob")}}))
        gone.transport.abort()
        app.delay = 0.8
        late = await knock(server, make_token("carol"))
        assert late[0] == 3007  # the hook's time was over before the connect frame's
        await tab.close()

    run(scenario())
    wait_for(lambda: server.metrics()["doorstep_connections"] == 0)


def test_a_session_cookie_of_the_application_is_enough_where_it_vouches_for_it(doorstep, app):
    server = doorstep(options(app, **{"auth.hook_headers": ["Cookie"], "auth.hs256_secret": "", "http.origins": ["https://app.example"]}))
    app.answer = lambda body: (200, {"allow": body["headers"] == {"Cookie": "sid=42"}, "user": "alice"})

    async def scenario():
        what, found, _ = await knock(server, headers={"Cookie": "sid=42", "Origin": "https://app.example"})
        assert (what, found["user"]) == ("connected", "alice")
        assert (await knock(server, headers={"Cookie": "sid=43", "Origin": "https://app.example"}))[0] == 3503
        assert (await knock(server, headers={"Cookie": "sid=42"}))[0] == 3500
        app.answer = lambda body: (200, {"allow": True})  # and leaves no user
        assert (await knock(server, headers={"Cookie": "sid=42", "Origin": "https://app.example"}))[0] == 3007

    run(scenario())


@pytest.mark.parametrize("policy", ["deny", "allow"])
def test_where_it_does_not_answer_the_policy_counts_and_nobody_else_waits(doorstep, app, policy):
    server = doorstep(options(app, **{"auth.hook_on_failure": policy, "runtime.lanes": 1}))
    wanted = 3007 if policy == "deny" else "connected"

    async def scenario():
        tab = await Tab.open(server, "bob")
        app.delay = 3
        began = time.monotonic()
        waits = asyncio.ensure_future(knock(server, make_token("alice")))
        await asyncio.sleep(0.1)
        # There is one lane, and it works while the application thinks.
        await in_thread(server.publish, make_event("bob", 1))
        await tab.expect("message")
        assert time.monotonic() - began < 0.45 and not waits.done()
        assert (await waits)[0] == wanted
        app.delay = 0
        for answer in ((500, {"allow": True}), (200, "yes"), (200, {"allow": "true"}), (200, {}), (200, {"allow": True, "roles": 7}), (302, ""),
                       (200, {"allow": True, "filling": "x" * 100_000}), (200, {"allow": True, "user": "a\0b"})):
            app.answer = lambda body, what=answer: what
            assert (await knock(server, make_token("alice")))[0] == wanted, answer
        app.close()
        assert (await knock(server, make_token("alice")))[0] == wanted

    run(scenario())
    assert server.metrics()["doorstep_connect_hook_failures_total"] == 10


def test_an_answer_is_remembered_for_its_time_and_for_the_same_question_only(doorstep, app):
    server = doorstep(options(app, **{"auth.hook_cache_ttl": "1s"}))

    async def scenario():
        token = make_token("alice")
        for _ in range(3):
            assert (await knock(server, token))[0] == "connected"
        assert len(app.asked) == 1
        assert (await knock(server, token, device="phone"))[0] == "connected"
        assert (await knock(server, make_token("alice", roles=["x"])))[0] == "connected"
        assert len(app.asked) == 3
        await asyncio.sleep(1.1)
        app.answer = lambda body: (200, {"allow": False})
        assert (await knock(server, token))[0] == 3503
        assert (await knock(server, token))[0] == 3503
        assert len(app.asked) == 4

    run(scenario())


def test_more_than_may_wait_are_judged_without_it(doorstep, app):
    server = doorstep(options(app, **{"auth.hook_queue_max": 2, "auth.hook_timeout": "2s"}))
    app.delay = 0.7

    async def scenario():
        came = await asyncio.gather(*(knock(server, make_token(f"user-{n}")) for n in range(120)))
        kinds = [what for what, _, _ in came]
        assert set(kinds) == {"connected", 3007}

    run(scenario())


def test_a_stop_does_not_wait_for_an_answer(doorstep, app):
    server = doorstep(options(app, **{"auth.hook_timeout": "30s"}))
    app.delay = 8

    async def scenario():
        waits = asyncio.ensure_future(knock(server, make_token("alice")))
        await asyncio.sleep(0.3)
        began = time.monotonic()
        assert await in_thread(server.stop) == 0
        assert time.monotonic() - began < 5
        await waits

    run(scenario())
