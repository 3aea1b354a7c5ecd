# SPDX-License-Identifier: Apache-2.0
"""The checker is tested itself: each broken promise in a file written by hand, and the clean ones that only look like it."""
import pytest

from oracle import checker

SENT = ["A 1 p0-7-0 p0-7-1 p0-7-2", "Y 1", "A 2 p0-8-0"]
CONNECTED = "C 7.0 100 0"


def pushed(number, seq, flag=0, attempt=1, at=200, client="7.0", user=7, identity=None, event=None, address=None):
    event = event or f"p0-{user}-{number}"
    return f"R {client} {at} {seq} {flag} {attempt} {identity or f'm{number}'} {event} {address or f'user:u{user}'}"


def acked(*numbers, client="7.0", at=300):
    return f"K {client} {at} " + " ".join(f"m{n}" for n in numbers)


def receipt(floor, *numbers, client="7.0", at=400):
    return f"P {client} {at} {floor} " + " ".join(f"m{n}" for n in numbers)


CLEAN = [CONNECTED, pushed(0, 5), pushed(1, 6), pushed(2, 9), acked(0, 1, 2), receipt(9)]


def judged(lines, sent=None, by_device=False, channels=False):
    judge = checker.Checker(by_device, channels)
    judge.read_producers(SENT if sent is None else sent)
    judge.read_clients(lines)
    judge.finish()
    return judge


def test_a_clean_run_has_all_columns_and_no_fault():
    judge = judged(CLEAN)
    assert judge.ok(), judge.faults
    assert judge.summary() == ("attempted 4 accepted 3 delivered 3 acked 3 LOST 0 dup-flagged 0 DUP-UNFLAGGED 0 ORDER-VIOLATIONS 0 UNEXPECTED 0")


@pytest.mark.parametrize("what, lines", [
    ("an ack without a receipt before the kill, repeated after it",
     [CONNECTED, pushed(0, 5), acked(0), "C 7.0 500 0", pushed(0, 5, flag=1, at=600), pushed(1, 6), pushed(2, 9), acked(0, 1, 2), receipt(5, 0), receipt(9)]),
    ("a client that went away with a message in hand, and got it again",
     [CONNECTED, pushed(0, 5), "C 7.0 500 4", pushed(0, 5, flag=1), pushed(1, 6), pushed(2, 9), acked(0, 1, 2), receipt(9)]),
    ("a retry after a nack", [*CLEAN[:3], pushed(0, 5, flag=1, attempt=2), pushed(2, 9), acked(0, 1, 2), receipt(9)]),
    ("a hole below, acked by id later", [*CLEAN[:4], acked(2), receipt(4, 2), acked(0, 1), receipt(9)]),
    ("one round for two devices that are both there",
     [CONNECTED, "C 7.1 150 0", pushed(0, 5), pushed(0, 5, client="7.1"), pushed(1, 6), pushed(2, 9), acked(0, 1, 2), acked(0, client="7.1"), receipt(9),
      receipt(9, client="7.1")]),
    ("a repeat that was on its way to the other device when the receipt came",
     [CONNECTED, "C 7.1 150 0", pushed(0, 5), acked(0), receipt(5), pushed(0, 5, client="7.1"), pushed(1, 6), pushed(2, 9), acked(1, 2), receipt(9)]),
    ("a floor that both devices know at different times", [*CLEAN, "C 7.1 350 4"]),
    ("another device's ack that a kill took back: what it had comes to this one late",
     [CONNECTED, pushed(0, 5), acked(0), "C 7.1 250 5", pushed(1, 6, client="7.1"), "C 7.1 500 4", pushed(0, 5, flag=1, client="7.1"),
      pushed(1, 6, flag=1, client="7.1"), pushed(2, 9, client="7.1"), acked(0, 1, 2, client="7.1"), receipt(9, client="7.1"), "C 7.0 700 9", receipt(9)]),
    ("delivered though no producer was told", [*CLEAN, "C 8.0 100 0", pushed(0, 3, client="8.0", user=8), acked(0, client="8.0"), receipt(3, client="8.0")]),
])
def test_a_run_that_only_looks_wrong_passes(what, lines):
    judge = judged(lines)
    assert judge.ok(), (what, judge.faults)


