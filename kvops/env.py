"""Settings from the environment, read once. A wrong setting is refused at start. No Django."""

import math
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

from pyrage import RecipientError, x25519

WORKER = {"MALLOC_MMAP_THRESHOLD_": "131072"}
"""Environment variables for a worker's cluster. With this threshold glibc returns the memory of each part of a backup,
instead of raising the threshold after the first part (`make bench BENCH=memory` sets it, too)."""


class SettingError(Exception):
    """A setting is missing or invalid; the message names it and its valid form."""


def text(name: str, default: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """The variable `name`, or the contents of the file in `NAME_FILE`. Raises SettingError if neither is set."""
    path = environ.get(f"{name}_FILE")
    if path and name in environ:
        raise SettingError(f"Set {name} or {name}_FILE, not both.")
    if path:
        try:
            value = Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"{name}_FILE names a file that cannot be read: {error}") from error
    else:
        value = environ.get(name, "").strip()
    if value:
        return value
    if default is None:
        raise SettingError(f"{name} is not set. See .env.example for what it takes.")
    return default


def flag(name: str, default: bool = False, environ: Mapping[str, str] = os.environ) -> bool:
    """A switch: `1` or `0`."""
    value = text(name, "1" if default else "0", environ)
    if value not in {"0", "1"}:
        raise SettingError(f"{name} takes 1 or 0, not {value!r}.")
    return value == "1"


def number(name: str, default: float, environ: Mapping[str, str] = os.environ) -> float:
    """A number; raises SettingError for any other text."""
    value = text(name, str(default), environ)
    try:
        found = float(value)
    except ValueError as error:
        raise SettingError(f"{name} takes a number, not {value!r}.") from error
    if not math.isfinite(found):
        raise SettingError(f"{name} takes a number, not {value!r}.")
    return found


def one_of(name: str, default: str, values: Collection[str], environ: Mapping[str, str] = os.environ) -> str:
    """One of a few words."""
    value = text(name, default, environ)
    if value not in values:
        raise SettingError(f"{name} takes one of {', '.join(values)}, not {value!r}.")
    return value


def zone(name: str, default: str, environ: Mapping[str, str] = os.environ) -> str:
    """The name of a time zone."""
    value = text(name, default, environ)
    try:
        ZoneInfo(value)
    except (KeyError, OSError, ValueError) as error:
        raise SettingError(f"{name} takes the name of a time zone, such as Asia/Tokyo, not {value!r}.") from error
    return value


def items(name: str, default: str | None = None, environ: Mapping[str, str] = os.environ) -> list[str]:
    """A comma-separated list without empty items."""
    return [item.strip() for item in text(name, default, environ).split(",") if item.strip()]


def recipients(name: str, environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Comma-separated age recipients, or none: at least two, so that one lost identity loses no backup."""
    found = tuple(items(name, "", environ))
    for one in found:
        try:
            x25519.Recipient.from_str(one)
        except RecipientError as error:
            raise SettingError(f"{name} takes age recipients (age1…), comma-separated; {one!r} is not one.") from error
    if len(set(found)) != len(found):
        raise SettingError(f"{name} names a recipient twice: each takes an identity of its own.")
    if len(found) == 1:
        raise SettingError(f"{name} takes at least two recipients, one of them of an identity that is kept offline.")
    return found


def reference(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """A reference to a secret, such as `file:/run/secrets/age`, or nothing; never the secret."""
    found = text(name, "", environ)
    if found and not found.startswith(("env:", "file:", "op://")):
        raise SettingError(f"{name} takes a reference (env:NAME, file:PATH or op://…), never the secret itself.")
    return found


def hosts(name: str, default: str | None = None, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Comma-separated host names, without scheme, port, path or wildcard."""
    names = items(name, default, environ)
    for host in names:
        if any(mark in host for mark in "/:*@ ") or host != host.lower():
            raise SettingError(f"{name} takes bare host names in lower case, comma-separated; {host!r} is not one.")
    return names


def database(name: str, environ: Mapping[str, str] = os.environ) -> dict[str, object]:
    """Django's database settings from `postgres://user:password@host:port/name`."""
    wrong = SettingError(f"{name} takes postgres://user:password@host:port/name.")
    try:
        parts = urlsplit(text(name, None, environ))
    except ValueError:
        raise wrong from None
    if parts.scheme not in {"postgres", "postgresql"} or not parts.path.strip("/"):
        raise wrong
    try:
        port = parts.port
    except ValueError as error:
        raise SettingError(f"{name} has a port that is not a number.") from error
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.strip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(port or ""),
        # Persistent connections, no pool: django-q2's forked workers would share a pool's sockets.
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        # A server that vanished is noticed within a minute, not after hours.
        "OPTIONS": {
            "connect_timeout": 10,
            "keepalives_idle": 20,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 50_000,
            # A process paused in a transaction holds locks on rows, such as the head of the audit log, that others wait
            # for.
            "options": "-c idle_in_transaction_session_timeout=60000",
        },
    }
