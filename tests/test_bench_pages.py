"""The rows that the bench of the pages makes: an audit log that the product would have written, and its moments."""

import dataclasses
from datetime import UTC, datetime
from itertools import pairwise

from audit.actions import Action
from audit.chain import GENESIS, Link, canonical_entry, entry_hash, problems
from bench.figures import Figure
from bench.pages import entries
from bench.pages.figures import p95
from bench.pages.sizes import DAYS, SMALL, Sizes

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SIZES = Sizes(SMALL)


def chain() -> list[Link]:
    """The entries of the small installation as links."""
    links, last = [], GENESIS
    for content in entries.contents(SIZES, NOW):
        canonical = canonical_entry(content)
        row_hash = entry_hash(last, canonical)
        links.append(Link(content=content, canonical=canonical, prev_hash=last, row_hash=row_hash))
        last = row_hash
    return links


def test_the_entries_are_a_valid_chain() -> None:
    links = chain()
    assert len(links) == SIZES.entries
    assert list(problems(links, head_sequence=SIZES.entries, head_hash=links[-1].row_hash)) == []
    changed = dataclasses.replace(links[-1].content, actor="another")
    links[-1] = dataclasses.replace(links[-1], content=changed)
    assert list(problems(links, head_sequence=SIZES.entries, head_hash=links[-1].row_hash))


def test_the_entries_are_of_actions_that_the_product_knows() -> None:
    assert {content.action for content in entries.contents(SIZES, NOW)} <= set(Action.values)


def test_the_moments_go_from_years_ago_to_now() -> None:
    for sizes in SIZES, Sizes(10_000_000):
        before = [sizes.seconds_before(run) for run in range(0, sizes.runs, sizes.runs // 500)]
        assert all(one > other for one, other in pairwise(before))
        assert before[0] == DAYS * 86_400
        assert sizes.seconds_before(sizes.runs) == 0


def test_the_p95_of_twenty_requests_is_the_second_slowest() -> None:
    assert p95([float(ms) for ms in range(20)]) == 18
    assert not Figure("x", 1.6, 1, 1.5).met