@pytest.mark.parametrize("column, what, lines", [
    ("LOST", "never delivered", [CONNECTED, pushed(0, 5), pushed(2, 9), acked(0, 2), receipt(9)]),
    ("LOST", "never came again to a client that went away", [*CLEAN[:4], acked(1, 2), receipt(4, 1, 2)]),
    ("DUP-UNFLAGGED", "again on the same connection", [*CLEAN[:2], pushed(0, 5), *CLEAN[2:]]),
    ("DUP-UNFLAGGED", "again after a reconnect", [*CLEAN[:2], "C 7.0 500 0", pushed(0, 5), *CLEAN[2:]]),
    ("DUP-UNFLAGGED", "to a device that came later", [*CLEAN[:4], "C 7.1 250 0", pushed(1, 6, client="7.1", at=260), acked(0, 1, 2), receipt(9)]),
    ("DUP-UNFLAGGED", "in a second round", [CONNECTED, pushed(0, 5, attempt=2), *CLEAN[2:]]),
    ("DUP-UNFLAGGED", "under another seq and id", [*CLEAN[:4], pushed(0, 11, identity="other"), *CLEAN[4:]]),
    ("ORDER-VIOLATIONS", "seqs", [CONNECTED, pushed(0, 6), pushed(1, 5), pushed(2, 9), acked(0, 1, 2), receipt(9)]),
    ("ORDER-VIOLATIONS", "the producer's numbers", [CONNECTED, pushed(1, 5), pushed(0, 6), pushed(2, 9), acked(0, 1, 2), receipt(9)]),
    ("ORDER-VIOLATIONS", "flagged ones too", [CONNECTED, pushed(1, 6), pushed(0, 5, flag=1), pushed(2, 9), acked(0, 1, 2), receipt(9)]),
    ("UNEXPECTED", "nobody sent it", [*CLEAN[:4], pushed(9, 10), acked(0, 1, 2, 9), receipt(10)]),
    ("UNEXPECTED", "another user's", [*CLEAN, pushed(0, 3, user=8)]),
    ("UNEXPECTED", "another user's address", [*CLEAN, pushed(0, 5, flag=1).replace("user:u7", "user:u8")]),
    ("UNEXPECTED", "after the receipt, flagged, on the same connection", [*CLEAN, pushed(0, 5, flag=1)]),
    ("UNEXPECTED", "after the receipt, flagged, after a kill", [*CLEAN, "C 7.0 500 9", pushed(0, 5, flag=1, at=600)]),
    ("UNEXPECTED", "after the receipt, to a device that came later", [*CLEAN, "C 7.1 500 9", pushed(0, 5, flag=1, at=600, client="7.1")]),
    ("UNEXPECTED", "a floor that went down", [*CLEAN, "C 7.0 500 8"]),
    ("UNEXPECTED", "a floor over what nobody acked", [*CLEAN[:4], acked(2), receipt(9), acked(0, 1), receipt(9)]),
    ("UNEXPECTED", "a receipt for what nobody acked", [*CLEAN[:4], receipt(4, 1), acked(0, 1, 2), receipt(9)]),
    ("UNEXPECTED", "an ack that never got a receipt", CLEAN[:-1]),
    ("UNEXPECTED", "an answer that is an error", [*CLEAN, 'E 7.0 500 {"error":{"code":"malformed"}}']),
])
def test_each_broken_promise_is_caught_in_its_column_and_no_other(column, what, lines):
    judge = judged(lines)
    assert {name for name, count in judge.counts.items() if count} == {column}, (what, judge.faults)
    assert judge.faults


