"""The table's part about Documents in 1Password."""

from django.db.models.functions import Now

from backups.models import VaultDocument
from tests.constraints.backups_world import BackupsWorld
from tests.constraints.estate import SHA, again, change
from tests.constraints.rows import RowAttempt, columns

STORED: dict[str, object] = {
    "state": "kept",
    "item": "i",
    "title": "t",
    "sha256": SHA,
    "kept_at": Now(),
    "seen_at": Now(),
}


def document(w: BackupsWorld, **values: object) -> VaultDocument:
    """A Document that is being put into a vault."""
    made = {"generation": w.generation(), "vault": "v", "run": w.run(), "actor": "x"}
    return VaultDocument.objects.create(**{**made, **values})


def stored(w: BackupsWorld, **values: object) -> VaultDocument:
    """A Document in the vault."""
    return document(w, **{**STORED, **values})


KNOWN = "document_kept_is_known_by_its_item"
VAULT = [
    RowAttempt("document_once_per_vault", lambda w: again(document(w))),
    RowAttempt("document_names_its_vault", lambda w: document(w, vault="")),
    RowAttempt("document_state_is_known", lambda w: stored(w, state="x")),
    RowAttempt("document_waiting_has_a_run", lambda w: document(w, run=None)),
    RowAttempt(KNOWN, lambda w: document(w, kept_at=Now()), "waiting"),
    *[RowAttempt(KNOWN, lambda w, name=name: stored(w, **{name: ""}), name) for name in ("item", "title", "sha256")],  # type: ignore[misc]
    *[RowAttempt(KNOWN, lambda w, name=name: stored(w, **{name: None}), name) for name in ("kept_at", "seen_at")],  # type: ignore[misc]
    RowAttempt("document_lost_has_a_time", lambda w: stored(w, state="gone"), "no time"),
    RowAttempt("document_lost_has_a_time", lambda w: stored(w, lost_at=Now()), "not lost"),
    RowAttempt("documents in 1Password are never forgotten", lambda w: stored(w).delete()),
    *columns("what a document is of cannot be edited", stored, {"generation_id": 0, "vault": "w", "asked_at": Now()}),
    RowAttempt(
        "a document that was kept does not wait again",
        lambda w: change(stored(w), state="waiting", kept_at=None, seen_at=None),
    ),
]
