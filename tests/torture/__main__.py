"""`python -m tests.torture [--row ROW] [--seed S] [--n N]`: break the product N times in one way, or in every way.

Works in a database of its own beside DATABASE_URL. What was cut short goes on where it stopped: finished trials are
kept in `.torture/` until a row is complete; then its figures go into `results/torture.md`. Exit 1 on a missed target,
whose trials are kept as `.missed`.
"""

import argparse
import os
from urllib.parse import urlsplit

import psycopg
from psycopg import sql


def main() -> int:
    """Run the named row, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--row", default="", help="all without it")
    parser.add_argument("--seed", type=int, default=20260101)
    parser.add_argument("--n", type=int, default=0, help="trials; each row has its own number")
    options = parser.parse_args()
    _database_of_our_own()

    # The settings of the tests, then Django, then what needs both.
    import tests.environ  # noqa: F401, PLC0415, I001
    import django  # noqa: PLC0415

    django.setup()
    from django.core.management import call_command  # noqa: PLC0415

    from tests.torture import rows, running  # noqa: PLC0415

    known = rows.rows()
    if options.row and options.row not in known:
        parser.error(f"There is no {options.row}; there are {', '.join(known)}.")
    call_command("migrate", verbosity=0)
    chosen = [known[options.row]] if options.row else list(known.values())
    missed = sum(running.run(row, seed=options.seed, n=options.n or row.n) for row in chosen)
    return 1 if missed else 0


def _database_of_our_own() -> None:
    """Point DATABASE_URL at an empty database beside the given one."""
    given = os.environ.get("DATABASE_URL")
    if not given:
        raise SystemExit("Set DATABASE_URL, or use `make torture`, which starts a Postgres for it.")
    name = f"{urlsplit(given).path.strip('/')}_torture"
    with psycopg.connect(given, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    os.environ["DATABASE_URL"] = urlsplit(given)._replace(path=f"/{name}").geturl()


if __name__ == "__main__":
    raise SystemExit(main())
