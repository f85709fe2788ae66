"""Settings from the environment, read once. A wrong setting is refused at start. No Django."""

import math
import os
import re
import secrets
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit
from zoneinfo import ZoneInfo

from pyrage import RecipientError, x25519

WORKER = {"MALLOC_MMAP_THRESHOLD_": "131072"}
"""Environment variables for a worker's cluster. With this threshold glibc returns the memory of each part of a backup,
instead of raising the threshold after the first part (`make bench BENCH=memory` sets it, too)."""


CI = {
    "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none",
    "ALLOWED_HOSTS": "localhost",
    "KVOPS_ALLOWED_API_HOSTS": "localhost",
    "KVOPS_BASE_URL": "https://localhost",
    "SMTP_HOST": "localhost",
}
"""Settings that lead nowhere, for commands that only read code."""
_DATABASE = {"DATABASE_URL", "DATABASE_URL_FILE"}
FILES: set[Path] = set()
"""The files that settings of this process were read from, for the doctor."""


class SettingError(Exception):
    """A setting is missing or invalid; the message names it and its valid form."""


def settings_of_ci(arguments: Sequence[str], environ: MutableMapping[str, str]) -> str:
    """Let a command that only reads code start without settings of KVOps. Returns why it cannot, or nothing.

    A pipeline may have settings of the same names for the team's own code.
    """
    command, options = arguments[:1], {one.partition("=")[0] for one in arguments}
    if command == ["lint_references"] or (command == ["scan_references"] and {"--output", "--policy"} <= options):
        ours = CI | {"SECRET_KEY": secrets.token_urlsafe(64)}
        for name in [one for one in environ if one.removesuffix("_FILE") in ours or one.startswith("SMTP_")]:
            del environ[name]
        environ.update(ours)
    elif command == ["scan_references"] and "--output" in options and not _DATABASE & environ.keys():
        return "scan_references --output takes --policy FILE where no DATABASE_URL is set."
    return ""


def text(name: str, default: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """The variable `name`, or the contents of the file in `NAME_FILE`. Raises SettingError if neither is set."""
    path = environ.get(f"{name}_FILE")
    if path and name in environ:
        raise SettingError(f"Set {name} or {name}_FILE, not both.")
    if path:
        if environ is os.environ:
            FILES.add(Path(path))
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


def whole(name: str, default: int, environ: Mapping[str, str] = os.environ, *, least: int, most: int) -> int:
    """A whole number from `least` to `most`."""
    found = number(name, default, environ)
    if found != int(found) or not least <= found <= most:
        raise SettingError(f"{name} takes a whole number from {least} to {most}, not {found:g}.")
    return int(found)


def origin(name: str, default: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """An address without a path, such as https://kvops.example.com."""
    return _origin(name, text(name, default, environ).rstrip("/"))


def origins(name: str, default: str | None = None, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Comma-separated addresses without a path."""
    return [_origin(name, item) for item in items(name, default, environ)]


def _origin(name: str, value: str) -> str:
    if not re.fullmatch(r"https?://(\*\.)?[A-Za-z0-9.-]+(:[0-9]+)?|https?://\[[0-9A-Fa-f:]+\](:[0-9]+)?", value):
        raise SettingError(f"{name} takes an address such as https://kvops.example.com, without a path, not {value!r}.")
    return value


SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
PASSED_ON = frozenset(
    [
        "channel_binding",
        "gssencmode",
        "krbsrvname",
        "require_auth",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslmode",
        "sslnegotiation",
        "sslrootcert",
        "target_session_attrs",
    ]
)
"""The parameters of a database URL that libpq gets as they are. Any other is refused, so that none is dropped."""


def networks(name: str, environ: Mapping[str, str] = os.environ) -> tuple[IPv4Network | IPv6Network, ...]:
    """Comma-separated addresses or networks, such as `10.0.0.7,10.1.0.0/16`, or none."""
    try:
        return tuple(ip_network(one) for one in items(name, "", environ))
    except ValueError as error:
        raise SettingError(f"{name} takes IP addresses or networks, comma-separated: {error}.") from error


def bearer(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """A token that callers send, at least 32 characters of ASCII without spaces, or nothing."""
    token = text(name, "", environ)
    if token and (len(token) < 32 or not token.isascii() or not token.isprintable() or " " in token):
        raise SettingError(f"{name} takes at least 32 random characters without spaces, or nothing.")
    return token


def address(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """An https:// address, or plain http on this machine, or nothing. It may be a secret, so no error quotes it."""
    found = text(name, "", environ)
    if not found:
        return ""
    wrong = SettingError(f"{name} takes an https:// address; plain http is for this machine only.")
    try:
        parts = urlsplit(found)
        local = parts.hostname in {"127.0.0.1", "localhost"}
    except ValueError:
        raise wrong from None
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise wrong
    return found


def process(argv: Sequence[str]) -> str:
    """The name of this process for Postgres: `kvops worker` for `manage.py worker`, `kvops web` for the web server."""
    command = argv[1] if len(argv) > 1 and Path(argv[0]).name == "manage.py" else "web"
    return f"kvops {command}"[:63]


def database(
    name: str, environ: Mapping[str, str] = os.environ, *, application_name: str = "kvops"
) -> dict[str, object]:
    """Django's database settings from `postgres://user:password@host:port/name?sslmode=verify-full`.

    The host may be the folder of a socket: `postgres://user@/name?host=/run/postgresql`.
    """
    wrong = SettingError(
        f"{name} takes postgres://user:password@host:port/name. Write # ? / @ : and % of a password as %23 %3F %2F %40 "
        "%3A and %25."
    )
    try:
        parts = urlsplit(text(name, None, environ))
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise wrong from None
    if parts.scheme not in {"postgres", "postgresql"} or not parts.path.strip("/") or parts.fragment:
        raise wrong
    try:
        port = parts.port
    except ValueError as error:
        raise SettingError(f"{name} has a port that is not a number. {wrong}") from error
    parameters = _parameters(name, given)
    place = _host(parts)
    if place and "host" in parameters:
        raise SettingError(f"{name} names a host before the database and in ?host=: leave one out.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.strip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parameters.pop("host", place),
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
            "application_name": application_name,
            # Timeouts belong to the roles (`setup_roles`): a pool such as PgBouncer refuses start-up options.
            **parameters,
        },
    }


def _parameters(name: str, given: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The parameters of a database URL. Raises SettingError for one that is not passed on."""
    found: dict[str, str] = {}
    for parameter, value in given:
        if parameter not in PASSED_ON | {"host"}:
            known = ", ".join(sorted(PASSED_ON | {"host"}))
            raise SettingError(
                f"{name} has the parameter {parameter!r}, which KVOps does not pass on. It takes: {known}."
            )
        if parameter in found or not value:
            raise SettingError(f"{name} takes the parameter {parameter} once, with a value.")
        found[parameter] = value
    if found.get("sslmode", "prefer") not in SSL_MODES:
        raise SettingError(f"{name} takes one of {', '.join(SSL_MODES)} for sslmode, not {found['sslmode']!r}.")
    if not found.get("host", "/").startswith("/"):
        raise SettingError(f"{name} takes the folder of a socket for host, such as ?host=/run/postgresql.")
    return found


def _host(parts: SplitResult) -> str:
    """The host before the path; the folder of a socket is written in percent-encoding, and `hostname` lowers it."""
    written = parts.netloc.rpartition("@")[2].partition(":")[0]
    return unquote(written) if "%2f" in written.lower() else parts.hostname or ""
