"""Who runs a command at a shell, as the kernel and the password database say.

Environment variables such as `LOGNAME` and `SUDO_USER` are not read, because the person at the shell sets them.
"""

import os
import pwd
import socket
from pathlib import Path

LOGIN_UID = Path("/proc/self/loginuid")
UNSET = 2**32 - 1


def who() -> str:
    """`name@host` of the real uid, followed by the kernel's login uid if it is another one, as it is behind sudo."""
    uid, login = os.getuid(), _login_uid()
    behind = "" if login is None or login == uid else f" (login {_name(login)})"
    return f"{_name(uid)}@{socket.gethostname()}{behind}"[:190]


def _login_uid() -> int | None:
    """The uid that signed in to this machine; None if the kernel does not know it."""
    try:
        uid = int(LOGIN_UID.read_text())
    except (OSError, ValueError):
        return None
    return None if uid == UNSET else uid


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
