"""The wrangler files of a checkout: their bindings, and where they differ from environments.toml."""

import pytest

from kvops.references.wrangler_config import (
    KnownEnvironment,
    WranglerEnvironment,
    differences,
    proposed,
    wrangler_environments,
)

TOML = """
name = "a"
kv_namespaces = [{ binding = "SETTINGS", id = "n1" }]
[env.qa]
kv_namespaces = [{ binding = "CONFIG", id = "n2" }, { binding = "NEW" }]
[[env.qa.d1_databases]]
binding = "DB"
database_id = "d1"
"""
JSONC = """{
  // the bindings, see https://example.com
  "kv_namespaces": [{ "binding": "SETTINGS", "id": "n1", }, ], /* a // b */
  "name": "a // b",
  "r2_buckets": [{ "binding": "FILES", "bucket_name": "b" }],
}"""


def test_bindings_are_read_from_each_kind_of_file() -> None:
    found, unread = wrangler_environments(
        [("wrangler.toml", TOML), ("apps/x/wrangler.jsonc", JSONC), ("wrangler.json", "{"), ("other.toml", TOML)]
    )
    assert found == [
        WranglerEnvironment("wrangler.toml", "", {"SETTINGS": "n1"}, {}, {}),
        WranglerEnvironment("wrangler.toml", "qa", {"CONFIG": "n2", "NEW": ""}, {"DB": "d1"}, {}),
        WranglerEnvironment("apps/x/wrangler.jsonc", "", {"SETTINGS": "n1"}, {}, {"FILES": "b"}),
    ]
    assert unread == ["wrangler.json"]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"env": []}',
        '{"env": {"a b": {}}}',
        '{"kv_namespaces": [{"binding": "A B", "id": "n1"}]}',
        '{"kv_namespaces": [{"binding": "A", "id": "a secret"}]}',
        "[" * 100_000,
    ],
    ids=range(6),
)
def test_a_file_with_names_that_are_none_cannot_be_read(text: str) -> None:
    assert wrangler_environments([("wrangler.json", text)]) == ([], ["wrangler.json"])


def told(*known: KnownEnvironment, text: str = TOML) -> list[tuple[str, list[str]]]:
    """The differences as sentences, with the environments that they are about."""
    found, _ = wrangler_environments([("wrangler.toml", text)])
    return [(str(one.sentence), sorted(one.environments)) for one in differences(found, known)]


def test_differences_are_sentences_about_environments() -> None:
    production = KnownEnvironment("production", {"SETTINGS": "n1", "CACHE": "n9"}, {})
    assert told(production, KnownEnvironment("qa", {"SETTINGS": "n2"}, {})) == [
        ("wrangler.toml [env.qa]: the KV namespace n2 is bound as CONFIG, but qa calls it SETTINGS.", ["qa"]),
        ("wrangler.toml [env.qa]: NEW has no id, so its KV namespace is not known.", ["qa"]),
        ("wrangler.toml [env.qa]: the D1 database d1 under DB is in no environment.", ["qa"]),
        ("production/CACHE: no wrangler file binds the KV namespace n9.", ["production"]),
    ]


def test_an_environment_is_told_by_a_common_id_or_by_its_name_or_cannot_be_told() -> None:
    text = 'kv_namespaces = [{ binding = "A", id = "x" }]\n[env.qa]\nkv_namespaces = [{ binding = "B", id = "y" }]'
    assert [about for _sentence, about in told(KnownEnvironment("qa", {}, {}), text=text)] == [[], ["qa"]]


def test_a_binding_of_the_bucket_of_the_backups_is_told() -> None:
    text = 'r2_buckets = [{ binding = "FILES", bucket_name = "kept" }]'
    [(sentence, _about)] = told(KnownEnvironment("qa", {}, {}, bucket="kept"), text=text)
    assert sentence.startswith("wrangler.toml: FILES is the bucket kept of the backups")


def test_bindings_that_an_environment_does_not_have_are_proposed_for_it() -> None:
    found, _ = wrangler_environments([("wrangler.toml", TOML)])
    qa = KnownEnvironment("qa", {"SETTINGS": "n2"}, {})
    assert proposed(found, qa) == '[[environment.d1]]\nbinding = "DB"\ndatabase_id = "d1"\n'
    assert proposed(found, KnownEnvironment("production", {"SETTINGS": "n1"}, {})) == ""
