"""Digests against their definition, written down here once more; what an approval is bound to hangs on them."""

import hmac
import json
from collections.abc import Callable
from hashlib import sha256

import pytest

from backups.archive import digests
from backups.archive.digests import EntryDigests
from backups.archive.errors import Damaged, ManifestError
from backups.cleanup import evidence as cleanup_evidence, qa
from backups.models import CleanupRequest, CleanupStage
from kvops.models import Category
from tests import make
from tests.gate import world as gate

NAME, VALUE, METADATA, EXPIRATION = "master:薬:1", b"\x00value\xff", '{"a": 1.0}', 1_800_000_000


def field(data: bytes | None) -> bytes:
    return b"\xff\xff\xff\xff" if data is None else len(data).to_bytes(4, "big") + data


KEY = b"k" * 32
HASHED: dict[bytes | None, Callable[[bytes], bytes]] = {
    None: lambda data: sha256(data).digest(),
    KEY: lambda data: hmac.new(KEY, data, sha256).digest(),
}
"""What a digest is made of, without a key and with one."""


def expected(metadata: str | None, expiration: int | None, key: bytes | None = None) -> bytes:
    hashed = HASHED[key]
    parts = [NAME.encode(), hashed(VALUE), metadata and metadata.encode(), expiration and b"%d" % expiration]
    return hashed(b"kvops:entry:1\0" + b"".join(field(part or None) for part in parts))


@pytest.mark.parametrize("key", HASHED)
@pytest.mark.parametrize("metadata", [None, METADATA])
@pytest.mark.parametrize("expiration", [None, EXPIRATION])
def test_an_entry_is_digested_as_defined(metadata: str | None, expiration: int | None, key: bytes | None) -> None:
    value = HASHED[key](VALUE)
    assert digests.hashed(VALUE, key) == value
    assert digests.entry_digest(NAME, value, metadata, expiration, key) == expected(metadata, expiration, key)


def test_a_key_has_a_name_that_tells_nothing_of_it() -> None:
    assert digests.key_id(KEY) == HASHED[KEY](b"kvops:digest-key:1").hex()[:16]


def test_a_root_is_over_all_digests_in_their_order_and_their_number() -> None:
    leaves = [sha256(bytes([number])).digest() for number in range(3)]
    whole = sha256(b"kvops:root:1\0" + b"".join(leaves) + (3).to_bytes(8, "big")).hexdigest()
    assert digests.digest_root(leaves) == whole
    root = digests.Root()
    assert root.hexdigest() == sha256(b"kvops:root:1\0" + bytes(8)).hexdigest()
    for leaf in leaves:
        root.add(leaf)
    assert root.hexdigest() == root.hexdigest() == whole


def test_names_are_digested_with_their_lengths() -> None:
    names = ["a", "aé", "b"]
    assert digests.names_sha256(names) == sha256(b"".join(field(name.encode()) for name in names)).hexdigest()
    assert digests.names_sha256([]) == sha256().hexdigest()


@pytest.mark.parametrize("names", [["b", "a"], ["a", "a"], ["\U0001f600", "\uff21"]])
def test_names_out_of_place_have_no_digest(names: list[str]) -> None:
    with pytest.raises(
        ManifestError, match=f"^Names must be sorted by their bytes, each once: {names[1]!r} is out of place.$"
    ):
        digests.names_sha256(names)


@pytest.mark.parametrize("key", HASHED)
@pytest.mark.parametrize("metadata", [None, METADATA])
@pytest.mark.parametrize("expiration", [None, EXPIRATION, -1])
def test_a_line_of_digests_is_written_and_read(metadata: str | None, expiration: int | None, key: bytes | None) -> None:
    one, hashed = EntryDigests.of(NAME, VALUE, metadata, expiration, key), HASHED[key]
    hexes = [hashed(NAME.encode()).hex(), hashed(VALUE).hex()]
    hexes.append(hashed(metadata.encode()).hex() if metadata else "-")
    entry = digests.entry_digest(NAME, hashed(VALUE), metadata, expiration, key).hex()
    written = digests.encode_digests([one, one])
    line = f"{entry} {' '.join(hexes)} {'-' if expiration is None else expiration}\n".encode()
    assert written == b"# kvops digests 1: entry name value metadata expiration\n" + line * 2
    assert list(digests.read_digests(written)) == [one, one]


