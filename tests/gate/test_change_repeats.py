"""A change repeats the one of QA that was named, and its evidence has its own backup: without a row."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest

from audit import log
from backups import archive, policy
from backups.changes import evidence as change_evidence, proposal as proposals, requests as change_requests
from backups.changes.moves import CHANGES
from backups.changes.proposal import Proposal, ProposalRefused
from backups.execution import evidence as shared
from backups.execution.lifecycle import Lifecycle
from backups.models import Generation, KeyChange
from kvops.cloudflare import KvEntry
from kvops.inventory import value as key_value
from kvops.models import Category, Environment, Namespace
from tests import keys


@pytest.fixture
def change() -> KeyChange:
    environment = Environment(pk=1, slug="qa")
    namespace = Namespace(pk=2, environment=environment, binding="SET")
    return KeyChange(
        pk=5, environment=environment, namespace=namespace, state="draft", asked_by_id=9, object_sha256="1" * 64,
        new_key=True, name="mail:smtp",
    )  # fmt: skip


def test_the_named_change_of_qa_is_the_one_that_is_looked_at(
    change: KeyChange, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, by, earlier = list[object](), cast("Any", SimpleNamespace(pk=9)), KeyChange(pk=3)
    monkeypatch.setattr(log, "transaction", nullcontext)
    monkeypatch.setattr(change_requests, "insist_operator", lambda _by: None)
    monkeypatch.setattr(change_requests, "locked", lambda _change: change)
    monkeypatch.setattr(change_requests, "_insist_qa", lambda *given: asked.append(given))
    monkeypatch.setattr(change_evidence, "build", lambda _change: {})
    monkeypatch.setattr(Lifecycle, "submit", lambda mine, *_, **__: asked.append(mine))
    change_requests.submit(change, reason="no longer needed", repeats=earlier, by=by)
    assert asked == [(change, earlier), CHANGES]


def test_the_evidence_has_the_backup_of_the_change_with_its_place(
    change: KeyChange, monkeypatch: pytest.MonkeyPatch
) -> None:
    change.generation_id = 7
    related = {("environment", "namespace"): SimpleNamespace(get=lambda *, pk: {7: "backup"}[pk])}
    monkeypatch.setattr(Generation, "objects", SimpleNamespace(select_related=lambda *names: related[names]))
    monkeypatch.setattr(shared, "backup", lambda of: {"of": of})
    monkeypatch.setattr(policy, "shown", dict)
    monkeypatch.setattr(key_value, "category_of", lambda *_: Category.SETTINGS)
    assert change_evidence.build(change)["generation"] == {"of": "backup"}


def test_a_proposal_that_cannot_be_opened_is_named_and_a_long_one_is_read_whole(
    change: KeyChange, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Proposal(("qa", "a", "b", "mail:smtp"), None, KvEntry("mail:smtp", b"x" * 200_000, None, None))
    body = whole.sealed(keys.RECIPIENTS)
    decrypt = archive.decrypt

    def in_pieces(*given: Any) -> Any:
        plain = b"".join(decrypt(*given))
        return iter([plain[:9], plain[9:]])

    change.object_key, change.object_sha256 = "proposals/x", proposals.digest(body)
    store: Any = SimpleNamespace(head=lambda _key: SimpleNamespace(size=1), get=lambda _key: body)
    with pytest.raises(ProposalRefused, match=r"^proposals/x cannot be opened by this process\.$"):
        proposals.opened(change, store, [keys.STRANGER])
    monkeypatch.setattr(archive, "decrypt", in_pieces)
    assert proposals.unsealed(body, "proposals/x", [keys.OFFLINE]) == whole
