# SPDX-License-Identifier: Apache-2.0
"""Tokens at the public door: all kinds of good ones, all kinds of bad ones, their end, and the cookie."""
import json
import time

import pytest

from support.client import Tab, run
from support.entrance import assert_secret, ending, knock
from support.keys import Key, base64url, claims_of, hmac_token, pack
from support.tokens import SECRET, make_token

LONG_SECRET = "a-secret-of-sixty-four-bytes-and-more-since-HS512-wants-that-many"


@pytest.fixture(scope="module")
def keys():
    return [Key("RS256", "r"), Key("ES256", "e"), Key("EdDSA")]


def with_keys(doorstep, keys, tmp_path, **more):
    rsa, p256, ed25519 = keys
    file = tmp_path / "key.pem"
    file.write_text(ed25519.pem())
    return doorstep({"auth.keys": [rsa.pem(), json.dumps({"keys": [p256.jwk()]})], "auth.key_files": [str(file)],
                     "auth.hs256_secret": LONG_SECRET, "auth.leeway": "0s", "logging.level": "debug", **more})


def test_tokens_of_every_algorithm_come_in(doorstep, keys, tmp_path):
    server = with_keys(doorstep, keys, tmp_path)
    tokens = [key.token("alice") for key in keys] + [hmac_token("alice", LONG_SECRET.encode(), x) for x in ("HS256", "HS384", "HS512")]

    async def scenario():
        for token in tokens:
            what, found, _ = await knock(server, token)
            assert what == "connected", (token, what, found)
        for token in tokens[:4]:
            assert (await knock(server, None, headers={"Authorization": f"Bearer {token}"}))[0] == "connected"
            assert (await knock(server, None, subprotocols=("doorstep.v1", f"doorstep.token.{token}")))[0] == "connected"

    run(scenario())
    assert_secret(server, *tokens, LONG_SECRET)


def test_every_bad_token_is_refused_for_good_and_none_is_written_down(doorstep, keys, tmp_path):
    server = with_keys(doorstep, keys, tmp_path, **{"auth.audiences": ["doorstep"], "auth.issuers": ["https://id.example"]})
    rsa, p256, ed25519 = keys
    good = {"aud": ["doorstep"], "iss": "https://id.example"}
    stranger, other_p256 = Key("RS256", "r"), Key("ES256", "e")
    text = pack({"alg": "none", "typ": "JWT"}, claims_of("alice", **good))
    whole = rsa.token("alice", **good)
    head, body, signature = whole.split(".")
    bad = {
        "expired": rsa.token("alice", -1, **good),
        "not yet valid": rsa.token("alice", nbf=int(time.time()) + 60, **good),
        "wrong audience": rsa.token("alice", aud="shop", iss=good["iss"]),
        "no audience": rsa.token("alice", iss=good["iss"]),
        "wrong issuer": rsa.token("alice", aud="doorstep", iss="https://id.example.evil"),
        "wrong key": stranger.token("alice", **good),
        "wrong key, no kid": Key("EdDSA").token("alice", **good),
        "wrong P-256 key": other_p256.token("alice", **good),
        "unknown kid": p256.token("alice", header={"kid": "x"}, **good),
        "none": f"{text}.",
        "none with a signature": f"{text}.{signature}",
        "the public key as a secret": hmac_token("alice", rsa.pem().encode(), header={"kid": "r"}, **good),
        "the public key as a secret, trimmed": hmac_token("alice", rsa.pem().strip().encode(), **good),
        "the public JWK as a secret": hmac_token("alice", p256.jwk()["x"].encode(), header={"kid": "e"}, **good),
        "another algorithm of the key": rsa.token("alice", header={"alg": "ES256"}, **good),
        "an unknown algorithm": rsa.token("alice", header={"alg": "RS512"}, **good),
        "critical parameters": rsa.token("alice", header={"crit": ["exp"]}, **good),
        "wrong typ": rsa.token("alice", header={"typ": "logout+jwt"}, **good),
        "a key of its own": stranger.token("alice", header={"jwk": stranger.jwk(), "kid": "zz"}, **good),
        "claims of another": f"{head}.{base64url(b'{}')}.{signature}",
        "DER where 64 bytes belong": p256.token("alice", **good).rsplit(".", 1)[0] + "." + base64url(b"\x30\x06\x02\x01\x01\x02\x01\x01"),
        "zeros": p256.token("alice", **good).rsplit(".", 1)[0] + "." + base64url(bytes(64)),
        "huge": rsa.token("alice", filling="x" * 9000, **good),
        "cut": whole[:-20], "two parts": f"{head}.{body}", "not base64": "ä.ö.ü", "blank": "   .  . ", "many dots": "." * 500,
        "roles a number": rsa.token("alice", roles=7, **good),
    }

    async def scenario():
        for name, token in bad.items():
            assert (await knock(server, token))[0] == 3500, name
        assert (await knock(server))[0] == 3500
        assert (await knock(server, whole))[0] == "connected"
        tab = await Tab.open(server, "alice", token=whole)
        for name, token in bad.items():
            await tab.send({"id": 5, "refresh": {"token": token}})
            assert (await tab.next())["error"]["code"] == "unauthorized", name

    before = server.metrics()["doorstep_tokens_refused_total"]
    run(scenario())
    assert server.metrics()["doorstep_tokens_refused_total"] - before == 2 * len(bad) + 1
    assert_secret(server, *(token for token in bad.values() if len(token) > 20 and token.strip(".")))


