"""D1, read only: a SELECT of constants on the first database of the environment."""

from backups.probe.bench import Bench
from backups.probe.findings import Behaviour, ProbeSeen, differs, judged, same, unknown
from kvops.cloudflare import ApiError, D1Rows
from kvops.models import Database

CONSTANTS = (
    "SELECT 1 AS i, 1.5 AS r, 'text 日本' AS t, NULL AS n, x'00ff' AS b,"
    " CAST(9007199254740993 AS TEXT) AS big, typeof(?1) AS p, ?1 AS said"
)
WANTED = {
    "i": 1,
    "r": 1.5,
    "t": "text 日本",
    "n": None,
    "b": [0, 255],
    "big": "9007199254740993",
    "p": "text",
    "said": "1",
}
ROWS = 25
PAGE = (
    "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 25)"
    " SELECT i FROM n WHERE i > CAST(?1 AS INTEGER) ORDER BY i LIMIT 10"
)


def _database(bench: Bench) -> Database | None:
    return Database.objects.filter(environment=bench.target.environment).order_by("binding").first()


NONE = "The environment has no D1 database in environments.toml."


def _query(bench: Bench, sql: str, *params: str) -> D1Rows | None:
    found = _database(bench)
    return None if found is None else bench.reader.query(found.database_id, sql, params)


def _types(bench: Bench) -> ProbeSeen:
    found = _query(bench, CONSTANTS, "1")
    if found is None:
        return unknown(NONE)
    [row] = found.rows or [{}]
    wrong = {name: row.get(name) for name, value in WANTED.items() if _told(row.get(name)) != _told(value)}
    return judged(not wrong, f"wrong: {wrong}" if wrong else "each type as documented")


def _told(value: object) -> str:
    """The value with its type: 1 and 1.0 are equal in Python."""
    return f"{type(value).__name__} {value!r}"


def _paging(bench: Bench) -> ProbeSeen:
    seen: list[object] = []
    for _page in range(ROWS // 10 + 2):
        found = _query(bench, PAGE, str(seen[-1] if seen else 0))
        if found is None:
            return unknown(NONE)
        seen += [row.get("i") for row in found.rows]
        if len(found.rows) < 10:
            break
    return judged(seen == list(range(1, ROWS + 1)), f"{len(seen)} rows, the last {seen[-1:]}")


def _refused(bench: Bench) -> ProbeSeen:
    try:
        found = _query(bench, "SELECT no_such_column")
    except ApiError as error:
        return judged(error.status == 400 and 7500 in error.codes, str(error))
    return unknown(NONE) if found is None else differs(f"200 with {len(found.rows)} rows")


def _rows_read(bench: Bench) -> ProbeSeen:
    found = _query(bench, "SELECT 1 AS one")
    if found is None:
        return unknown(NONE)
    return same(f"rows_read {found.rows_read}")


D1 = (
    Behaviour(
        "D1: types",
        "integer, real, text, null, bytes as a list, and parameters as text",
        "Checks against D1 report fields as different that are equal.",
        _types,
    ),
    Behaviour(
        "D1: paging",
        f"{ROWS} rows in pages by key, each once",
        "Checks against D1 and exports miss rows or read them twice.",
        _paging,
    ),
    Behaviour(
        "D1: refused statement",
        "400 with code 7500",
        "A page of D1 that is too large is not asked for again with fewer rows.",
        _refused,
    ),
    Behaviour("D1: meta", "rows_read is a whole number, or absent", "Checks against D1 cannot start.", _rows_read),
)
