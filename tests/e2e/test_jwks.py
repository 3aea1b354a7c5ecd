# SPDX-License-Identifier: Apache-2.0
"""Keys from a URL that is down, slow, lies, and changes its keys."""
import time

import pytest

from support.client import Tab, in_thread, run
from support.entrance import knock, wait_for
from support.keys import Key, base64url, hmac_token
from support.ports import free_port
from support.tokens import make_token
from support.web import Web


def options(url, **more):
    return {"auth.hs256_secret": "", "auth.jwks_url": url, "auth.jwks_refresh_min": "100ms", "auth.jwks_timeout": "500ms"} | more


@pytest.fixture
def web():
    made = Web()
    yield made
    made.close()


def publishes(web, *keys):
    web.answer = lambda body: (200, {"keys": [key if isinstance(key, dict) else key.jwk() for key in keys]})


def test_keys_are_fetched_and_a_new_one_is_fetched_when_a_token_names_it(doorstep, web):
    first, second, never = Key("RS256", "1"), Key("ES256", "2"), Key("RS256", "3")
    publishes(web, first)
    server = doorstep(options(web.url, **{"auth.jwks_refresh": "1h"}))

    async def scenario():
        assert (await knock(server, first.token("alice")))[0] == "connected"
        publishes(web, second)
        await in_thread(time.sleep, 0.2)
        # Its key is not known yet: the client waits while it is fetched, and comes in.
        assert (await knock(server, second.token("alice")))[0] == "connected"
        assert (await knock(server, None, headers={"Authorization": f"Bearer {second.token('alice')}"}))[0] == "connected"
        # What is published no more is believed no more.
        await in_thread(time.sleep, 0.2)
        assert (await knock(server, first.token("alice")))[0] == 3500
        asked = len(web.asked)
        for _ in range(30):
            assert (await knock(server, never.token("alice")))[0] == 3500
        assert len(web.asked) - asked <= 30 * 0.3  # thirty knocks take a moment, and each fetch waits for jwks_refresh_min

    run(scenario())


def test_unknown_keys_are_asked_for_no_more_often_than_allowed(doorstep, web):
    known, never = Key("EdDSA", "1"), Key("EdDSA", "2")
    publishes(web, known)
    server = doorstep(options(web.url, **{"auth.jwks_refresh_min": "1h"}))

    async def scenario():
        assert (await knock(server, known.token("alice")))[0] == "connected"
        for _ in range(20):
            assert (await knock(server, never.token("alice")))[0] == 3500

    run(scenario())
    assert len(web.asked) == 1


def test_a_client_is_asked_to_come_again_until_the_keys_can_be_had(doorstep):
    port = free_port()
    key = Key("RS256", "1")
    server = doorstep(options(f"http://127.0.0.1:{port}/keys"))

    async def refused():
        assert (await knock(server, key.token("alice")))[0] == 3007

    async def comes_in():
        return (await knock(server, key.token("alice")))[0] == "connected"

    run(refused())
    web = Web(port=port)
    try:
        publishes(web, key)
        wait_for(lambda: run(comes_in()))
    finally:
        web.close()
    # Away again: what was fetched stays good, what was not cannot be judged.
    run(in_thread(time.sleep, 0.3))
    assert run(comes_in())

    async def stranger():
        assert (await knock(server, Key("RS256", "2").token("alice")))[0] == 3007

    run(stranger())


