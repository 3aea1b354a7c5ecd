# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests stand on: the program under test, an independent client, a checker of the promises, a Kafka broker."""
