"""Tokens, namespaces, D1, and what every answer carries."""

import pytest

from kvops.cloudflare import ApiError, AuthError, Cloudflare, KeyNotFound, KvEntry, NotFound
from tests.contract.target import UNKNOWN_TOKEN, Target


def test_the_namespace_is_listed_and_shown(cf: Cloudflare, ns: str) -> None:
    shown = cf.namespace(ns)
    assert shown.id == ns
    assert shown in cf.namespaces()


def test_an_unknown_namespace_is_404_with_its_code(cf: Cloudflare) -> None:
    with pytest.raises(NotFound, match="10013") as caught:
        cf.list_keys("f" * 32)
    assert not isinstance(caught.value, KeyNotFound)


def test_a_read_token_cannot_put_or_delete(target: Target, cf: Cloudflare, ns: str, prefix: str) -> None:
    with target.writer(token=target.read_token) as kv:
        with pytest.raises(AuthError):
            kv.bulk_put(ns, [KvEntry(f"{prefix}k", b"v", None, None)])
        with pytest.raises(AuthError):
            kv.bulk_delete(ns, [f"{prefix}k"])
    assert cf.exact_get(ns, f"{prefix}k") is None


def test_a_read_token_cannot_put_a_single_value(target: Target, keys: str, prefix: str) -> None:
    with target.raw(target.read_token) as api:
        assert api.put(f"{keys}/values/{prefix}k", content=b"v").status_code == 403


def test_a_write_token_reads_too(target: Target, ns: str, prefix: str) -> None:
    with target.reader(token=target.write_token) as cf:
        assert cf.list_keys(ns, prefix=prefix).keys == []


def test_an_unknown_token_is_refused(target: Target, ns: str) -> None:
    with target.reader(token=UNKNOWN_TOKEN) as cf, pytest.raises(AuthError) as caught:
        cf.list_keys(ns)
    assert caught.value.token_unknown


def test_every_answer_tells_the_rate_limit_and_its_request_id(target: Target, keys: str, prefix: str) -> None:
    with target.raw(target.read_token) as api:
        for path in (keys, f"{keys}/keys", f"{keys}/values/{prefix}missing"):
            assert {"ratelimit", "ratelimit-policy", "cf-ray"} <= set(api.get(path).headers)


def test_answers_tell_the_time(cf: Cloudflare, ns: str) -> None:
    cf.namespace(ns)
    assert cf.time() is not None


def test_the_database_is_listed(cf: Cloudflare, target: Target) -> None:
    assert target.database_id in [database.id for database in cf.databases()]


def test_d1_answers_a_query_with_rows(cf: Cloudflare, target: Target) -> None:
    found = cf.query(target.database_id, "SELECT ? AS text, 1 AS n, 1.5 AS x, NULL AS empty", ["日本"])
    assert found.rows == [{"text": "日本", "n": 1, "x": 1.5, "empty": None}]


def test_d1_tells_bytes_as_a_list_and_takes_parameters_as_text(cf: Cloudflare, target: Target) -> None:
    sql = "SELECT x'00ff' AS b, CAST(9007199254740993 AS TEXT) AS big, typeof(?1) AS p, ?1 AS said"
    found = cf.query(target.database_id, sql, ["1"])
    assert found.rows == [{"b": [0, 255], "big": "9007199254740993", "p": "text", "said": "1"}]


def test_d1_gives_rows_in_pages_by_key(cf: Cloudflare, target: Target) -> None:
    sql = (
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 25)"
        " SELECT i FROM n WHERE i > CAST(?1 AS INTEGER) ORDER BY i LIMIT 10"
    )
    seen = [row["i"] for last in ("0", "10", "20") for row in cf.query(target.database_id, sql, [last]).rows]
    assert seen == list(range(1, 26))


def test_d1_answers_a_query_without_rows(cf: Cloudflare, target: Target) -> None:
    assert cf.query(target.database_id, "SELECT 1 AS one WHERE 1 = 2").rows == []


def test_d1_compares_a_text_parameter_with_numbers_as_sqlite_does(cf: Cloudflare, target: Target) -> None:
    sql = "SELECT value FROM json_each('[1,2,10]') WHERE value > CAST(? AS INTEGER) ORDER BY value"
    assert [row["value"] for row in cf.query(target.database_id, sql, ["1"]).rows] == [2, 10]


def test_d1_refuses_bad_sql(cf: Cloudflare, target: Target) -> None:
    with pytest.raises(ApiError, match="7500") as caught:
        cf.query(target.database_id, "SELECT nothing FROM nowhere")
    assert caught.value.status == 400


def test_an_unknown_database_is_404(cf: Cloudflare) -> None:
    with pytest.raises(NotFound):
        cf.query("ffffffff-0000-4000-8000-000000000000", "SELECT 1 AS x")
