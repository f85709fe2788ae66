"""The evidence of the earlier environment: stages of the same scope that count for the next one."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, TypedDict

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from backups import policy
from backups.models import CleanupException, CleanupRequest, CleanupStage, Reappearance
from kvops import timing
from kvops.approvals import evidence
from kvops.inventory import differences
from kvops.models import Category, Environment, PolicyVersion
from kvops.wording import say

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

FORMAT = 1
"""The version of the rules that derive and compare evidence. After an increase, older evidence of QA does not count."""
DECISIVE = {"category", "expiry", "read", "encrypt"}
"""The fields of a family that decide what is deleted and how it is protected. Owner, note and retention do not."""
LATER = {"migrated_at", "newer_by", "orphans"}
"""The fields of a dataset that came after the first release, and are in the scope only if they say something."""
_UNSEEN = Reappearance.objects.filter(stage=OuterRef("pk"), acknowledged_at=None)
_UNEXPLAINED = CleanupException.objects.filter(stage=OuterRef("pk"), outcome__in=CleanupException.LEFTOVERS)
_BROUGHT_BACK = CleanupStage.objects.filter(Q(undos__isnull=False) | Q(restores__isnull=False), pk=OuterRef("pk"))
"""A stage whose deleted keys an undo or another restore writes back: it proves nothing any more."""


class _Doubts(TypedDict):
    """What speaks against an accepted stage."""

    is_unseen: bool
    is_brought_back: bool
    is_unexplained: bool


type JudgedStage = WithAnnotations[CleanupStage, _Doubts]


def scope(request: CleanupRequest, rules: differences.Rules) -> dict[str, object]:
    """The scope of a clean-up under a policy: its keys, and the rules that decide which are deleted and how."""
    return {
        "format": FORMAT,
        "binding": request.binding,
        "category": request.category,
        "prefix": request.prefix,
        "exact": request.exact,
        **({"only": request.only} if request.only else {}),
        "rules": {name: differences.without_empty(fields, LATER) for name, fields in _rules(request, rules).items()},
    }


def scope_digest(stage: CleanupStage) -> str:
    """SHA-256 over the scope under the policy in force; equal in every environment."""
    return _digest(stage.request, InForce().rules)


class InForce:
    """The rules in force when they are first asked for. Each guard makes its own."""

    @cached_property
    def rules(self) -> differences.Rules:
        """The rules of the families and datasets."""
        return policy.rules_of(policy.text_in_force())


def _digest(request: CleanupRequest, rules: differences.Rules) -> str:
    return sha256(evidence.canonical_evidence(scope(request, rules)).encode()).hexdigest()


def _rules(request: CleanupRequest, rules: differences.Rules) -> differences.Rules:
    """The request's family, the families that own some of its names instead, and its dataset."""
    own = f"family {request.binding} {request.family}"
    found: dict[str, Mapping[str, object]] = {
        own: {field: value for field, value in rules.get(own, {}).items() if field in DECISIVE}
    }
    dataset, longest = "", ""
    for name, fields in rules.items():
        other = name.removeprefix(f"family {request.binding} ")
        if name not in {other, own} and _takes(other, request):
            found[name] = {}
        prefix = str(fields.get("prefix", ""))
        covers = fields.get("binding") == request.binding and request.prefix.startswith(prefix)
        if covers and len(prefix) > len(longest):
            dataset, longest = name, prefix
    return {**found, dataset: rules[dataset]} if dataset else found


def _takes(pattern: str, request: CleanupRequest) -> bool:
    """Whether another family of this pattern owns names of the request that its own family would have."""
    start, names = pattern.removesuffix("*"), request.prefix
    if len(start) < len(request.family.pattern):
        return False
    above = pattern.endswith("*") and names.startswith(start)
    return above or start == names or (not request.exact and start.startswith(names))


def qa_stages(stage: CleanupStage) -> list[CleanupStage]:
    """The stages of earlier environments that count for the stage now, as `Turn.proven`."""
    return Turn(stage).proven


def earlier_environment(stage: CleanupStage) -> Environment | None:
    """The environment that must be accepted before this stage now, as `Turn.earlier`."""
    return Turn(stage).earlier


