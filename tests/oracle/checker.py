# SPDX-License-Identifier: Apache-2.0
"""The judge: reads the files of a run (records.py says what is in them) and holds them against the promises. It knows nothing of how the server works.

checker.py [--devices] [--channels] FOLDER    prints one line with the columns and the first faults; exits 1 when a capital column is above 0.
With --devices each client is a device with a cursor of its own: all of it is owed to every one of them, and is counted for each.
With --channels some events are for everybody who has the role, or for all: owed to each user above the floor of its first greeting, and counted for each.

LOST              accepted, and no client ever handled it (one that went away with it in hand must be sent it again)
DUP-UNFLAGGED     pushed again without the flag, or under another seq or id
ORDER-VIOLATIONS  first seen by a client after a later one, by seq or by its producer's number
UNEXPECTED        what nobody sent, or for another user; a push, a floor or a receipt that contradicts a receipt or an ack; an ack left without a receipt
"""
import collections
import pathlib
import sys

from oracle.records import CHANNELS, channels_of, has_role, parse_event

FAULTS_SHOWN = 20
COLUMNS = ("LOST", "DUP-UNFLAGGED", "ORDER-VIOLATIONS", "UNEXPECTED")


class Message:
    """What is known of one message of one user."""
    __slots__ = ("address", "seq", "identity", "first_at", "seen_by", "acked", "receipt_at", "receipt_for")

    def __init__(self, address, seq, identity, first_at):
        self.address, self.seq, self.identity, self.first_at = address, seq, identity, first_at
        self.seen_by = []
        self.acked = False
        self.receipt_at = self.receipt_for = None


class Client:
    def __init__(self, name, by_device):
        self.user = name.split(".")[0]
        self.owner = name if by_device else self.user   # whose an ack is
        self.mailbox = f"user:u{self.user}"
        self.opened = 0
        self.highest = collections.Counter()   # address -> seq of its first sights
        self.numbers = {}                      # producer and address -> number of its last first sight
        self.pending = {}                      # message id -> message: acked, no receipt yet
        self.floors = collections.Counter()    # address -> the highest that a receipt said

    def owner_of(self, address):
        """Whose an ack there is: of a channel it is the user's, whatever devices have."""
        return self.owner if address == self.mailbox else self.user

    def floors_of(self, words):
        """@returns floors by address, and the words behind them."""
        floors, rest = {self.mailbox: int(words[0])}, words[1:]
        while rest and "=" in rest[0]:
            address, _, seq = rest.pop(0).partition("=")
            floors[address] = int(seq)
        return floors, rest


