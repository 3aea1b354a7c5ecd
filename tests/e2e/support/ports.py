# SPDX-License-Identifier: Apache-2.0
"""Ports on loopback that nobody listens on. As a program: ports.py N prints the first of N free ports in a row."""
import random
import socket
import sys

# Below the kernel's ephemeral range, so that no outgoing connection takes one between the look and the bind.
LOWEST, HIGHEST = 21000, 31900


def is_free(port):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port(count=1):
    """@returns the first of `count` free ports in a row."""
    for _ in range(1000):
        first = random.SystemRandom().randrange(LOWEST, HIGHEST - count)
        if all(is_free(first + i) for i in range(count)):
            return first
    raise RuntimeError("no free port on 127.0.0.1")


if __name__ == "__main__":
    print(free_port(int(sys.argv[1]) if len(sys.argv) > 1 else 1))
