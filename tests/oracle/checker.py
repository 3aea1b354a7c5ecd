# SPDX-License-Identifier: Apache-2.0
"""The judge: reads the files of a run (records.py says what is in them) and holds them against the promises. It knows nothing of how the server works.

checker.py [--devices] FOLDER    prints one line with the columns and the first faults; exits 1 when a capital column is above 0.
With --devices each client is a device with a cursor of its own: all of it is owed to every one of them, and is counted for each.

LOST              accepted, and no client ever handled it (one that went away with it in hand must be sent it again)
DUP-UNFLAGGED     pushed again without the flag, or under another seq or id
ORDER-VIOLATIONS  first seen by a client after a later one, by seq or by its producer's number
UNEXPECTED        what nobody sent, or for another user; a push, a floor or a receipt that contradicts a receipt or an ack; an ack left without a receipt
"""
import collections
import pathlib
import sys

from oracle.records import parse_event

FAULTS_SHOWN = 20
COLUMNS = ("LOST", "DUP-UNFLAGGED", "ORDER-VIOLATIONS", "UNEXPECTED")


class Message:
    """What is known of one message of one user."""
    __slots__ = ("seq", "identity", "first_at", "seen_by", "acked", "receipt_at", "receipt_for")

    def __init__(self, seq, identity, first_at):
        self.seq, self.identity, self.first_at = seq, identity, first_at
        self.seen_by = []
        self.acked = False
        self.receipt_at = self.receipt_for = None


class Client:
    def __init__(self, name, by_device):
        self.user = name.split(".")[0]
        self.owner = name if by_device else self.user   # whose an ack is
        self.opened = 0
        self.highest = 0       # seq of its first sights
        self.numbers = {}      # producer -> number of its last first sight
        self.pending = {}      # message id -> message: acked, no receipt yet
        self.floor = 0         # the highest that a receipt said


