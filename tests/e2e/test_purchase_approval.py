# SPDX-License-Identifier: Apache-2.0
"""docs/guide/purchase-approval.md, carried out: one publish an event, central rules, and each sees exactly what they say."""
import asyncio
import json
import re

from support.client import Tab, in_thread, run
from support.server import TOP, run_doorstep
from support.tokens import make_token

GUIDE = TOP / "docs" / "guide" / "purchase-approval.md"
PRICE = "4711.95"


def rules():
    """The rules as the guide prints them."""
    return re.search(r"```toml\n(.*?)```", GUIDE.read_text(), re.S).group(1)


def purchase(kind, number):
    return {"specversion": "1.0", "id": f"{kind}-{number}", "source": "/purchasing", "type": f"purchase.{kind}", "subject": f"po-{number}",
            "data": {"id": f"po-{number}", "buyer": "bella", "item": "a lathe", "price": float(PRICE)}}


class Wire(Tab):
    """A tab that keeps every byte it was sent."""

    @classmethod
    async def open(cls, server, user, roles=(), **connect):
        tab = await super().open(server, user, token=make_token(user, roles=list(roles)), **connect)
        return tab

    async def next(self, timeout=10):
        self.frames = getattr(self, "frames", [])
        while not self.waiting:
            frame = await asyncio.wait_for(self.socket.recv(), timeout)
            self.frames.append(frame)
            for line in frame.split("\n"):
                x = json.loads(line)
                if x:
                    self.waiting.append(x)
                else:
                    await self.socket.send("{}")
        return self.waiting.pop(0)


def test_each_sees_what_the_rules_say_and_the_price_never_leaves_for_a_viewer(doorstep, tmp_path):
    server = doorstep(start=False)
    server.routes = rules()
    server.start()
    requested, approved = purchase("requested", 1), purchase("approved", 1)

    async def scenario():
        buyer = await Wire.open(server, "bella")
        away = await Wire.open(server, "adam", roles=["admin"])
        away.vanish()
        admins = [await Wire.open(server, name, roles=["admin"]) for name in ("ada", "alan")]
        viewers = [await Wire.open(server, f"viewer{i}", roles=["viewer"]) for i in range(20)]
        stranger = await Wire.open(server, "eve")

        appended = server.metrics()["doorstep_messages_appended_total"]
        assert server.publish(requested)[0]["accepted"] == 2
        assert server.publish(approved)[0]["accepted"] == 3
        assert server.metrics()["doorstep_messages_appended_total"] == appended + 5

        mine = await buyer.messages(2)
        assert [(m["address"], m["type"]) for m in mine] == [("user:bella", "purchase.requested"), ("user:bella", "purchase.approved")]
        for admin in admins:
            got = await admin.messages(2)
            assert [m["address"] for m in got] == ["role:admin"] * 2
            assert all(m["data"]["price"] == float(PRICE) for m in got)
            await admin.ack(*got)
        for viewer in viewers:
            m = await viewer.expect("message")
            assert (m["address"], m["type"], m["data"]) == ("role:viewer", "purchase.approved", {"id": "po-1", "item": "a lathe"})
            await viewer.ack(m)
            await viewer.nothing("message", 0.02)
            wire = "".join(viewer.frames)
            assert "po-1" in wire and PRICE not in wire and "price" not in wire
        await stranger.nothing("message", 0.2)
        await buyer.ack(*mine)

        # The admin who was away gets them later, also over a kill, and acks.
        await in_thread(server.kill)
        await in_thread(server.start)
        back = await Wire.open(server, "adam", roles=["admin"])
        got = await back.messages(2)
        assert [m["type"] for m in got] == ["purchase.requested", "purchase.approved"] and got[0]["data"]["price"] == float(PRICE)
        await back.ack(*got)

        # The same records again are no new messages.
        assert [x["accepted"] for x in server.publish(requested, approved)] == [0, 0]
        for tab in [back, *[await Wire.open(server, "bella"), await Wire.open(server, "ada", roles=["admin"]), await Wire.open(server, "viewer3", roles=["viewer"])]]:
            await tab.nothing("message", 0.15)

    run(scenario())

    record = tmp_path / "approved.json"
    record.write_text(json.dumps(approved))
    done = run_doorstep("routes", "test", "--config", server.config_path, "--record", record)
    assert done.returncode == 0, done.stderr
    assert all(f"to {who}\n" in done.stdout for who in ("user:bella", "role:admin", "role:viewer")), done.stdout
    viewers_part = done.stdout.split("to role:viewer\n")[1].split("\n  to ")[0]
    assert PRICE not in viewers_part.split("to ")[0], done.stdout
