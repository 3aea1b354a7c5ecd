# SPDX-License-Identifier: Apache-2.0
"""The checker itself: each broken promise must be caught, and a clean run must pass."""
import pytest

from support.oracle import Oracle


def message(number, seq, redelivered=False, source="/s", user="u", identity=None):
    return {"address": f"user:{user}", "seq": seq, "id": identity or f"{source}{user}{number}", "attempt": 1, "redelivered": redelivered,
            "source": source, "data": {"n": number}}


def judged(*messages, accepted=3):
    oracle = Oracle()
    for number in range(accepted):
        oracle.expect("/s", "u", number)
    for x in messages:
        oracle.pushed("u", x)
    return oracle


def test_a_clean_run_with_a_flagged_repeat_passes():
    oracle = judged(message(0, 5), message(1, 7), message(0, 5, redelivered=True), message(2, 9))
    oracle.check()
    assert oracle.flagged == 1 and oracle.missing_count() == 3
    oracle.receipted("u", ["/su0", "/su1", "/su2"])
    assert oracle.missing_count() == 0


def test_a_push_after_the_receipt_is_caught():
    oracle = judged(message(0, 5), accepted=1)
    oracle.receipted("u", ["/su0"])
    oracle.pushed("u", message(0, 5, redelivered=True))
    with pytest.raises(AssertionError, match="RECEIPTED"):
        oracle.check()


@pytest.mark.parametrize("what, messages", [
    ("LOST", [message(0, 5), message(2, 9)]),
    ("DUP-UNFLAGGED", [message(0, 5), message(0, 5), message(1, 6), message(2, 7)]),
    ("DUP-UNFLAGGED", [message(0, 5), message(1, 6), message(2, 7), message(0, 8, identity="another")]),
    ("ORDER", [message(1, 5), message(0, 6), message(2, 7)]),
    ("ORDER", [message(0, 6), message(1, 5), message(2, 7)]),
    ("UNEXPECTED", [message(0, 5), message(0, 6, redelivered=True), message(1, 7), message(2, 8)]),
    ("UNEXPECTED", [message(0, 5), message(1, 6), message(2, 7), message(9, 8)]),
    ("UNEXPECTED", [message(0, 5), message(1, 6), message(2, 7, user="other")]),
])
def test_each_broken_promise_is_caught(what, messages):
    with pytest.raises(AssertionError, match=what):
        judged(*messages).check()
