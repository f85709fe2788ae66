"""Proposing a change: the key is read, the proposal is written into the bucket, and the old value is backed up.

The row and its audit entry are committed before the object is put. If the put fails, the change is given up. This
runs in the web server, which can write a proposal and open it, and can open no backup.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db.models.functions import Now
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from audit.chain import JSON
from audit.models import Entry
from backups.bucket import access as bucket_access, protection as bucket_protection
from backups.bucket.store import StoreError
from backups.changes import proposal as proposals, review_key
from backups.changes.moves import ChangeRefused, end, insist_operator, record_change
from backups.changes.proposal import Proposal
from backups.generations import start as generation_start
from backups.models import Generation, KeyChange
from kvops import clock, rollback, timing
from kvops.cloudflare import KvEntry, NameRefused
from kvops.connections import clients
from kvops.inventory import value as key_value
from kvops.models import Category, Environment, Namespace, Person
from kvops.names import workable
from kvops.runbook import procedures
from kvops.wording import say

LONGEST = key_value.SHOWN
"""Bytes of a new value. A reveal shows as many, so the reviewer sees all of it."""

WARNINGS = {
    "no_json": _("The old value is JSON, and the new one is not."),
    "empty": _("The new value is empty."),
    "expires": _("The key gets an expiration: KV deletes it at that time."),
}
"""What a reviewer should look at twice, by its code."""

CONFIRMED = ("no_json", "empty")
"""Warnings that the editor asks to confirm."""

TRIES = 5
"""Values of one key that a person may have compared with the masked one within `timing.TRIES_COUNTED`."""


class NotConfirmed(ChangeRefused):
    """The proposal has warnings that are not confirmed; `warnings` are their sentences."""

    def __init__(self, warnings: Sequence[Promise]) -> None:
        super().__init__(_("Look at the warnings and confirm them."))
        self.warnings = warnings


@dataclass(frozen=True)
class Wish:
    """The parts that a person sets; None leaves a part as it is. `repr` shows no value.

    `metadata` and `expiration` are one-element tuples, because None is a value of both.
    """

    value: bytes | None = None
    metadata: tuple[str | None] | None = None
    expiration: tuple[int | None] | None = None

    def __repr__(self) -> str:
        return "Wish()"

    def applied_to(self, name: str, old: KvEntry | None) -> KvEntry:
        """The new entry. Raises ChangeRefused for a new key without a value."""
        value = self.value if self.value is not None else old.data if old else None
        if value is None:
            raise ChangeRefused(_("This key is new: give its value."))
        metadata = self.metadata[0] if self.metadata else old.metadata if old else None
        expiration = self.expiration[0] if self.expiration else old.expiration if old else None
        return KvEntry(name, value, expiration, metadata)


def live_entry(namespace: Namespace, name: str) -> KvEntry | None:
    """The entry that KV has now; None if it is absent. Raises ChangeRefused and CloudflareError."""
    if not workable(name):
        raise ChangeRefused(_("No key can have this name."))
    try:
        with clients.reader(namespace.environment) as client:
            return client.exact_get(namespace.namespace_id, name)
    except NameRefused as refused:
        raise ChangeRefused(_("Cloudflare refuses to read a key of this name singly.")) from refused


def propose(
    namespace: Namespace, name: str, *, old: KvEntry | None, wish: Wish, by: Person, confirmed: bool = True
) -> KeyChange:
    """Propose a change of a key from the entry `old`, None for a new key. Nothing is written to KV.

    All checks that do not depend on the old value come first, so that the order of the answers tells nothing about it.
    Raises ChangeRefused, NotConfirmed, ReviewKeyMissing, BackupRefused and run_driver.AlreadyOpen.
    """
    insist_possible(namespace, name, new=old is None, by=by)
    if wish.value is not None and len(wish.value) > LONGEST:
        raise ChangeRefused(_("A new value has at most 64 KiB, so that the reviewer can see all of it."))
    recipients = review_key.recipients()
    proposal = Proposal(proposals.place_of(namespace, name), old, wish.applied_to(name, old))
    if old is not None and (wish.value is not None or wish.metadata is not None):
        _count_try(namespace, name, by)
    if not proposal.parts:
        raise ChangeRefused(_("Nothing changes: value, metadata and expiration are as they are in KV."))
    asked = [WARNINGS[code] for code in warnings_of(proposal) if code in CONFIRMED]
    if asked and not confirmed:
        raise NotConfirmed(asked)
    body = proposal.sealed(recipients)
    with log.transaction():
        columns = described(namespace.environment, proposal, recipients)
        change = _create(namespace, proposal, {**columns, "object_sha256": proposals.digest(body)}, by)
    try:
        with bucket_access.store(namespace.environment) as store:
            store.put(change.object_key, body, content_type="application/octet-stream")
    except StoreError as error:
        with log.transaction():
            end(
                change,
                [KeyChange.State.DRAFT],
                because=gettext_noop("The proposal could not be stored."),
                actor=by.actor,
            )
        raise ChangeRefused(say(_("The proposal could not be stored: %(error)s"), error=error)) from error
    return change


def insist_possible(namespace: Namespace, name: str, *, new: bool, by: Person) -> None:
    """Raise ChangeRefused if the person can propose no change of this key now, whatever its value is."""
    insist_operator(by)
    insist_changeable(namespace, name, new=new)
    insist_expiry(namespace.environment)
    insist_free(namespace, name)


def _count_try(namespace: Namespace, name: str, by: Person) -> None:
    """Record that a value is compared with the masked one. Raises ChangeRefused if the person tried too often."""
    with log.transaction():
        # Two tries of a person at once wait here for each other, so that none is missed.
        Person.objects.select_for_update().get(pk=by.pk)
        since = Now() - timedelta(seconds=timing.TRIES_COUNTED)
        tried = Entry.objects.filter(action=Action.CHANGE_COMPARED, actor_id=by.pk, at__gte=since)
        if tried.filter(subject=f"namespace:{namespace.pk}", details__key=name).count() >= TRIES:
            raise ChangeRefused(
                _("You proposed too many values for this key. Wait an hour before you propose another.")
            )
        log.record(
            Action.CHANGE_COMPARED,
            actor=by.actor,
            environment=namespace.environment.slug,
            subject=f"namespace:{namespace.pk}",
            subject_label=str(namespace)[:200],
            details={"key": name},
        )


def _create(namespace: Namespace, proposal: Proposal, columns: dict[str, object], by: Person) -> KeyChange:
    """The row, the backup of the old entry, and the audit entry, within the caller's transaction."""
    name = proposal.new.name
    insist_free(namespace, name)
    change = KeyChange.objects.create(
        environment=namespace.environment,
        namespace=namespace,
        name=name,
        new_key=proposal.old is None,
        asked_by=by,
        **columns,
    )
    back_up(change, actor=by.actor, person=by)
    begun = procedures.begun("change", namespace.binding, [name])
    details = {**told(change, proposal), **begun}
    record_change(Action.CHANGE_PREPARED, change, actor=by.actor, digest=change.object_sha256, details=details)
    return change