def test_a_session_ends_with_its_token_unless_a_newer_one_comes(doorstep):
    server = doorstep({"auth.leeway": "0s"})

    async def scenario():
        stays = await Tab.open(server, "alice", token=make_token("alice", expires_in=2))
        ends = await Tab.open(server, "alice", token=make_token("alice", expires_in=2))
        await stays.send({"id": 7, "refresh": {"token": make_token("alice", expires_in=600)}})
        assert (await stays.next())["id"] == 7
        await stays.send({"id": 8, "refresh": {"token": make_token("bob")}})
        assert (await stays.next())["error"]["code"] == "forbidden"
        code, _ = await ending(ends)
        assert code == 3003
        await stays.send({"id": 9, "ping": {}})
        assert (await stays.next()) == {"id": 9, "pong": {}}

    run(scenario())


def test_claims_and_leeway_are_what_the_configuration_says(doorstep):
    server = doorstep({"auth.user_claim": "/app/uid", "auth.roles_claim": "/realm_access/roles", "auth.groups_claim": "teams", "auth.leeway": "30s", "auth.algorithms": ["HS256"]}, start=False)
    server.routes = '[[routes]]\nto = ["role:admin", "group:eu"]\n'
    server.start()
    now = int(time.time())
    claims = {"app": {"uid": "alice"}, "realm_access": {"roles": ["admin", "viewer"]}, "teams": "eu, us"}

    async def scenario():
        what, found, _ = await knock(server, make_token("somebody", **claims))
        assert (what, found["user"]) == ("connected", "alice") and set(found["addresses"]) == {"user:alice", "role:admin", "role:viewer", "group:eu", "group:us"}
        for more, code in (({"expires_in": -10}, "connected"), ({"expires_in": -60}, 3500), ({"nbf": now + 10}, "connected"), ({"nbf": now + 60}, 3500), ({"app": {}}, 3500), ({"app": {"uid": 7}}, 3500),
                           ({"realm_access": {"roles": {"admin": True}}}, 3500), ({"teams": ["eu", 7]}, 3500), ({"exp": "soon"}, 3500), ({"exp": 1e300}, 3500), ({"nbf": -1}, 3500),
                           ({"teams": [f"t{n}" for n in range(257)]}, 3500), ({"realm_access": None, "teams": None}, "connected")):
            assert (await knock(server, make_token("somebody", **(claims | more))))[0] == code, more
        assert (await knock(server, make_token("alice")))[0] == 3500, "its user stands elsewhere"
        assert (await knock(server, hmac_token("x", SECRET.encode(), "HS384", **claims)))[0] == 3500, "not among auth.algorithms"

    run(scenario())


def test_a_cookie_counts_with_an_allowed_origin_only(doorstep):
    server = doorstep({"auth.cookie": "session", "http.origins": ["https://app.example"]})
    token = make_token("alice")

    async def with_headers(**headers):
        what, found, _ = await knock(server, None, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return what if what != "connected" else found["user"]

    async def scenario():
        assert await with_headers(Cookie=f"a=b; session={token}; c=d", Origin="https://app.example") == "alice"
        assert await with_headers(Cookie=f"session={token}", Origin="https://evil.example") == 403
        assert await with_headers(Cookie=f"session={token}") == 3500
        assert await with_headers(Cookie=f"xsession={token}; session=x", Origin="https://app.example") == 3500

    run(scenario())
    assert_secret(server, token)


def test_any_origin_may_connect_and_lends_no_cookie(doorstep):
    server = doorstep({"auth.cookie": "session", "http.origins": ["*"]})

    async def scenario():
        headers = {"Origin": "https://evil.example"}
        assert (await knock(server, make_token("alice"), headers=headers))[0] == "connected"
        assert (await knock(server, None, headers=headers | {"Cookie": f"session={make_token('alice')}"}))[0] == 3500

    run(scenario())


def test_anonymous_clients_come_in_only_where_they_are_wanted(doorstep):
    server = doorstep({"auth.anonymous": True})

    async def scenario():
        users = [(await knock(server))[1]["user"] for _ in range(2)]
        assert all(user.startswith("anonymous-") for user in users) and users[0] != users[1]
        assert (await knock(server, "not a token"))[0] == 3500

    run(scenario())


def test_an_ack_for_somebody_else_is_refused_counted_and_changes_nothing(doorstep):
    server = doorstep()
    event = {"specversion": "1.0", "id": "1", "source": "/e2e", "type": "t", "touser": "alice"}
    server.publish(event)

    async def scenario():
        alice = await Tab.open(server, "alice")
        message = await alice.expect("message")
        mallory = await Tab.open(server, "mallory")
        for what in ({"ack": {"up_to": {"user:alice": message["seq"]}}}, {"read": {"up_to": {"user:alice": message["seq"]}}},
                     {"history": {"address": "user:alice"}}):
            await mallory.send({"id": 5} | what)
            assert (await mallory.next())["error"]["code"] == "forbidden", what
        await mallory.send({"id": 6, "ack": {"ids": [message["id"]]}})  # an id of another's mailbox means nothing in one's own
        await mallory.next()
        alice.vanish()
        again = await Tab.open(server, "alice")
        assert again.connected["addresses"]["user:alice"] < message["seq"]
        assert (await again.expect("message"))["id"] == message["id"]

    run(scenario())
    assert server.metrics()["doorstep_commands_forbidden_total"] == 3
    assert SECRET not in server.log_path.read_text()