def test_digests_without_their_header_are_damaged() -> None:
    with pytest.raises(Damaged, match=r"^The digests do not start with the header of format 1\.$"):
        list(digests.read_digests(b"x" + digests.encode_digests([])))


@pytest.mark.parametrize("cut", [1, 2, 70])
def test_digests_that_are_cut_off_are_damaged_from_there_on(cut: int) -> None:
    one = EntryDigests.of(NAME, VALUE, None, None)
    written = digests.encode_digests([one, one])
    at = len(digests.encode_digests([one]))
    found = digests.read_digests(written[:-cut])
    assert next(found) == one
    with pytest.raises(Damaged, match=rf"^The digests are damaged or cut off at byte {at}\.$"):
        next(found)


def test_more_than_a_line_holds_is_damaged() -> None:
    line = EntryDigests.of(NAME, VALUE, None, None).line()
    with pytest.raises(Damaged, match="damaged"):
        list(digests.read_digests(digests.encode_digests([]) + line[:-1] + b" x\n"))


# The scope


@pytest.mark.django_db
def test_the_scope_is_what_is_cleaned_up_and_by_which_rules(request_: CleanupRequest) -> None:
    definition = {
        "binding": "SETTINGS", "prefix": "master:", "database": "MASTERS_D1", "table": "masters",
        "key": "master:{type}:{id}", "fields": {"id": "id", "type": "type", "name": "name"}, "ignore": ["updated_at"],
        "only_in_d1": "block", "holds": "row", "path": "", "row": "", "beside": [],
        "rules": ["integer_boolean", "null_absent"], "field_rules": {},
    }  # fmt: skip
    family = {"category": "legacy", "expiry": "none", "read": "bulk", "encrypt": False}
    scope = {
        "format": 1, "binding": "SETTINGS", "category": "legacy", "prefix": "master:", "exact": False,
        "rules": {"family SETTINGS master:*": family, "dataset masters": definition},
    }  # fmt: skip
    stages = [gate.stage_of(request_, slug) for slug in ("qa", "production")]
    assert {qa.scope_digest(stage) for stage in stages} == {sha256(text(scope)).hexdigest()}


def text(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


SCOPES: dict[str, Callable[[], object]] = {
    "expiry": make.another_policy,
    "a nested family": lambda: make.family("master:kept:", Category.CACHE),
    "a nested key": lambda: make.family("master:a:1", Category.SETTINGS, exact=True),
    "dataset": lambda: make.change_datasets(ignore=[]),
    "no dataset": lambda: make.change_datasets(prefix="other:"),
    "family": lambda: make.change_families("master:", encrypt=True),
}


@pytest.mark.django_db
@pytest.mark.parametrize("change", SCOPES)
def test_another_rule_is_another_scope(request_: CleanupRequest, change: str) -> None:
    before = qa.scope_digest(gate.stage_of(request_))
    SCOPES[change]()
    assert qa.scope_digest(gate.stage_of(request_)) != before


OTHERS: dict[str, Callable[[], object]] = {
    "another family": lambda: make.family("stock:", Category.LEGACY),
    "a family above": lambda: make.family("mas", Category.CACHE),
    "owner and note": lambda: make.change_families("master:", owner="others", note="typo mended"),
    "retention": lambda: make.change_families("master:", retain_days=60),
    "another family's rules": lambda: make.change_families("mastercache:", encrypt=True),
}


@pytest.mark.django_db
@pytest.mark.parametrize("change", OTHERS)
def test_a_rule_of_other_keys_is_the_same_scope(request_: CleanupRequest, change: str) -> None:
    before = qa.scope_digest(gate.stage_of(request_))
    OTHERS[change]()
    assert qa.scope_digest(gate.stage_of(request_)) == before


@pytest.mark.django_db
def test_the_digest_of_a_stage_is_that_of_its_evidence(request_: CleanupRequest) -> None:
    stage: CleanupStage = gate.checked(request_)
    assert cleanup_evidence.evidence_digest(stage) == sha256(text(cleanup_evidence.build(stage))).hexdigest()
