# SPDX-License-Identifier: Apache-2.0
"""Sums up junit files: what failed, what was skipped and why, and the closing line. Used by scripts/test.

summary.py [--missing "peer: reason"]... name:exit_code:file...   exits 1 when anything failed.
A suite that did not get to its end (a code of its own, no file) counts as one failure: silence is not success.
"""
import os
import re
import sys
import xml.etree.ElementTree as ElementTree

# ctest: 8 = some tests failed; pytest: 1 = some tests failed, 5 = the filter left none. Those are told by the junit file.
TOLD_BY_FILE = {"ctest": {0, 8}, "pytest": {0, 1, 5}}


def reason_of_skip(case, skipped):
    """GoogleTest's reason stands in the output, after the line of the place: 'file:line: Skipped' and then the text."""
    output = case.findtext("system-out") or ""
    found = re.search(r"Skipped\n(.*?)\n*\[", output, re.S)
    if found and found.group(1).strip():
        return " ".join(found.group(1).split())
    return skipped.get("message") or "no reason given"


def read_suite(path):
    passed, failed, skipped = 0, [], []
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = case.get("name") if case.get("classname") in (None, case.get("name")) else f"{case.get('classname')}.{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None or case.get("status") == "fail":
            failed.append(name)
        elif case.find("skipped") is not None:
            skipped.append((name, reason_of_skip(case, case.find("skipped"))))
        elif case.get("status") in ("notrun", "disabled"):
            skipped.append((name, case.get("status")))
        else:
            passed += 1
    return passed, failed, skipped


def main(arguments):
    missing, suites = [], []
    while arguments:
        word = arguments.pop(0)
        if word == "--missing":
            missing.append(arguments.pop(0))
        else:
            suites.append(word.split(":", 2))
    passed, failed, skipped = 0, [], []
    for name, code, path in suites:
        if os.path.exists(path):
            suite_passed, suite_failed, suite_skipped = read_suite(path)
            passed += suite_passed
            failed += suite_failed
            skipped += suite_skipped
            if int(code) in TOLD_BY_FILE[name]:
                continue
        elif int(code) == 0 and name == "ctest":
            continue  # the filter left nothing to run
        failed.append(f"{name} did not get to its end (exit code {code})")

    if os.environ.get("DOORSTEP_REQUIRE_PEERS") == "1":
        failed += [f"peer missing: {peer}" for peer in missing]
    print()
    for peer in missing:
        print(f"PEER MISSING  {peer}")
    for name, reason in skipped:
        print(f"SKIPPED  {name}: {reason}")
    for name in failed:
        print(f"FAILED   {name}")
    print(f"{passed} passed, {len(failed)} failed, {len(skipped)} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