def test_lies_change_nothing(doorstep, web):
    key, stranger, small = Key("RS256", "1"), Key("RS256", "x"), Key("RS256", "1")
    publishes(web, key)
    server = doorstep(options(web.url, **{"auth.jwks_refresh": "100ms"}))
    secret = b"a secret that everybody can fetch is none at all"
    lies = [
        (200, "<html>Sign in</html>"), (200, b"\xff\xfe\x00"), (200, {"keys": []}), (200, {"keys": {"1": stranger.jwk()}}), (200, [stranger.jwk()]),
        (500, {"keys": [stranger.jwk()]}), (302, ""), (200, {"keys": [stranger.jwk(n="AQAB")]}), (200, {"keys": [stranger.jwk(use="enc")]}),
        (200, {"keys": [stranger.jwk(alg="none")]}), (200, {"keys": [stranger.jwk(alg="HS256")]}), (200, {"keys": [stranger.jwk(d="AQAB")]}),
        (200, {"keys": [{"kty": "oct", "kid": "x", "k": base64url(secret)}]}), (200, {"keys": [stranger.jwk(e="AQ")]}), (200, {"keys": [None, 7, "x"]}),
        (200, {"keys": [stranger.jwk()], "filling": "x" * 300_000}), (200, "[" * 100_000),
        (200, {"keys": [{"kty": "EC", "crv": "P-256", "kid": "x", "x": base64url(bytes(32)), "y": base64url(b"\1" * 32)}]}),
    ]

    async def scenario():
        tab = await Tab.open(server, "alice", token=key.token("alice"))
        for lie in lies:
            web.answer = lambda body, what=lie: what
            before = len(web.asked)
            await in_thread(wait_for, lambda count=before: len(web.asked) > count + 1)
            assert (await knock(server, key.token("alice")))[0] == "connected", lie
            assert (await knock(server, stranger.token("alice")))[0] in (3500, 3007), lie
            assert (await knock(server, hmac_token("alice", secret, header={"kid": "x"})))[0] == 3500, lie
            assert (await knock(server, small.token("alice")))[0] == 3500, lie
        await tab.send({"id": 5, "ping": {}})
        assert (await tab.next())["id"] == 5

    run(scenario(), timeout=120)
    assert server.metrics()["doorstep_jwks_failures_total"] >= len(lies)
    assert server.log_path.read_text().count("outage began part=jwks") == 1  # a change of state, not each failure
    assert server.ready_status() == 200 and server.metrics()['doorstep_outage{part="jwks"}'] == 1
    publishes(web, key)
    wait_for(lambda: server.metrics()['doorstep_outage{part="jwks"}'] == 0)


def test_a_slow_server_holds_up_nobody_but_those_whose_key_it_has(doorstep, web):
    key = Key("EdDSA", "1")
    publishes(web, key)
    web.delay = 5
    server = doorstep(options(web.url) | {"auth.hs256_secret": "an-end-to-end-secret-of-more-than-32-bytes"})

    async def scenario():
        began = time.monotonic()
        assert (await knock(server, key.token("alice")))[0] == 3007
        assert time.monotonic() - began < 2
        began = time.monotonic()
        assert (await knock(server, make_token("alice")))[0] == "connected"
        assert time.monotonic() - began < 1

    run(scenario())
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 3, "a fetch that hangs must not hold up the stop"


def test_keys_under_each_others_names_let_nobody_in_and_the_right_ones_do_again(doorstep, web):
    one, two, elliptic = Key("RS256", "1"), Key("RS256", "2"), Key("ES256", "3")
    publishes(web, one, two)
    server = doorstep(options(web.url, **{"auth.jwks_refresh": "100ms"}))

    async def come_in():
        return [(await knock(server, key.token("alice")))[0] for key in (one, two)]

    def seen_by_the_server():
        before = len(web.asked)
        wait_for(lambda: len(web.asked) > before + 1)

    assert run(come_in()) == ["connected", "connected"]
    publishes(web, two.jwk(kid="1"), one.jwk(kid="2"))
    seen_by_the_server()
    assert run(come_in()) == [3500, 3500]
    # Of one name twice, each is tried; a key of another kind under the name is no key for this algorithm.
    publishes(web, two.jwk(kid="1"), one, elliptic.jwk(kid="1"))
    seen_by_the_server()
    assert run(come_in()) == ["connected", 3500]
    publishes(web, elliptic.jwk(kid="1"), elliptic.jwk(kid="2"))
    seen_by_the_server()
    assert run(come_in()) == [3500, 3500]
    # A key that says that it is for another algorithm is for that one only.
    publishes(web, one.jwk(alg="RS512"), two)
    seen_by_the_server()
    assert run(come_in()) == [3500, "connected"]
    publishes(web, one, two)
    seen_by_the_server()
    assert run(come_in()) == ["connected", "connected"]


def test_an_answer_that_is_cut_off_or_drips_changes_nothing_and_its_content_type_does_not_count(doorstep, web):
    key, next_one = Key("EdDSA", "1"), Key("EdDSA", "2")
    publishes(web, key)
    web.content_type = "text/html"
    server = doorstep(options(web.url))

    async def comes_in(who):
        return (await knock(server, who.token("alice")))[0]

    async def comes_in_at_once(who):
        began = time.monotonic()
        return await comes_in(who) == "connected" and time.monotonic() - began < 0.4  # of the 0.5 s that a fetch may take

    assert run(comes_in(key)) == "connected"
    publishes(web, next_one)
    for name, value in (("cut", 20), ("pace", 0.05)):
        setattr(web, name, value)
        wait_for(lambda: run(comes_in(next_one)) == 3007)
        assert run(comes_in_at_once(key)), name
        setattr(web, name, 0)
    time.sleep(0.2)
    wait_for(lambda: run(comes_in(next_one)) == "connected")