def told(change: KeyChange, proposal: Proposal) -> dict[str, JSON]:
    """What the audit log keeps of a proposal, with the command that does the same without KVOps."""
    new = proposal.new
    command = key_value.put_command(
        change.namespace, change.name, expiration=new.expiration, metadata=new.metadata is not None
    )
    return {"key": change.name, "parts": list(proposal.parts), "object": change.object_key, "command": command}


def described(environment: Environment, proposal: Proposal, recipients: list[str]) -> dict[str, object]:
    """The columns that describe a proposal: the name of its object, and what changes, without a value."""
    return {
        "bucket": environment.r2_bucket,
        "object_key": proposals.new_key(environment, clock.now()),
        "recipients": recipients,
        "parts": proposal.parts,
        "expiration_before": proposal.old.expiration if proposal.old else None,
        "expiration_after": proposal.new.expiration,
        "warnings": warnings_of(proposal),
    }


def warnings_of(proposal: Proposal) -> list[str]:
    """The codes of the warnings of a proposal."""
    found = []
    if proposal.old and key_value.is_json(proposal.old.data) and not key_value.is_json(proposal.new.data):
        found.append("no_json")
    if not proposal.new.data and (proposal.old is None or proposal.old.data):
        found.append("empty")
    if "expiration" in proposal.parts and proposal.new.expiration is not None:
        found.append("expires")
    return found


def back_up(change: KeyChange, *, actor: log.Actor, person: Person | None) -> None:
    """Start the encrypted backup of exactly the old entry, within the caller's transaction. A new key has none."""
    if change.new_key:
        return
    made = generation_start.create_backup(
        change.namespace,
        prefixes=[change.name],
        purpose=Generation.Purpose.CHANGE,
        actor=actor,
        person=person,
        only=change.name,
        exact=True,
    )
    KeyChange.objects.filter(pk=change.pk).update(generation=made)
    change.generation = made


def insist_free(namespace: Namespace, name: str) -> None:
    """Raise ChangeRefused if another change of the key is open, or the product is read-only."""
    if why := rollback.why_read_only():
        raise ChangeRefused(why)
    open_ = KeyChange.objects.filter(namespace=namespace, name=name).exclude(state__in=KeyChange.OVER).first()
    if open_ is not None:
        raise ChangeRefused(say(_("Change %(pk)s of this key is open. End it first."), pk=open_.pk))


def insist_changeable(namespace: Namespace, name: str, *, new: bool) -> None:
    """Raise ChangeRefused unless the policy lets the key be changed here: settings, and unclassified keys there are."""
    category = key_value.category_of(namespace, name)
    if new and category != Category.SETTINGS:
        raise ChangeRefused(
            _("A new key needs a family of settings in the policy that covers its name. Add the family first.")
        )
    if not category.sensitive:
        raise ChangeRefused(_("Only settings and unclassified keys are changed here."))


def insist_expiry(environment: Environment) -> None:
    """Raise ChangeRefused unless R2 itself deletes proposals in time and not too early, and does not lock them."""
    protection = bucket_protection.known(environment)
    if not protection.known:
        sentence = _("It is unknown whether the bucket of %(environment)s deletes proposals automatically. %(why)s")
        raise ChangeRefused(say(sentence, environment=environment.name, why=protection.why))
    if not protection.proposals_expire:
        sentence = _(
            "The bucket of %(environment)s needs a lifecycle rule that deletes proposals after 5 to 30 days, and no "
            "lock on them. The page of changes says how to add the rule."
        )
        raise ChangeRefused(say(sentence, environment=environment.name))