BOTH = [CONNECTED, "C 7.1 150 0", pushed(0, 5), pushed(0, 5, client="7.1", at=260), pushed(1, 6), pushed(2, 9), acked(0, 1, 2), receipt(9),
        pushed(1, 6, client="7.1", at=500), pushed(2, 9, client="7.1", at=501), acked(0, 1, 2, client="7.1", at=510), receipt(9, client="7.1", at=520)]


def test_where_devices_have_cursors_each_is_owed_all_of_it_unflagged_whatever_another_had():
    judge = judged(BOTH, by_device=True)
    assert judge.ok(), judge.faults
    assert judge.acked_count == 6


@pytest.mark.parametrize("column, what, lines", [
    ("LOST", "one device never had it", [x for x in BOTH if x != pushed(2, 9, client="7.1", at=501)][:-2] + [acked(0, 1, client="7.1"), receipt(6, client="7.1")]),
    ("LOST", "there is no device", CLEAN[:0]),
    ("DUP-UNFLAGGED", "again to the same device", [*BOTH[:9], pushed(1, 6, client="7.1", at=505), *BOTH[9:]]),
    ("DUP-UNFLAGGED", "as another message than to the other device", [*BOTH[:8], pushed(1, 7, client="7.1", at=500, identity="other"), *BOTH[8:]]),
    ("ORDER-VIOLATIONS", "late to one device", [*BOTH[:8], BOTH[9], BOTH[8], *BOTH[10:]]),
    ("UNEXPECTED", "an ack of the other device taken for its own", [*BOTH[:8], receipt(9, client="7.1"), *BOTH[8:]]),
])
def test_where_devices_have_cursors_a_promise_broken_to_one_of_them_is_caught(column, what, lines):
    judge = judged(lines, by_device=True)
    assert {name for name, count in judge.counts.items() if count} == {column}, (what, judge.faults)


TO_MANY = ["A 1 p0-all-0 p0-role-0 p0-7-0 p0-all-1", "Y 1"]


def to_all(number, seq, client, **more):
    return pushed(number, seq, client=client, identity=f"a{number}", event=f"p0-all-{number}", address="all", **more)


def to_role(client, address="role:oracle"):
    return pushed(0, 50, client=client, identity="r0", event="p0-role-0", address=address)


def both_ack(*floors):
    """Of the channels; with the mailbox of the first."""
    return ["K 7.0 300 a0 a1 m0", "K 8.0 300 a0 a1 r0", f"P 7.0 400 5 all={floors[0]}", f"P 8.0 400 0 all={floors[1]} role:oracle=50"]


GREETED = ["C 7.0 100 0 all=3", "C 8.0 100 0 role:oracle=2 all=3"]
CHANNELS = [*GREETED, to_all(0, 5, "7.0"), to_all(0, 5, "8.0"), to_role("8.0"), pushed(0, 5), to_all(1, 6, "7.0"), to_all(1, 6, "8.0"), *both_ack(6, 6)]


@pytest.mark.parametrize("what, lines", [
    ("each reader has it once, and a seq of another address says nothing", CHANNELS),
    ("what one acked and the other did not comes to that one again, flagged",
     [*CHANNELS[:8], "C 8.0 500 0 role:oracle=2 all=3", *[to_all(n, 5 + n, "8.0", flag=1, at=600) for n in (0, 1)], *CHANNELS[8:]]),
    ("who was greeted above it is not owed it", [*CHANNELS, "C 9.0 450 0 all=6"]),
])
def test_a_run_with_channels_that_keeps_its_promises_passes(what, lines):
    judge = judged(lines, TO_MANY, channels=True)
    assert judge.ok(), (what, judge.faults)


