"""Unclassified keys by the shape of their names."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit import log
from backups.families import sampling, shapes
from kvops.models import Category, Key, Namespace, Run, Scan, ScanCount
from kvops.runs import driver as run_driver
from tests import make
from tests.backups.families.registering import scanned, text_of
from tests.signing import signed_in

UUID = "5f1c9a0b-7e21-4c55-9a3d-0123456789ab"
SHAPES = {
    "session:5f1c9a0b7e": "session:<hex>",
    "user:42:profile": "user:<number>:profile",
    UUID: "<uuid>",
    f"cart/{UUID}/items": "cart/<uuid>/items",
    "report:2026-11-28": "report:<date>",
    "report_20_x.json": "report_<number>_x.json",
    "mail:a.b@example.com": "mail:<mail>",
    "token:aZ3kq9Lm2Xc7Vb1Q": "token:<id>",
    "system-root": "system-root",
    "deadbeefcafe": "deadbeefcafe",
    "キー:1": "キー:<number>",
    "": "",
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_name_has_a_shape(name: str) -> None:
    assert shapes.shape_of(name) == SHAPES[name]


def unclassified(namespace: Namespace, *names: str, expiration: int | None = None) -> None:
    """Keys of the inventory as a scan would leave them."""
    with log.transaction():
        run = run_driver.create(
            Run.Kind.SCAN, subject=f"namespace:{namespace.pk}", label="x", actor=make.SETUP,
            environment=namespace.environment,
        )  # fmt: skip
    scan = Scan.objects.create(namespace=namespace, run=run, completed_at=run.created_at)
    Key.objects.bulk_create(
        Key(namespace=namespace, name=name, expiration=expiration, first_seen=scan) for name in names
    )
    ScanCount.objects.create(scan=scan, category=Category.UNCLASSIFIED, keys=len(names))


def found(*namespaces: Namespace) -> shapes.ShapesFound:
    return shapes.found_shapes(namespaces)


def test_keys_are_grouped_with_counts_samples_and_a_proposal(estate: make.Estate) -> None:
    scanned(estate, "session:0000000a", "session:0000000b", "user:1:profile", "flag", "master:1")
    first, *rest = found(estate.qa, estate.production).groups
    assert (first.shape, first.keys, first.samples) == ("session:<hex>", 2, ["session:0000000a", "session:0000000b"])
    assert (first.pattern, first.exact, first.category) == ("session:", False, "")
    assert first.counts == [("qa", "QA", 2, False)]
    assert [(one.shape, one.exact, one.category) for one in rest] == [
        ("flag", True, "settings"), ("user:<number>:profile", False, "")
    ]  # fmt: skip


def test_keys_that_all_expire_are_proposed_as_a_cache(estate: make.Estate) -> None:
    unclassified(estate.qa, "a:1", "a:2", expiration=2_000_000_000)
    assert [group.category for group in found(estate.qa).groups] == ["cache"]


def test_one_shape_of_two_environments_is_one_group(estate: make.Estate) -> None:
    unclassified(estate.qa, "a:1")
    unclassified(estate.production, "a:1", "a:2")
    [group] = found(estate.qa, estate.production).groups
    assert [(slug, keys) for slug, _name, keys, _more in group.counts] == [("qa", 1), ("production", 2)]
    assert group.samples == ["a:1", "a:2"]


def test_many_words_in_one_place_are_a_placeholder(estate: make.Estate) -> None:
    names = [f"user:{chr(97 + n) * 3}:mail" for n in range(13)]
    unclassified(estate.qa, *names, "user:few:x", "user:words:x")
    assert {group.shape for group in found(estate.qa).groups} == {
        "user:<text>:mail", "user:few:x", "user:words:x"
    }  # fmt: skip


def test_ids_that_look_narrower_by_chance_are_of_the_same_shape(estate: make.Estate) -> None:
    unclassified(estate.qa, "s:5f1c9a0b7e", "s:1234567890", "s:abcdefabcd", "t:aZ3kq9Lm2Xc7Vb1Q", "t:5f1c9a0b7e", "u:1")
    assert {group.shape for group in found(estate.qa).groups} == {"s:<hex>", "t:<id>", "u:<number>"}


def test_names_without_a_common_beginning_have_no_proposal(estate: make.Estate, people: make.People) -> None:
    unclassified(estate.qa, UUID)
    assert found(estate.qa).groups[0].pattern == ""
    assert "no common beginning" in text_of(signed_in(people.auditor), "/categories/shapes/")


def test_no_head_hides_another_and_the_work_is_bounded(estate: make.Estate) -> None:
    names = [f"a:{n:06}" for n in range(3000)] + ["a:y", "b:1", "b:2"]
    names += [f"c{n % 16:x}{n:030x}" for n in range(1000)] + [f"cart/{n}" for n in range(500)]
    unclassified(estate.qa, *names)
    with CaptureQueriesContext(connection) as queries:
        [sampled] = sampling.sample([estate.qa])
    assert {shapes.shape_of(name) for name in sampled.names} == {
        "a:<number>", "a:y", "b:<number>", "<hex>", "cart/<number>"
    }  # fmt: skip
    assert (sampled.complete, sampled.total, sampled.partial) == (True, len(names), {"a:", "c", "cart/"})
    assert len(sampled.names) < 1_700
    assert len(queries) <= 6


def test_a_head_that_was_read_from_both_ends_is_whole(estate: make.Estate) -> None:
    unclassified(estate.qa, *[f"a:{n:06}" for n in range(300)])
    [sampled] = sampling.sample([estate.qa])
    assert (len(sampled.names), sampled.partial) == (300, set())


def test_a_walk_that_does_not_come_to_the_end_says_so(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "MOST_BATCHES", 2)
    monkeypatch.setattr(sampling, "BATCH", 2)
    unclassified(estate.qa, *[f"{head}:{n}" for head in "abcd" for n in range(9)])
    assert not sampling.sample([estate.qa])[0].complete
    shown = text_of(signed_in(people.auditor), "/categories/shapes/")
    assert "of 36 unclassified names were read" in shown
    assert "the rest was not reached" in shown
    assert "9+" in shown


def test_the_page_shows_the_shapes_with_the_most_keys(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "SHOWN", 1)
    unclassified(estate.qa, "a:1", "a:2", "b:1")
    shown = text_of(signed_in(people.operator), "/categories/shapes/")
    assert "1 more shape has fewer keys" in shown
    assert "pattern=a%3A&sample_key=a%3A1" in shown


def test_without_unclassified_keys_the_page_says_so(estate: make.Estate, people: make.People) -> None:
    shown = text_of(signed_in(people.auditor), "/categories/shapes/")
    assert "No unclassified keys" in shown
    assert "not scanned" in shown


def test_a_name_of_the_highest_characters_ends_the_walk(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "BATCH", 1)
    unclassified(estate.qa, "\U0010ffff1", "\U0010ffff2", "\U0010ffff3")
    [sampled] = sampling.sample([estate.qa])
    assert (sampled.complete, "\U0010ffff3" in sampled.names) == (True, True)
