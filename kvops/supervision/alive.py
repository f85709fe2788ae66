"""Whether a process does its work, for a health check that starts within a second: `python -m kvops.supervision.alive`.

It loads no Django. `web` asks `/readyz` of this machine; `worker` and `sweep` read the heartbeat of that process.
Exit 0 if it is alive, 1 with a sentence otherwise.
"""

import http.client
import os
import socket
import sys
from collections.abc import Mapping, Sequence

import psycopg

from kvops import env, timing

_AGE = """
SELECT extract(epoch FROM clock_timestamp() - at) FROM kvops_heartbeat
WHERE split_part(name, '@', 1) = %s AND split_part(worker, ':', 1) IN ('', %s) ORDER BY at DESC LIMIT 1
"""
WITHIN = 5.0
"""Seconds for the answer of the web server or the database."""


class NotAlive(Exception):
    """The process does not do its work; the message gives the reason."""


def insist_web(environ: Mapping[str, str]) -> None:
    """Ask this machine's web server whether it may serve. Raises NotAlive."""
    host = env.items("ALLOWED_HOSTS", None, environ)[0].lstrip(".")
    connection = http.client.HTTPConnection("127.0.0.1", int(environ.get("PORT", "8000")), timeout=WITHIN)
    try:
        connection.request("GET", "/readyz", headers={"Host": host})
        status = connection.getresponse().status
    except OSError as error:
        raise NotAlive(f"The web server does not answer: {error}") from error
    finally:
        connection.close()
    if status != http.HTTPStatus.OK:
        raise NotAlive(f"The web server answers {status}.")


def insist_beats(name: str, environ: Mapping[str, str]) -> None:
    """Read the heartbeat of a process on this host. Raises NotAlive if it is missing or old."""
    try:
        url = env.text("DATABASE_URL", None, environ)
        with psycopg.connect(url, connect_timeout=int(WITHIN)) as connection:
            row = connection.execute(_AGE, [name, socket.gethostname()]).fetchone()
    except psycopg.Error as error:
        raise NotAlive(f"The database does not answer: {error}") from error
    if row is None or row[0] > timing.CANARY_LATE:
        raise NotAlive(f"{name} was {'never seen' if row is None else f'last seen {row[0]:.0f} s ago'}.")


def main(arguments: Sequence[str]) -> int:
    """The command line: `web`, `worker` or `sweep`."""
    if list(arguments) not in (["web"], ["worker"], ["sweep"]):
        sys.stderr.write("usage: python -m kvops.supervision.alive web | worker | sweep\n")
        return 2
    [name] = arguments
    try:
        if name == "web":
            insist_web(os.environ)
        else:
            insist_beats(name, os.environ)
    except (NotAlive, env.SettingError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
