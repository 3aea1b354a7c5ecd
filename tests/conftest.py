# SPDX-License-Identifier: Apache-2.0
"""The filter of scripts/test for the Python suites: a plain substring of a test's name, as for ctest."""
import os


def pytest_collection_modifyitems(config, items):
    wanted = os.environ.get("DOORSTEP_TEST_FILTER", "")
    if not wanted:
        return
    left_out = [item for item in items if wanted not in item.nodeid]
    items[:] = [item for item in items if wanted in item.nodeid]
    config.hook.pytest_deselected(items=left_out)