class Checker:
    def __init__(self, by_device=False, channels=False):
        self.by_device, self.channels = by_device, channels
        self.begins = {}                             # (user, channel) -> floor of the first greeting
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
        floors, _ = client.floors_of(words)
        if sorted(floors) != sorted([client.mailbox, *(channels_of(client.user) if self.channels else [])]):
            self.fault("UNEXPECTED", f"{name} was greeted with {sorted(floors)}")
        for address, floor in floors.items():
            self.begins.setdefault((client.user, address), floor)
            if floor < client.floors[address]:
                self.fault("UNEXPECTED", f"{name} connected at floor {floor} of {address} after a receipt up to {client.floors[address]}")

    def received(self, client, name, at, words):
        seq, flagged, attempt, identity, event, address = int(words[0]), words[1] == "1", int(words[2]), words[3], words[4], words[5]
        place = parse_event(event)
        if place is None or not self.is_owed(place, client.user) or address != CHANNELS.get(place.user, client.mailbox):
            self.fault("UNEXPECTED", f"{name} got {event} of {address}")
            return
        owner = client.owner_of(address)
        if event not in self.attempted:
            self.fault("UNEXPECTED", f"{name} got {event}, which nobody sent")
        if self.places.setdefault(event, (seq, identity)) != (seq, identity):
            self.fault("DUP-UNFLAGGED", f"{name} got {event} as seq {seq} id {identity}, and before it was seq and id {self.places[event]}")
            return
        message = self.messages.get((owner, event))
        if message is None:
            message = self.messages[owner, event] = Message(address, seq, identity, at)
            if self.by_identity.setdefault((owner, identity), message) is not message:
                self.fault("UNEXPECTED", f"{name} got {event} under the id of another message")
        if not message.acked:
            self.owed[owner][identity] = message
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
        highest, stream = client.highest[message.address], (place.producer, message.address)
        if flagged and another_had_it and message.seq <= highest:
            return
        if message.seq <= highest:
            self.fault("ORDER-VIOLATIONS", f"{name} first saw seq {message.seq} of {message.address} after {highest}")
        elif place.number <= client.numbers.get(stream, -1):
            self.fault("ORDER-VIOLATIONS", f"{name} first saw {place} after number {client.numbers[stream]}")
        client.highest[message.address] = max(highest, message.seq)
        client.numbers[stream] = max(place.number, client.numbers.get(stream, -1))

    def handled(self, client, name, _, identities):
        for identity in identities:
            message = self.known(client, identity)
            if message is None:  # told already: it was not this user's, or a second copy
                continue
            self.acked_count += not message.acked
            message.acked = True
            client.pending[identity] = message
            self.owed[client.owner_of(message.address)].pop(identity, None)

    def known(self, client, identity):
        return self.by_identity.get((client.owner, identity)) or self.by_identity.get((client.user, identity))

    def receipt(self, client, name, at, words):
        floors, identities = client.floors_of(words)
        for identity in identities:
            message = self.known(client, identity)
            if message is None or not message.acked:
                self.fault("UNEXPECTED", f"{name} got a receipt for {identity}, which nobody acked")
        for address, floor in floors.items():
            for message in self.owed[client.owner_of(address)].values():
                if message.address == address and message.seq <= floor:
                    self.fault("UNEXPECTED", f"{name} got a receipt up to {floor} over seq {message.seq}, which nobody acked")
            client.floors[address] = max(client.floors[address], floor)
        done = [i for i in identities if i in client.pending] + [i for i, m in client.pending.items() if m.seq <= floors.get(m.address, 0)]
        for identity in done:
            message = client.pending.pop(identity, None)
            if message is not None and message.receipt_at is None:
                message.receipt_at, message.receipt_for = at, name

    def error(self, _, name, __, words):
        self.fault("UNEXPECTED", f"{name} was answered {' '.join(words)}")

    # --- the sum

    def is_owed(self, place, user):
        if place.user not in CHANNELS:
            return place.user == user
        return self.channels and (place.user == "all" or has_role(user))

    def readers_of(self, event, place):
        """Users who are owed an event of a channel: whoever was greeted there at a floor below it."""
        address, seq = CHANNELS[place.user], self.places.get(event, (float("inf"), None))[0]
        users = sorted(user for (user, of), floor in self.begins.items() if of == address and floor < seq)
        return users or ["no reader"]

    def owners_of(self, event):
        place = parse_event(event)
        user = place.user
        if user in CHANNELS:
            return self.readers_of(event, place)
        if not self.by_device:
            return [user]
        return sorted(name for name, client in self.clients.items() if client.user == user) or [f"{user}.no device"]

    def finish(self):
        for event in sorted(self.accepted):
            for owner in self.owners_of(event):
                to = f" to {owner}" if self.by_device or self.channels else ""
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


def check(folder, by_device=False, channels=False):
    """@returns the checker of a run's folder, finished."""
    checker = Checker(by_device, channels)
    for path in sorted(pathlib.Path(folder).glob("producer-*.log")):
        with open(path, encoding="utf-8") as lines:
            checker.read_producers(lines)
    for path in sorted(pathlib.Path(folder).glob("clients-*.log")):
        with open(path, encoding="utf-8") as lines:
            checker.read_clients(lines, path.name)
    checker.finish()
    return checker


def main(words):
    flags, words = {word for word in words if word.startswith("--")}, [word for word in words if not word.startswith("--")]
    if len(words) != 1 or flags - {"--devices", "--channels"}:
        print(__doc__, file=sys.stderr)
        return 2
    checker = check(words[0], "--devices" in flags, "--channels" in flags)
    print(checker.summary())
    for sentence in checker.faults:
        print(sentence, file=sys.stderr)
    return 0 if checker.ok() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
