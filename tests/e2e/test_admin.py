# SPDX-License-Identifier: Apache-2.0
"""The internal port's keys and what an operator does: scopes, rotation, the audit, and who is shown out."""
import hashlib
import json
import signal
import time

from support.client import Tab, in_thread, run
from support.entrance import assert_secret, ending, knock, wait_for
from support.server import API_KEY, make_event, run_doorstep
from support.tokens import SECRET, make_token


def gen_key(*arguments):
    out = run_doorstep("gen-key", *arguments)
    assert out.returncode == 0, out.stderr
    lines = dict(line.split(None, 1) for line in out.stdout.splitlines())
    return lines["key"], lines["line"]


def asked(server, key, method, path, body=None):
    return server.request(method, path, body, {"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents+json"}).status


def test_a_key_does_what_its_scopes_allow_and_is_nowhere_as_such(doorstep, tmp_path):
    keys = {scope: gen_key("--scope", scope, "--name", f"the-{scope}") for scope in ("publish", "read", "admin", "publish+read")}
    for scope, (key, line) in keys.items():
        assert line == f"{scope} sha256:{hashlib.sha256(key.encode()).hexdigest()} the-{scope}"
    file = tmp_path / "keys"
    file.write_text("# who may do what\n" + "\n".join(line for _, line in keys.values()) + "\n")
    server = doorstep({"internal.api_keys_file": str(file)})
    event = json.dumps(make_event("alice", 1))
    table = [("POST", "/v1/events", event, ("publish", "admin", "publish+read")), ("GET", "/v1/actors", None, ("read", "admin", "publish+read")),
             ("GET", "/v1/mailboxes/alice", None, ("read", "admin", "publish+read")), ("GET", "/v1/dead-letters", None, ("read", "admin", "publish+read")),
             ("POST", "/v1/tickets", '{"user":"alice"}', ("publish", "admin", "publish+read")), ("POST", "/v1/admin/reload", None, ("admin",)),
             ("POST", "/v1/dead-letters/purge", '{"all":true}', ("admin",)), ("POST", "/v1/dead-letters/requeue", '{"all":true}', ("admin",)),
             ("POST", "/v1/admin/disconnect", '{"user":"nobody"}', ("admin",))]
    for method, path, body, allowed in table:
        for scope, (key, _) in keys.items():
            status = asked(server, key, method, path, body)
            assert (status < 300) if scope in allowed else (status == 403), (scope, path, status)
        assert asked(server, hashlib.sha256(keys["admin"][0].encode()).hexdigest(), method, path, body) == 401
    log = server.log_path.read_text()
    assert_secret(server, API_KEY, SECRET, *(key for key, _ in keys.values()))
    audit = [line for line in log.splitlines() if " audit " in line]
    actions = [(line.split(" audit ")[1].split()[0], line.split("who=")[1].split()[0]) for line in audit]
    assert sorted(actions) == [(action, "the-admin") for action in ("disconnect", "purge", "reload", "requeue", "ticket")], audit
    assert "event" not in " ".join(audit) and all("remote=127.0.0.1" in line and line[:4].isdigit() for line in audit)


def test_the_audit_is_written_at_every_level_but_off(doorstep):
    server = doorstep({"logging.level": "error"})
    assert server.request("POST", "/v1/admin/disconnect", '{"user":"alice","reason":"a \\"quoted\\" word"}').status == 200
    assert "AUDIT audit disconnect who=#" in server.log_path.read_text()


def test_keys_are_exchanged_by_a_reload_and_a_bad_file_changes_nothing(doorstep, tmp_path):
    (old, old_line), (new, new_line) = gen_key("--scope", "publish", "--name", "a"), gen_key("--scope", "publish", "--name", "b")
    file = tmp_path / "keys"
    file.write_text(old_line + "\n")
    server = doorstep({"internal.api_keys_file": str(file)})

    def status(key):
        return asked(server, key, "POST", "/v1/events", json.dumps(make_event("alice", 1)))

    assert (status(old), status(new)) == (202, 401)
    file.write_text(f"{old_line}\n{new_line}\n")
    assert server.request("POST", "/v1/admin/reload").status == 200
    assert (status(old), status(new)) == (202, 202)
    file.write_text(new_line + "\n")
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: status(old) == 401)
    assert status(new) == 202
    file.write_text("publish sha256:beef c\n")
    reply = server.request("POST", "/v1/admin/reload")
    assert reply.status == 422 and "sha256" in reply.json()["detail"]
    assert status(new) == 202
    assert "audit reload who=SIGHUP" in server.log_path.read_text()


