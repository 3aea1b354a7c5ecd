# SPDX-License-Identifier: Apache-2.0
"""The checker of the promises: told what was accepted and what each client saw, it says what was lost, repeated without the flag or out of order.

A stream is what one producer sends one user with a number that rises by one: its key is (CloudEvents source, user).
"""
import collections


class Oracle:
    def __init__(self):
        self.accepted = collections.defaultdict(set)       # stream -> numbers that a producer was told are safe
        self.attempted = collections.defaultdict(set)      # stream -> numbers that may be there
        self.delivered = collections.defaultdict(set)      # stream -> numbers seen
        self.acked = collections.defaultdict(set)          # user -> message ids with a durable receipt
        self.place = {}                                    # (user, id) -> seq at its first delivery
        self.first_seq = collections.defaultdict(int)      # user -> highest seq of a first delivery
        self.first_number = collections.defaultdict(lambda: -1)  # stream -> highest number of a first delivery
        self.flagged = 0
        self.faults = []                                   # sentences

    def expect(self, source, user, number):
        self.attempted[source, user].add(number)
        self.accepted[source, user].add(number)

    def attempt(self, source, user, number):
        self.attempted[source, user].add(number)

    def pushed(self, user, message):
        """A client of `user` got this message object."""
        number, seq, stream = message["data"]["n"], message["seq"], (message["source"], user)
        if message["address"] != f"user:{user}":
            self.faults.append(f"UNEXPECTED: {user} got {message['address']}")
        if number not in self.attempted[stream]:
            self.faults.append(f"UNEXPECTED: {stream} {number}, nobody sent it")
        known = self.place.get((user, message["id"]))
        if known is None:
            self.place[user, message["id"]] = seq
            if number in self.delivered[stream]:
                self.faults.append(f"DUP-UNFLAGGED: {stream} {number} came again as seq {seq} under another id")
            self.delivered[stream].add(number)
            if seq <= self.first_seq[user]:
                self.faults.append(f"ORDER: {user} first saw seq {seq} after {self.first_seq[user]}")
            if number < self.first_number[stream]:
                self.faults.append(f"ORDER: {stream} first saw {number} after {self.first_number[stream]}")
            self.first_seq[user] = max(seq, self.first_seq[user])
            self.first_number[stream] = max(number, self.first_number[stream])
            return
        if message["id"] in self.acked[user]:
            self.faults.append(f"RECEIPTED: {stream} {number} seq {seq} came after the receipt of its ack")
        if known != seq:
            self.faults.append(f"UNEXPECTED: {stream} {number} has seq {seq}, and had {known}")
        if message["redelivered"]:
            self.flagged += 1
        else:
            self.faults.append(f"DUP-UNFLAGGED: {stream} {number} seq {seq} attempt {message['attempt']}")

    def receipted(self, user, ids):
        self.acked[user].update(ids)

    def lost(self):
        return [f"LOST: {stream} {number}" for stream, numbers in self.accepted.items() for number in sorted(numbers - self.delivered[stream])]

    def missing_count(self):
        """Messages that are accepted and not yet delivered, or delivered and not yet receipted."""
        undelivered = sum(len(numbers - self.delivered[stream]) for stream, numbers in self.accepted.items())
        return undelivered + len(self.place) - sum(len(ids) for ids in self.acked.values())

    def summary(self):
        return (f"attempted {sum(map(len, self.attempted.values()))} accepted {sum(map(len, self.accepted.values()))} "
                f"delivered {len(self.place)} acked {sum(map(len, self.acked.values()))} LOST {len(self.lost())} dup-flagged {self.flagged} "
                f"FAULTS {len(self.faults)}")

    def check(self):
        wrong = self.faults + self.lost()
        assert not wrong, self.summary() + "\n" + "\n".join(wrong[:20])
