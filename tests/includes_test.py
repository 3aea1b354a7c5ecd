# SPDX-License-Identifier: Apache-2.0
"""The walls of the house, read from the includes: which floor may see which, who may see which library, and how long a file may be.

The table is docs/architecture.md's. CMake's target_link_libraries says the same, but a header-only include slips past the linker.
"""
import pathlib
import re
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parent.parent

# Folder -> the folders of ours it may include. net and storage never see each other.
ARROWS = {
    "runtime": {"runtime"},
    "storage": {"storage", "runtime"},
    "net": {"net", "runtime"},
    "actors": {"actors", "storage", "net", "runtime"},
    "web": {"web"},
}
FLOORS = set(ARROWS) | {"tests", "bench"}

# Library (how its include begins) -> the folders that may include it, and whether a header may.
# Boost: runtime has JSON, System and header-only containers; sockets are net's, and the lane's and the server's loop in actors.
LIBRARIES = [
    (r"caf/", {"actors"}, True),
    (r"librdkafka/", {"storage"}, False),
    (r"(mongoc|bson)", {"storage"}, False),
    (r"(SQLiteCpp/|sqlite3)", {"storage"}, False),
    (r"toml(11)?(\.hpp|/)", {"runtime"}, False),
    (r"spdlog/", {"runtime"}, False),
    (r"prometheus/", {"runtime"}, False),
    (r"openssl/", {"runtime", "net"}, False),
    (r"boost/beast", {"net"}, True),
    (r"boost/asio", {"net", "actors"}, True),
    (r"CLI/", set(), False),  # main.cpp's
]
# actors/ sees the interfaces of storage and net, never a concrete part: main.cpp chooses those.
INTERFACES = {
    "storage/message_log.hpp", "storage/message_store.hpp", "storage/mirror_record.hpp", "storage/record_sink.hpp", "storage/record_source.hpp",
    "net/connection.hpp", "net/loop.hpp", "net/protocol.hpp", "net/surfaces.hpp",
}
# The one place in actors/ with Asio.
ASIO_IN_ACTORS = {"actors/lane.hpp", "actors/lane.cpp"}
LINES_MAX = 500
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def violations(path, text):
    """@returns what is wrong with the includes of one source, by its path relative to the top."""
    floor = path.split("/")[0] if "/" in path else ""
    found = []
    if floor not in ARROWS:
        return found
    for _, name in INCLUDE.findall(text):
        first = name.split("/")[0]
        if "/" in name and first in FLOORS and first not in ARROWS[floor]:
            found.append(f"{path} includes {name}: {floor}/ may see {', '.join(sorted(ARROWS[floor]))}")
        if floor == "actors" and first in ("storage", "net") and name not in INTERFACES:
            found.append(f"{path} includes {name}: actors/ sees only the interfaces of {first}/")
        for pattern, folders, header_too in LIBRARIES:
            if not re.match(pattern, name):
                continue
            if floor not in folders:
                found.append(f"{path} includes {name}: only {', '.join(sorted(folders)) or 'main.cpp'} may")
            elif not header_too and path.endswith(".hpp"):
                found.append(f"{path} includes {name}: in a .cpp only")
            elif pattern == r"boost/asio" and floor == "actors" and path not in ASIO_IN_ACTORS:
                found.append(f"{path} includes {name}: in actors/ only the lane may")
    return found


def sources():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=TOP, capture_output=True, text=True, check=False)
    names = listed.stdout.splitlines() if listed.returncode == 0 else [str(p.relative_to(TOP)) for p in TOP.rglob("*") if p.is_file()]
    names = [name for name in names if (TOP / name).is_file() and not name.startswith(("build/", "data/"))]
    assert any(name.startswith("runtime/") for name in names), "the list of sources is empty: this test would see nothing"
    return names


def test_includes_follow_the_arrows():
    wrong = []
    for name in sources():
        if name.endswith((".hpp", ".cpp")):
            wrong += violations(name, (TOP / name).read_text())
    assert not wrong, "\n".join(wrong)


def test_no_source_is_longer_than_a_person_reads():
    ending = (".hpp", ".cpp", ".py", ".js", ".ts", ".cmake", ".sh")
    lengths = {name: (TOP / name).read_text().count("\n") for name in sources() if name.endswith(ending) or name.startswith("scripts/")}
    assert not {name: lines for name, lines in lengths.items() if lines > LINES_MAX}


def test_every_source_says_its_licence_first():
    def first_lines(name):
        return "".join((TOP / name).read_text().splitlines(keepends=True)[:2])
    named = [name for name in sources() if name.endswith((".hpp", ".cpp", ".py", ".cmake")) or name.endswith("CMakeLists.txt")]
    assert not [name for name in named if "SPDX-License-Identifier: Apache-2.0" not in first_lines(name)]


def test_cmake_repeats_the_arrows():
    allowed = {"runtime": set(), "storage": {"runtime"}, "net": {"runtime"}, "actors": {"net", "storage", "runtime"}}
    for floor, others in allowed.items():
        text = (TOP / floor / "CMakeLists.txt").read_text()
        linked = set(re.findall(r"doorstep_(runtime|storage|net|actors)\b", text)) - {floor}
        assert linked <= others, f"{floor}/CMakeLists.txt links {linked - others}"


def test_a_folder_readme_has_at_most_15_lines():
    readmes = [name for name in sources() if re.fullmatch(r"[a-z]+/README\.md", name) and not name.startswith(("bench/", "docs/"))]
    assert readmes
    assert not [name for name in readmes if len((TOP / name).read_text().splitlines()) > 15]


# The reader itself: each forbidden arrow must be seen.
@pytest.mark.parametrize("path, line", [
    ("net/server.cpp", '#include "storage/message_log.hpp"'),
    ("storage/sqlite_store.cpp", '#include "net/loop.hpp"'),
    ("runtime/event.cpp", '#include "actors/messages.hpp"'),
    ("runtime/event.hpp", "#include <caf/actor.hpp>"),
    ("net/loop.hpp", "#include <caf/actor.hpp>"),
    ("storage/record_source.hpp", "#include <librdkafka/rdkafka.h>"),
    ("storage/message_store.hpp", "  #  include <SQLiteCpp/SQLiteCpp.h>"),
    ("actors/writer.cpp", '#include "storage/sqlite_store.hpp"'),
    ("actors/mailbox.cpp", "#include <boost/asio/post.hpp>"),
    ("actors/node.hpp", "#include <boost/beast/core.hpp>"),
    ("runtime/config.cpp", "#include <CLI/CLI.hpp>"),
])
def test_the_reader_sees_a_forbidden_include(path, line):
    assert violations(path, f"// head\n{line}\n")


@pytest.mark.parametrize("path, line", [
    ("storage/kafka_source.cpp", "#include <librdkafka/rdkafka.h>"),
    ("actors/lane.cpp", "#include <boost/asio/post.hpp>"),
    ("actors/shard.cpp", '#include "storage/message_store.hpp"'),
    ("runtime/config.cpp", "#include <toml.hpp>"),
    ("main.cpp", '#include "storage/sqlite_store.hpp"'),
])
def test_the_reader_lets_a_permitted_include_pass(path, line):
    assert not violations(path, f"// head\n{line}\n")