class Checker:
    def __init__(self, by_device=False):
        self.by_device = by_device
        self.attempted = set()
        self.accepted = set()
        self.messages = {}                           # (owner, event) -> Message
        self.places = {}                             # event -> seq and message id, the same for all owners
        self.by_identity = {}                        # (owner, message id) -> Message
        self.clients = {}
        self.owed = collections.defaultdict(dict)    # owner -> message id -> Message: received, handled by nobody
        self.acked_count = self.flagged = 0
        self.counts = dict.fromkeys(COLUMNS, 0)
        self.faults = []                             # the first sentences of each column
        self.at = None

    def fault(self, column, what):
        self.counts[column] += 1
        if self.counts[column] <= FAULTS_SHOWN:
            self.faults.append(f"{column}: {what}" + (f" ({self.at})" if self.at else ""))

    # --- the producers' files

    def read_producers(self, lines):
        batches = {}
        for line in lines:
            kind, batch, *events = line.split()
            if kind == "A":
                batches[batch] = events
                self.attempted.update(events)
            elif kind == "Y":
                self.accepted.update(batches.pop(batch))
            else:
                raise ValueError(f"no line of a producer: {line}")

    # --- the clients' files

    def read_clients(self, lines, name="line"):
        kinds = {"C": self.connected, "R": self.received, "K": self.handled, "P": self.receipt, "E": self.error}
        for number, line in enumerate(lines, 1):
            words = line.split()
            self.at = f"{name} {number}"
            client = self.clients.get(words[1]) or self.clients.setdefault(words[1], Client(words[1], self.by_device))
            kinds[words[0]](client, words[1], int(words[2]), words[3:])
        self.at = None

    def connected(self, client, name, opened, words):
        client.opened = opened
        if int(words[0]) < client.floor:
            self.fault("UNEXPECTED", f"{name} connected at floor {words[0]} after a receipt up to {client.floor}")

    def received(self, client, name, at, words):
        seq, flagged, attempt, identity, event, address = int(words[0]), words[1] == "1", int(words[2]), words[3], words[4], words[5]
        place = parse_event(event)
        if place is None or place.user != client.user or address != f"user:u{client.user}":
            self.fault("UNEXPECTED", f"{name} got {event} of {address}")
            return
        if event not in self.attempted:
            self.fault("UNEXPECTED", f"{name} got {event}, which nobody sent")
        if self.places.setdefault(event, (seq, identity)) != (seq, identity):
            self.fault("DUP-UNFLAGGED", f"{name} got {event} as seq {seq} id {identity}, and before it was seq and id {self.places[event]}")
            return
        message = self.messages.get((client.owner, event))
        if message is None:
            message = self.messages[client.owner, event] = Message(seq, identity, at)
            if self.by_identity.setdefault((client.owner, identity), message) is not message:
                self.fault("UNEXPECTED", f"{name} got {event} under the id of another message")
        if not message.acked:
            self.owed[client.owner][identity] = message
        if message.receipt_at is not None and (message.receipt_for == name or client.opened > message.receipt_at):
            self.fault("UNEXPECTED", f"{name} got {event} seq {seq} after the receipt of its ack")
        self.flagged += flagged and bool(message.seen_by)
        if name in message.seen_by:
            if not flagged:
                self.fault("DUP-UNFLAGGED", f"{name} got {event} seq {seq} attempt {attempt} again")
        else:
            self.first_sight(client, name, message, place, flagged, attempt)

    def first_sight(self, client, name, message, place, flagged, attempt):
        """A round reaches all who are attached, so another client's first sight may be unflagged too: unless it was not there yet."""
        if not flagged and (attempt != 1 or message.seen_by and client.opened > message.first_at):
            self.fault("DUP-UNFLAGGED", f"{name} got {place} seq {message.seq} attempt {attempt}, pushed before to {message.seen_by}")
        another_had_it = bool(message.seen_by)
        message.seen_by.append(name)
        # What another device acked, and a kill took the ack back before its receipt, may come to this one late: flagged.
        if flagged and another_had_it and message.seq <= client.highest:
            return
        if message.seq <= client.highest:
            self.fault("ORDER-VIOLATIONS", f"{name} first saw seq {message.seq} after {client.highest}")
        elif place.number <= client.numbers.get(place.producer, -1):
            self.fault("ORDER-VIOLATIONS", f"{name} first saw {place} after number {client.numbers[place.producer]}")
        client.highest = max(client.highest, message.seq)
        client.numbers[place.producer] = max(place.number, client.numbers.get(place.producer, -1))

    def handled(self, client, name, _, identities):
        for identity in identities:
            message = self.by_identity.get((client.owner, identity))
            if message is None:  # told already: it was not this user's, or a second copy
                continue
            self.acked_count += not message.acked
            message.acked = True
            client.pending[identity] = message
            self.owed[client.owner].pop(identity, None)

    def receipt(self, client, name, at, words):
        floor = int(words[0])
        for identity in words[1:]:
            message = self.by_identity.get((client.owner, identity))
            if message is None or not message.acked:
                self.fault("UNEXPECTED", f"{name} got a receipt for {identity}, which nobody acked")
        for message in self.owed[client.owner].values():
            if message.seq <= floor:
                self.fault("UNEXPECTED", f"{name} got a receipt up to {floor} over seq {message.seq}, which nobody acked")
        client.floor = max(client.floor, floor)
        done = [i for i in words[1:] if i in client.pending] + [i for i, m in client.pending.items() if m.seq <= floor]
        for identity in done:
            message = client.pending.pop(identity, None)
            if message is not None and message.receipt_at is None:
                message.receipt_at, message.receipt_for = at, name

    def error(self, _, name, __, words):
        self.fault("UNEXPECTED", f"{name} was answered {' '.join(words)}")

    # --- the sum

    def owners_of(self, event):
        user = parse_event(event).user
        if not self.by_device:
            return [user]
        return sorted(name for name, client in self.clients.items() if client.user == user) or [f"{user}.no device"]

    def finish(self):
        for event in sorted(self.accepted):
            for owner in self.owners_of(event):
                to = f" to {owner}" if self.by_device else ""
                message = self.messages.get((owner, event))
                if message is None:
                    self.fault("LOST", f"{event} was accepted and never delivered{to}")
                elif not message.acked:
                    self.fault("LOST", f"{event} seq {message.seq} was in a client's hand when its connection ended, and never came again{to}")
        for name, client in self.clients.items():
            for message in client.pending.values():
                self.fault("UNEXPECTED", f"{name} acked seq {message.seq} and never got a receipt")

    def ok(self):
        return not any(self.counts.values())

    def summary(self):
        return (f"attempted {len(self.attempted)} accepted {len(self.accepted)} delivered {len(self.messages)} acked {self.acked_count} "
                f"LOST {self.counts['LOST']} dup-flagged {self.flagged} DUP-UNFLAGGED {self.counts['DUP-UNFLAGGED']} "
                f"ORDER-VIOLATIONS {self.counts['ORDER-VIOLATIONS']} UNEXPECTED {self.counts['UNEXPECTED']}")


def check(folder, by_device=False):
    """@returns the checker of a run's folder, finished."""
    checker = Checker(by_device)
    for path in sorted(pathlib.Path(folder).glob("producer-*.log")):
        with open(path, encoding="utf-8") as lines:
            checker.read_producers(lines)
    for path in sorted(pathlib.Path(folder).glob("clients-*.log")):
        with open(path, encoding="utf-8") as lines:
            checker.read_clients(lines, path.name)
    checker.finish()
    return checker


def main(words):
    by_device, words = "--devices" in words, [word for word in words if word != "--devices"]
    if len(words) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    checker = check(words[0], by_device)
    print(checker.summary())
    for sentence in checker.faults:
        print(sentence, file=sys.stderr)
    return 0 if checker.ok() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