def test_a_reload_is_taken_whole_or_not_at_all(doorstep, tmp_path):
    """Rules that are right beside keys that are not, and the other way round: both stay as they were, by POST and by SIGHUP."""
    (old, old_line), (new, new_line) = gen_key("--scope", "admin", "--name", "old"), gen_key("--scope", "admin", "--name", "new")
    file = tmp_path / "keys"
    to = '[[routes]]\nto = "user:{}"\n'
    server = doorstep({"internal.api_keys_file": str(file)}, start=False)

    def config(keys, routes, deny=()):
        file.write_text(keys + "\n")
        server.routes = routes
        server.options["auth.deny"] = list(deny)
        server.write_config()

    def state(number):
        sent = server.post_events({"specversion": "1.0", "id": str(number), "source": "/e2e", "type": "t"})
        assert sent.status == 202
        went = [user for user in ("ann", "ben") if server.get(f"/v1/mailboxes/{user}").json()["owed"] > seen[user]]
        for user in went:
            seen[user] += 1
        return went, asked(server, new, "GET", "/v1/actors"), run(knock(server, make_token("mallory")))[0]

    config(old_line, to.format("ann"))
    server.start()
    seen = {"ann": 0, "ben": 0}
    before = (["ann"], 401, "connected")
    assert state(1) == before
    for number, (keys, routes, words) in enumerate(((new_line, to.format("{/data/x"), "placeholder"), ("admin sha256:beef new", to.format("ben"), "sha256"),
                                                    (new_line, to.format("ben") + "match.type = 7\n", "match"))):
        config(keys, routes, ["user:mallory"])
        reply = server.request("POST", "/v1/admin/reload")
        assert reply.status == 422 and words in reply.json()["detail"], reply.body
        assert state(10 + number) == before
        count = server.log_path.read_text().count("reload-refused")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: server.log_path.read_text().count("reload-refused") == count + 1)
        assert state(20 + number) == before
    config(f"{old_line}\n{new_line}", to.format("ben"), ["user:mallory"])
    assert server.request("POST", "/v1/admin/reload").status == 200
    assert state(30) == (["ben"], 200, 3503)


def test_a_secret_and_the_deny_list_are_exchanged_by_a_reload(doorstep):
    server = doorstep()
    other = "another-secret-that-has-more-than-32-bytes"

    async def comes_in(secret, user="alice"):
        return (await knock(server, make_token(user, secret, roles=["viewer"])))[0]

    assert run(comes_in(SECRET)) == "connected"
    server.options |= {"auth.hs256_secret": other, "auth.deny": ["user:mallory", "role:nobody"]}
    server.write_config()
    assert server.request("POST", "/v1/admin/reload").json()["needs_restart"] == []
    assert [run(comes_in(SECRET)), run(comes_in(other)), run(comes_in(other, "mallory"))] == [3500, "connected", 3503]
    server.options |= {"auth.deny": ["role:viewer"], "auth.tickets_max": 7}
    server.write_config()
    assert server.request("POST", "/v1/admin/reload").json()["needs_restart"] == ["auth.tickets_max"]
    assert run(comes_in(other)) == 3503
    server.options |= {"auth.keys": ["-----BEGIN PUBLIC KEY-----\nbm90IGEga2V5\n-----END PUBLIC KEY-----\n"], "auth.deny": []}
    server.write_config()
    assert server.request("POST", "/v1/admin/reload").status == 422
    assert run(comes_in(other)) == 3503
    assert_secret(server, SECRET, other)


def disconnect(server, **what):
    reply = server.request("POST", "/v1/admin/disconnect", json.dumps(what))
    return reply.status, reply.json()