def missing_qa(stage: CleanupStage) -> str:
    """The reason why it is not this stage's turn now, as `Turn.missing`."""
    return Turn(stage).missing


class Turn:
    """Whether it is a stage's turn. Each fact is read once: a guard makes a new one, and a page shares one."""

    def __init__(
        self, stage: CleanupStage, policy: InForce | None = None, stages: Iterable[CleanupStage] | None = None
    ) -> None:
        """`stages` are those of the clean-up in their order, if a page has read them already."""
        self.stage = stage
        self._policy = policy or InForce()
        if stages is not None:
            self._before = [one for one in stages if one.order < stage.order]

    @cached_property
    def proven(self) -> list[CleanupStage]:
        """For each earlier environment with the binding, its newest accepted stage of the same scope, if recent enough.

        A constraint requires a reason for a stage without names; a stage with names must have deleted some. Leftovers
        need their explanation, and reappeared keys a person's note. If one stage of an environment lacks these, no
        other stage replaces it. A stage whose deleted keys were restored does not count.
        """
        found: dict[int, CleanupStage] = {}
        for candidate in self._accepted:
            if _counts(candidate):
                found.setdefault(candidate.environment_id, candidate)
        return [one for one in found.values() if one.environment_id not in self._reappeared]

    @cached_property
    def brought_back(self) -> list[CleanupStage]:
        """The accepted stages of the same clean-up in earlier environments whose deleted keys were restored since."""
        return [one for one in self.own if one.is_brought_back]

    @cached_property
    def own(self) -> list[JudgedStage]:
        """The accepted stages of the same clean-up in earlier environments."""
        mine = {one.pk for one in self._before}
        return [one for one in self._accepted if one.pk in mine]

    @cached_property
    def _reappeared(self) -> set[int]:
        """The environments where keys of the scope reappeared that have no note yet."""
        return {one.environment_id for one in self._accepted if one.is_unseen}

    @cached_property
    def _accepted(self) -> list[JudgedStage]:
        """The stages of `_of_scope`, the newest of each environment first, with the facts against them."""
        found = self._of_scope().annotate(
            is_unseen=Exists(_UNSEEN), is_brought_back=Exists(_BROUGHT_BACK), is_unexplained=Exists(_UNEXPLAINED)
        )
        related = ("environment", "accepted_by", "others_by", "request", "check_after", "dataset_check_after")
        also = ("approval", "check_passed")  # which say whether the differences of the two before were accepted
        return list(found.select_related(*related, *also).order_by("environment__order", "-accepted_at"))

    @cached_property
    def _scope_digest(self) -> str:
        return _digest(self.stage.request, self._policy.rules)

    def _of_scope(self) -> QuerySet[CleanupStage]:
        """The stages of the same scope that were accepted in earlier environments, if recent enough."""
        return self._recently_accepted().filter(scope_digest=self._scope_digest)

    def _recently_accepted(self) -> QuerySet[CleanupStage]:
        return CleanupStage.objects.filter(
            state=CleanupStage.State.ACCEPTED,
            environment__order__lt=self.stage.environment.order,
            accepted_at__gte=Now() - timedelta(seconds=timing.QA_EVIDENCE),
        )

    @cached_property
    def _before(self) -> list[CleanupStage]:
        """The stages of the same clean-up in earlier environments."""
        earlier = self.stage.request.stages.filter(order__lt=self.stage.order)
        return list(earlier.select_related("environment").order_by("order"))

    @cached_property
    def earlier(self) -> Environment | None:
        """The environment that must be accepted before this stage."""
        if not self._before:
            return None
        proven = {found.environment_id for found in self.proven}
        return next((one.environment for one in self._before if one.environment_id not in proven), None)

    @cached_property
    def missing(self) -> str:
        """The reason why it is not this stage's turn; empty if it is."""
        if why := _other_category(self.stage):
            return why
        if self.stage.environment.production and all(one.environment.production for one in self._before):
            return only_production(self.stage.request.binding)
        earlier = self.earlier
        if earlier is None:
            return ""
        if earlier.pk in self._reappeared:
            return say(
                _("Keys deleted in %(name)s reappeared. Note your findings there first."),
                name=earlier.name,
            )
        return self.dead_end or say(
            _("Clean up %(name)s first: its stage must be accepted, under the same rules, at most 7 days earlier."),
            name=earlier.name,
        )

    @cached_property
    def dead_end(self) -> str:
        """The reason why this clean-up can never go on, so it ends; else empty.

        The earlier stage can never count, or the family has another category now.
        """
        if why := _other_category(self.stage):
            return why
        earlier = self.earlier
        if earlier is None:
            return ""
        asked = (earlier.pk, CleanupStage.State.ACCEPTED)
        accepted = [one.pk for one in self._before if (one.environment_id, one.state) == asked]
        if not accepted:
            return ""
        mine = next((one for one in self._accepted if one.pk in accepted), None)
        if mine is not None and (why := proves_nothing(mine)):
            return why
        if changed := self._changed_rules(earlier):
            return say(
                _(
                    "%(name)s was accepted under other rules: %(changes)s. End this clean-up and ask for it again: it "
                    "begins in %(name)s."
                ),
                name=earlier.name,
                changes=differences.sentence(changed),
            )
        return ""

    def _changed_rules(self, earlier: Environment) -> Sequence[differences.RuleChange]:
        """The changes since the same keys were accepted in the earlier environment, if these are why it does not count.

        The rules of that time are those of the policy version that gives the accepted digest.
        """
        if any(one.environment_id == earlier.pk for one in self._accepted):
            return []
        request = self.stage.request
        accepted = (
            self._recently_accepted()
            .filter(
                environment=earlier,
                request__binding=request.binding,
                request__prefix=request.prefix,
                request__exact=request.exact,
            )
            .select_related("request__family")
            .order_by("-accepted_at")
            .first()
        )
        if accepted is None:
            return []
        now = _rules(request, self._policy.rules)
        for version in PolicyVersion.objects.order_by("-number").iterator():
            then = policy.rules_of(version.definition)
            if _digest(accepted.request, then) == accepted.scope_digest:
                return differences.between(_rules(accepted.request, then), now)
        return []