@pytest.mark.parametrize("column, what, lines", [
    ("LOST", "one reader never had it", [x for x in CHANNELS if x != to_all(1, 6, "7.0")][:-4] + ["K 7.0 300 a0 m0", "P 7.0 400 5 all=5", *both_ack(6, 6)[1::2]]),
    ("LOST", "no reader ever had it", [*CHANNELS[:4], *CHANNELS[5:9], "K 8.0 300 a0 a1", CHANNELS[10], "P 8.0 400 0 all=6"]),
    ("LOST", "it was in the hand of one reader when the connection ended", [*CHANNELS[:8], "K 7.0 300 a0 m0", CHANNELS[9], "P 7.0 400 5 all=5", CHANNELS[11]]),
    ("LOST", "one who was greeted below it", [*CHANNELS, "C 9.0 450 0 all=5"]),
    ("DUP-UNFLAGGED", "again to one reader", [*CHANNELS[:8], to_all(1, 6, "8.0"), *CHANNELS[8:]]),
    ("DUP-UNFLAGGED", "another seq at another reader", [x for x in CHANNELS if x != to_all(1, 6, "7.0")][:-4] +
     [to_all(1, 9, "7.0"), to_all(1, 6, "7.0"), *both_ack(6, 6)]),
    ("ORDER-VIOLATIONS", "late to one reader", [*GREETED, to_all(1, 6, "7.0"), to_all(0, 5, "7.0"), *CHANNELS[3:6], CHANNELS[7], *CHANNELS[8:]]),
    ("UNEXPECTED", "to one who has not the role", [*CHANNELS, to_role("7.0")]),
    ("UNEXPECTED", "by another address", [*CHANNELS, to_role("8.0", "all")]),
    ("UNEXPECTED", "greeted without a channel", [*CHANNELS, "C 8.0 500 0 all=6"]),
    ("UNEXPECTED", "greeted with a role it has not", [*CHANNELS, "C 7.0 500 5 role:oracle=50 all=6"]),
    ("UNEXPECTED", "a floor of a channel that went down", [*CHANNELS, "C 7.0 500 5 all=5"]),
    ("UNEXPECTED", "a floor over what this reader did not ack", [*CHANNELS[:8], "P 7.0 250 0 all=6", *CHANNELS[8:]]),
    ("UNEXPECTED", "an ack of a channel that never got a receipt", [*CHANNELS[:-2], "P 7.0 400 5 all=5", CHANNELS[-1]]),
    ("UNEXPECTED", "after the receipt", [*CHANNELS, "C 8.0 500 0 role:oracle=50 all=6", to_all(1, 6, "8.0", flag=1, at=600)]),
])
def test_a_promise_broken_to_one_reader_of_a_channel_is_caught(column, what, lines):
    judge = judged(lines, TO_MANY, channels=True)
    assert {name for name, count in judge.counts.items() if count} == {column}, (what, judge.faults)


def test_a_flagged_repeat_is_counted_and_a_flag_on_a_first_sight_is_not():
    judge = judged([CONNECTED, pushed(0, 5), "C 7.0 250 0", pushed(0, 5, flag=1), pushed(1, 6, flag=1), pushed(2, 9), acked(0, 1, 2), receipt(9)])
    assert judge.ok() and judge.flagged == 1


def test_accepted_is_what_a_producer_was_told_and_no_more():
    judge = judged([], ["A 1 p0-7-0", "Y 1", "A 2 p0-7-1"])
    assert judge.counts["LOST"] == 1 and "p0-7-0" in judge.faults[0]


def test_the_program_reads_a_folder_and_says_it_with_its_exit_code(tmp_path, capsys):
    (tmp_path / "producer-0.log").write_text("\n".join(SENT) + "\n")
    (tmp_path / "clients-0.log").write_text("\n".join(CLEAN) + "\n")
    assert checker.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("attempted 4 accepted 3 ")
    (tmp_path / "clients-0.log").write_text("\n".join(CLEAN[:2]) + "\n")
    assert checker.main([str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert "LOST 3" in printed.out and "p0-7-1 was accepted and never delivered" in printed.err