def test_sessions_are_ended_by_user_role_group_and_name(doorstep):
    server = doorstep()

    async def scenario():
        tabs = {}
        for user, roles, groups in (("alice", ["admin"], ["blue"]), ("bob", ["viewer", "admin"], []), ("carol", ["viewer"], ["blue"]), ("dave", [], ["red"])):
            tabs[user] = await Tab.open(server, user, token=make_token(user, roles=roles, groups=groups))
        twice = await Tab.open(server, "alice", token=make_token("alice"))
        assert await in_thread(lambda: disconnect(server, role="admin", reason="the role is gone")) == (200, {"disconnected": 2})
        for user in ("alice", "bob"):
            assert await ending(tabs[user]) == (3008, "the role is gone")
        assert await in_thread(lambda: disconnect(server, group="red")) == (200, {"disconnected": 1})
        assert (await ending(tabs["dave"]))[0] == 3008
        assert await in_thread(lambda: disconnect(server, session=tabs["carol"].connected["session"])) == (200, {"disconnected": 1})
        assert (await ending(tabs["carol"]))[0] == 3008
        assert await in_thread(lambda: disconnect(server, user="alice")) == (200, {"disconnected": 1})
        assert (await ending(twice))[0] == 3008
        assert await in_thread(lambda: disconnect(server, user="alice")) == (200, {"disconnected": 0})
        assert (await knock(server, make_token("alice")))[0] == "connected"

    run(scenario())


def test_who_is_denied_stays_out_for_that_long_and_a_refresh_that_takes_a_role_counts(doorstep):
    server = doorstep()

    async def scenario():
        tab = await Tab.open(server, "alice", token=make_token("alice", roles=["admin"]))
        was_admin = await Tab.open(server, "bob", token=make_token("bob", roles=["admin"]))
        await was_admin.send({"id": 5, "refresh": {"token": make_token("bob", roles=["viewer"])}})
        assert (await was_admin.next())["id"] == 5
        began = time.monotonic()
        assert await in_thread(lambda: disconnect(server, role="admin", deny_for="2s", reason="out")) == (200, {"disconnected": 1})
        assert await ending(tab) == (3503, "out")
        assert (await knock(server, make_token("alice", roles=["admin"])))[0] == 3503
        assert (await knock(server, make_token("carol", roles="x, admin")))[0] == 3503
        assert (await knock(server, make_token("alice")))[0] == "connected"
        await was_admin.send({"id": 6, "refresh": {"token": make_token("bob", roles=["admin"])}})
        assert (await was_admin.next())["error"]["code"] == "forbidden"
        await in_thread(time.sleep, max(0, began + 2.2 - time.monotonic()))
        assert (await knock(server, make_token("alice", roles=["admin"])))[0] == "connected"

    run(scenario())
    for what, field in (({}, "user"), ({"user": ""}, "user"), ({"user": "a", "role": "b"}, "role"), ({"user": "a", "deny_for": "soon"}, "deny_for"),
                        ({"session": "a", "deny_for": "1m"}, "deny_for"), ({"user": 7}, "user"), ({"users": "a"}, "users"),
                        ({"user": "a", "reason": "x" * 300}, "reason")):
        status, body = disconnect(server, **what)
        assert (status, body.get("field")) == (400, field), what
    assert server.request("POST", "/v1/admin/disconnect", "x").status == 400


def test_anonymous_users_are_found_by_each_of_their_roles_in_whatever_order_those_are_written(doorstep):
    roles = ["viewer", "guest", "admin", "viewer", "basic"]
    server = doorstep({"auth.anonymous": True, "auth.anonymous_roles": roles})

    async def scenario():
        for role in sorted(set(roles)):
            what, found, tab = await knock(server)
            assert what == "connected" and found["user"].startswith("anonymous-")
            assert await in_thread(lambda name=role: disconnect(server, role=name)) == (200, {"disconnected": 1}), role
            assert (await ending(tab))[0] == 3008

    run(scenario())


def test_a_wrong_key_in_the_configuration_is_found_before_the_start(doorstep, tmp_path):
    server = doorstep(start=False)
    server.options |= {"auth.key_files": [str(tmp_path / "private.pem")]}
    (tmp_path / "private.pem").write_text("-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5\n-----END PRIVATE KEY-----\n")
    server.write_config()
    out = run_doorstep("check-config", "--config", server.config_path)
    assert out.returncode == 78 and "private key" in out.stderr
    assert run_doorstep("serve", "--config", server.config_path).returncode == 78
