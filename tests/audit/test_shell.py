"""The person at a shell is the one the kernel names, never the one that the shell's variables claim."""

import os
import pwd
import socket
from pathlib import Path

import pytest

from audit import log

MINE = f"{pwd.getpwuid(os.getuid()).pw_name}@{socket.gethostname()}"
UNKNOWN = 4_000_000_000


@pytest.fixture
def login_uid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "loginuid"
    monkeypatch.setattr(log, "LOGIN_UID", path)
    return path


def test_variables_of_the_shell_are_not_believed(login_uid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.setenv(name, "reviewer <reviewer@example.com>")
    assert log.who() == MINE


def test_behind_sudo_the_login_is_named_too(login_uid: Path) -> None:
    login_uid.write_text(str(UNKNOWN))
    assert log.who() == f"{MINE} (login uid {UNKNOWN})"


@pytest.mark.parametrize("text", [str(os.getuid()), str(2**32 - 1), "", "?"])
def test_a_login_that_is_the_same_or_not_known_adds_nothing(login_uid: Path, text: str) -> None:
    login_uid.write_text(text)
    assert log.who() == MINE


def test_a_uid_without_a_name_is_told_by_its_number(login_uid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: UNKNOWN)
    assert log.who() == f"uid {UNKNOWN}@{socket.gethostname()}"
