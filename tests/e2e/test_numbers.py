# SPDX-License-Identifier: Apache-2.0
"""What operators see: metrics of routes by name, and a dashboard whose panels do not lie on each other."""
import json

from support.server import TOP

RULES = """
[[routes]]
name = "paid"
match.type = "paid"
to = ["users:{/data/to}", "role:admin"]
[[routes]]
match.type = "other"
to = "user:ops"
"""


def event(number, kind, **data):
    return {"specversion": "1.0", "id": str(number), "source": "/e2e", "type": kind, "data": data}


def of_routes(server):
    return {name: value for name, value in server.metrics().items() if name.startswith("doorstep_route_")}


def use(server, rules):
    server.routes = rules
    server.write_config()
    assert server.request("POST", "/v1/admin/reload").status == 200


def test_each_rule_says_how_much_it_matched_and_addressed_and_goes_with_its_rule(doorstep):
    server = doorstep(start=False)
    server.routes = RULES
    server.start()

    def numbers(name, matches, messages):
        return {f'doorstep_route_matches_total{{route="{name}"}}': matches, f'doorstep_route_messages_total{{route="{name}"}}': messages}

    assert of_routes(server) == numbers("paid", 0, 0) | numbers("route 2", 0, 0)
    server.publish(event(1, "paid", to=["a", "b", "c", "a"]), event(2, "paid", to=[]), event(3, "nothing"))
    assert of_routes(server) == numbers("paid", 2, 5) | numbers("route 2", 0, 0)
    assert server.metrics()["doorstep_events_unmatched_total"] == 1
    use(server, "[routing]\nmatch = \"all\"\n" + RULES.replace("[[routes]]\nmatch", "[[routes]]\nname = \"second\"\nmatch") + RULES.replace('"paid"\nmatch', '"again"\nmatch'))
    server.publish(event(4, "paid", to=["a"]))
    # Whom a rule before has named is its own.
    assert of_routes(server) == numbers("paid", 3, 7) | numbers("second", 0, 0) | numbers("again", 1, 0) | numbers("route 4", 0, 0)
    use(server, "[[routes]]\nname = \"quo\\\"te\\\\d\"\nto = \"user:x\"\n")
    server.publish(event(5, "any"))
    assert of_routes(server) == numbers('quo\\"te\\\\d', 1, 1)
    use(server, "")
    assert of_routes(server) == {}


def test_panels_of_the_dashboard_have_a_place_and_a_number_of_their_own():
    places, ids = set(), set()
    for panel in json.loads((TOP / "conf" / "dashboard.json").read_text())["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & places and panel["id"] not in ids and place["x"] + place["w"] <= 24, panel["title"]
        places |= cells
        ids.add(panel["id"])
