# SPDX-License-Identifier: Apache-2.0
"""The program's other commands and its exit codes: 0 ok, 1 runtime, 2 usage, 78 bad configuration."""
import base64
import hashlib
import hmac
import json
import re

import pytest

from support.server import TOP, run_doorstep
from support.tokens import SECRET, make_token

BAD_CONFIGURATIONS = {
    "an unknown key": ('[http]\nlisten = "127.0.0.1:8000"\nlissten = "127.0.0.1:8000"\n', 3, "lissten"),
    "a wrong type": ("[delivery]\nwindow = \"many\"\n", 2, "window"),
    "a bad duration": ('[delivery]\n\nack_timeout = "30 parsecs"\n', 3, "ack_timeout"),
    "out of its range": ("[log]\nshards = 0\n", 2, "shards"),
    "no TOML": ("[http\nlisten = 1\n", 1, ""),
    "an unknown section": ("[htttp]\nlisten = \"127.0.0.1:8000\"\n", 1, "htttp"),
}


@pytest.mark.parametrize("case", BAD_CONFIGURATIONS, ids=lambda x: x.replace(" ", "_"))
def test_a_bad_configuration_is_78_with_file_line_and_caret(tmp_path, case):
    text, line, word = BAD_CONFIGURATIONS[case]
    path = tmp_path / "broken.toml"
    path.write_text(text)
    for command in ("check-config", "serve"):
        done = run_doorstep(command, "--config", path)
        said = done.stdout + done.stderr
        assert done.returncode == 78, f"{command}: {done.returncode}\n{said}"
        assert f"{path}:{line}:" in said, said
        assert word in said and re.search(r"^[\s|]*\^", said, re.M), f"no caret:\n{said}"


def test_a_bad_variable_or_flag_is_named():
    done = run_doorstep("check-config", env={"DOORSTEP_DELIVERY__WINDOW": "many"})
    assert done.returncode == 78 and "DOORSTEP_DELIVERY__WINDOW" in done.stderr
    done = run_doorstep("check-config", "--config", "/nonexistent/doorstep.toml")
    assert done.returncode == 78 and "/nonexistent/doorstep.toml" in done.stderr


def test_default_config_is_the_file_we_ship():
    done = run_doorstep("default-config")
    assert done.returncode == 0
    assert done.stdout == (TOP / "conf" / "doorstep.toml").read_text()
    assert run_doorstep("check-config", "--config", TOP / "conf" / "doorstep.toml").returncode == 0


def test_an_unknown_command_or_flag_is_2():
    assert run_doorstep("serv").returncode == 2
    assert run_doorstep("serve", "--no-such-flag").returncode == 2
    assert run_doorstep().returncode == 2


def test_version_says_the_version():
    done = run_doorstep("version")
    assert done.returncode == 0 and re.search(r"\b0\.\d+\.\d+\b", done.stdout)


def test_gen_token_is_a_jwt_that_others_verify(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    done = run_doorstep("gen-token", "--user", "alice", "--secret-file", secret)
    assert done.returncode == 0, done.stderr
    token = done.stdout.strip()
    header, payload, signature = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))
    assert json.loads(header)["alg"] == "HS256" and json.loads(payload)["sub"] == "alice" and json.loads(payload)["exp"] > 0
    assert hmac.compare_digest(signature, hmac.new(SECRET.encode(), token.rsplit(".", 1)[0].encode(), hashlib.sha256).digest())
    assert make_token("alice").count(".") == 2
