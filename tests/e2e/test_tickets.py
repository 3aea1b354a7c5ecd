# SPDX-License-Identifier: Apache-2.0
"""One-time tickets: from a producer's key or a user's token to a URL that is good once."""
import asyncio
import http.client
import json
import time

from support.client import run
from support.entrance import assert_secret, ending, knock
from support.keys import hmac_token
from support.server import API_KEY
from support.tokens import SECRET, make_token


def ticket_for(server, **who):
    return server.request("POST", "/v1/tickets", json.dumps(who))


def own_ticket(server, token, method="POST", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, "/v1/tickets", headers=({"Authorization": f"Bearer {token}"} if token else {}) | headers)
        reply = connection.getresponse()
        return reply.status, reply.read().decode(), dict(reply.headers)
    finally:
        connection.close()


def at(ticket):
    return f"/v1/ws?ticket={ticket}"


def test_a_ticket_is_good_once_and_for_a_moment_and_is_written_nowhere(doorstep):
    server = doorstep({"auth.ticket_ttl": "1s", "logging.level": "debug"})
    reply = ticket_for(server, user="alice", roles=["admin"])
    assert reply.status == 201 and reply.headers["Cache-Control"] == "no-store"
    ticket, late = reply.json()["ticket"], ticket_for(server, user="alice").json()["ticket"]
    assert reply.json()["expires_in_ms"] == 1000

    async def scenario():
        what, found, _ = await knock(server, path=at(ticket))
        assert (what, found["user"]) == ("connected", "alice")
        assert (await knock(server, path=at(ticket)))[0] == 3500
        # A ticket that is none is not made good by a token beside it.
        assert (await knock(server, make_token("alice"), path=at(ticket)))[0] == 3500
        assert (await knock(server, path=at("x" * 43)))[0] == 3500
        assert (await knock(server, path=at("")))[0] == 3500
        time.sleep(1.1)
        assert (await knock(server, path=at(late)))[0] == 3500

    run(scenario())
    metrics = server.metrics()
    assert (metrics["doorstep_tickets_made_total"], metrics["doorstep_tickets_refused_total"]) == (2, 5)
    assert_secret(server, ticket, late, API_KEY)
    assert 'audit ticket who=#' in server.log_path.read_text() and "user:alice" in server.log_path.read_text()


def test_a_ticket_carries_the_topics_its_user_may_subscribe_to(doorstep):
    server = doorstep({"auth.topics_claim": "topics"})
    ticket = ticket_for(server, user="alice", topics=["news.*"]).json()["ticket"]

    async def scenario():
        _, _, tab = await knock(server, path=at(ticket))
        await tab.send({"id": 2, "subscribe": {"address": "topic:other"}})
        assert (await tab.expect("error"))["code"] == "forbidden"
        await tab.send({"id": 3, "subscribe": {"address": "topic:news.eu"}})
        assert list(await tab.expect("joined")) == ["topic:news.eu"]

    run(scenario())


def test_what_is_wrong_with_a_request_for_a_ticket_is_said(doorstep):
    server = doorstep()
    for body, field in (({}, "user"), ({"user": 7}, "user"), ({"user": "a\0b"}, "user"), ({"user": "a", "roles": 7}, "roles"), ({"user": "a", "x": 1}, "x"),
                        ({"user": "a", "expires_at": -1}, "expires_at")):
        reply = ticket_for(server, **body)
        assert (reply.status, reply.json()["field"]) == (400, field), body
    assert server.request("POST", "/v1/tickets", "[").status == 400
    assert server.request("POST", "/v1/tickets", "{}", {"Authorization": None}).status == 401


def test_a_user_takes_its_token_to_the_public_port_for_a_ticket(doorstep):
    server = doorstep({"http.origins": ["https://app.example"], "auth.leeway": "0s"})
    token = make_token("alice", expires_in=2)
    status, body, headers = own_ticket(server, token, Origin="https://app.example")
    assert (status, headers["Access-Control-Allow-Origin"]) == (201, "https://app.example")
    assert "Access-Control-Allow-Origin" not in own_ticket(server, token, Origin="https://evil.example")[2]
    assert own_ticket(server, None, "OPTIONS", Origin="https://app.example")[0] == 204
    assert own_ticket(server, None)[0] == 401
    assert own_ticket(server, hmac_token("alice", b"another secret of thirty-two bytes"))[0] == 401
    assert own_ticket(server, token, "GET")[0] == 405
    ticket = json.loads(body)["ticket"]

    async def scenario():
        what, found, tab = await knock(server, path=at(ticket))
        assert (what, found["user"]) == ("connected", "alice")
        assert (await ending(tab))[0] == 3003  # a ticket lives no longer than the token it came from

    run(scenario())
    assert_secret(server, token, ticket, SECRET)


def test_unused_tickets_are_few_and_one_more_is_refused_until_they_are_over(doorstep):
    server = doorstep({"auth.tickets_max": 18, "auth.ticket_ttl": "500ms"})
    assert [ticket_for(server, user="alice").status for _ in range(17)] == [201] * 16 + [429]
    assert [ticket_for(server, user="bob").status for _ in range(3)] == [201] * 2 + [429]
    time.sleep(0.6)
    assert ticket_for(server, user="alice").status == 201


def test_of_many_that_show_one_ticket_at_once_one_comes_in_and_its_session_ends_when_it_was_said(doorstep):
    server = doorstep({"runtime.lanes": 4, "auth.leeway": "0s"})

    async def scenario():
        for _ in range(5):
            ends = int(time.time()) + 3
            ticket = ticket_for(server, user="alice", expires_at=ends).json()["ticket"]
            came = await asyncio.gather(*(knock(server, path=at(ticket)) for _ in range(16)))
            assert sorted(str(what) for what, _, _ in came) == ["3500"] * 15 + ["connected"]
            [(_, found, tab)] = [x for x in came if x[0] == "connected"]
            assert found["expires_at"] == ends
        assert (await ending(tab))[0] == 3003
        assert time.time() >= ends

    run(scenario())
    assert server.metrics()["doorstep_tickets_refused_total"] == 5 * 15