def _counts(stage: JudgedStage) -> bool:
    """Whether an accepted stage is evidence: it deleted some of its names, explained the rest, and is not undone.

    A stage that deleted none of its names, because they changed or were already gone, tested nothing.
    """
    if stage.is_brought_back or (stage.is_unexplained and not stage.leftovers_note):
        return False
    return stage.names == 0 or stage.deleted > 0


def only_production(binding: str) -> str:
    """The reason why production's keys stay until another environment was cleaned up first."""
    return say(
        _(
            "Production is cleaned up only after the same clean-up in another environment. No earlier environment has "
            "%(binding)s."
        ),
        binding=binding,
    )


def _other_category(stage: CleanupStage) -> str:
    """The reason why the clean-up was asked for under another category than its family's; else empty.

    The category decides whether the backup must equal D1, and which risks the reviewer accepts.
    """
    request = stage.request
    asked, now = Category(request.category), Category(request.family.category)
    if asked == now:
        return ""
    sentence = _(
        "%(family)s is in the category %(now)s, but this clean-up was asked for as %(asked)s. End this clean-up and "
        "ask for it again."
    )
    return say(sentence, family=request.family, now=now.label, asked=asked.label)


def proves_nothing(stage: CleanupStage) -> str:
    """The reason why a proven stage is no evidence: it deleted nothing, or its keys were written back; else empty."""
    name = stage.environment.name
    if stage.names and not stage.deleted:
        sentence = _(
            "No key of this clean-up was deleted in %(name)s, so it proves nothing. End this clean-up and ask for "
            "another one."
        )
        return say(sentence, name=name)
    if (restore := stage.undos.first() or stage.restores.first()) is None:
        return ""
    return say(
        _(
            "Restore %(restore)s wrote deleted keys back in %(name)s, so its clean-up proves nothing any more. End "
            "this clean-up and ask for another one."
        ),
        restore=restore.pk,
        name=name,
    )
