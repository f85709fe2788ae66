"""The certificate of a clean-up as data, and as a file: JSON in English with its digest, or Markdown."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from django.conf import settings
from django.db.models import Count
from django.urls import reverse
from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext as _, gettext_lazy, ngettext

from audit.actions import Action
from audit.models import Entry
from backups.cleanup import cards, shown_references
from backups.cleanup.proofs import Proof
from backups.cleanup.references import BEFORE_SUBMIT
from backups.models import CleanupException, CleanupRequest, CleanupStage
from kvops.approvals import evidence
from kvops.approvals.evidence import follow_ups_open
from kvops.models import ReferenceAnswer, ReferenceSearch
from kvops.names import visible
from kvops.references import deployed
from kvops.wording import moment, spelled

FORMAT = 4
NAMED = 3
"""Follow-ups, deployments or other keys that a line names; of more it has numbers, or a digest."""

Kind, FollowUp = ReferenceAnswer.Kind, ReferenceAnswer.FollowUp


@dataclass(frozen=True)
class CertificateSection:
    """A section of the policy with its lines, in the order of the environments."""

    rule: str
    title: str
    lines: Sequence[Proof]


@dataclass(frozen=True)
class CertificateEnvironment:
    """An environment of the clean-up, with the numbers of its keys; None: the stage did not come so far.

    `kept`: those of a deletion that was ended early. `left`: all keys under the prefix at the second listing, also
    those that are not of the clean-up.
    """

    name: str
    account_id: str
    namespace: str
    namespace_id: str
    approved: int | None
    deleted: int | None
    kept: int | None
    proven: int | None
    left: int | None


@dataclass(frozen=True)
class Certificate:
    """The certificate in the reader's language. `valid`: complete, and nothing was brought back."""

    cleanup: CleanupRequest
    state: str
    valid: bool
    environments: Sequence[CertificateEnvironment]
    sections: Sequence[CertificateSection]

    @property
    def missing(self) -> int:
        """The number of missing proofs."""
        return sum(line.state == "missing" for section in self.sections for line in section.lines)

    @property
    def wrong(self) -> int:
        """The number of proofs that show a problem."""
        return sum(line.state == "wrong" for section in self.sections for line in section.lines)


def document(english: Certificate) -> tuple[dict[str, object], str]:
    """The English certificate as data, and the SHA-256 of its canonical JSON."""
    cleanup = english.cleanup
    data: dict[str, object] = {
        "format": FORMAT,
        "cleanup": cleanup.pk,
        "page": _address(reverse("backups:certificate", args=[cleanup.pk])),
        "binding": cleanup.binding,
        "prefix": cleanup.prefix,
        "exact": cleanup.exact,
        "category": cleanup.category,
        "reason": cleanup.reason,
        "ticket": cleanup.ticket,
        "asked_by": cleanup.asker,
        "asked_at": evidence.moment(cleanup.created_at),
        "state": english.state,
        "valid": english.valid,
        "missing": english.missing,
        "wrong": english.wrong,
        "environments": [asdict(one) for one in english.environments],
        "sections": [
            {"rule": one.rule, "title": one.title, "lines": list(map(_line_data, one.lines))}
            for one in english.sections
        ],
    }
    return data, evidence.digest_of(evidence.canonical_evidence(data))


def as_json(english: Certificate) -> str:
    """The document with its digest, canonical within `certificate`."""
    data, digest = document(english)
    return f'{{"certificate":{evidence.canonical_evidence(data)},"sha256":{json.dumps(digest)}}}\n'


@translation.override("en")  # the steps are named in the language of the moment
def _line_data(line: Proof) -> dict[str, object]:
    return {
        "environment": line.environment,
        "step": line.step.value,
        "title": line.title,
        "state": line.state,
        "said": line.said,
        "by": line.by,
        "since": evidence.moment(line.since),
        "at": evidence.moment(line.at),
        "digest": line.digest,
        "digest_of": line.digest_of,
        "url": _address(line.url),
    }


def _address(path: str) -> str:
    return f"{settings.BASE_URL}{path}" if path else ""


_SPECIAL = str.maketrans({char: f"\\{char}" for char in "\\`*_{}[]<>#|~!"})


def as_markdown(mine: Certificate, english: Certificate) -> str:
    """The certificate in the reader's language, as Markdown; texts of people cannot become markup."""
    cleanup, (data, digest) = mine.cleanup, document(english)
    title = _("Certificate of clean-up %(pk)s") % {"pk": cleanup.pk}
    found = [
        f"# {title}",
        f"{_md(cleanup.binding)} {_md(cleanup.pattern)} · {_md(mine.state)}",
        f"{_('Reason')}: {_md(cleanup.reason)}",
        f"{_('Ticket')}: {_md(cleanup.ticket or '–')}",
        f"{_('Asked by')}: {_md(cleanup.asker)}, {evidence.moment(cleanup.created_at)}",
    ]
    found.append("\n".join(_md_environments(mine.environments)))
    for section in mine.sections:
        found.append(f"## {section.rule} {_md(section.title)}")
        found.append("\n".join(map(_md_line, section.lines)))
    found.append(f"<{data['page']}>\n\n{_('SHA-256 of “certificate” in the JSON')}: `{digest}`")
    return "\n\n".join(found) + "\n"


def _md_environments(environments: Iterable[CertificateEnvironment]) -> Iterator[str]:
    """The table of the head: the numbers of keys in each environment."""
    ids = [_("Environment"), _("Account"), _("Namespace")]
    yield _md_row([*ids, _("Keys approved"), _("Deleted"), _("Kept"), _("Proven gone"), _("Left under the prefix")])
    yield _md_row(["---"] * 3 + ["---:"] * 5)
    for one in environments:
        counts = [one.approved, one.deleted, one.kept, one.proven, one.left]
        numbers = ["–" if n is None else spelled(n) for n in counts]
        yield _md_row([_md(one.name), _md(one.account_id), _md(one.namespace_id), *numbers])


def _md_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _md_line(line: Proof) -> str:
    digest = f"{_md(line.digest_of)}, SHA-256: `{line.digest}`" if line.digest else ""
    times = " – ".join(filter(None, [evidence.moment(line.since), evidence.moment(line.at)]))
    proof = [_md(line.by), times, digest]
    proof.append(f"<{_address(line.url)}>" if line.url else "")
    label = {"not_applicable": _("Not applicable"), "wrong": _("Wrong")}.get(line.state, "")
    text = " · ".join(filter(None, [label, _md(line.said), *proof]))
    mark = "❌ " if line.state in {"missing", "wrong"} else ""
    return f"- {mark}**{_md(f'{line.environment}: {line.title}')}** {text}".rstrip()


def _md(text: str) -> str:
    return visible(" ".join(str(text).split())).translate(_SPECIAL)


RUNS: Mapping[str, Promise] = {
    deployed.SAME: gettext_lazy("the searched code runs"),
    deployed.OTHER: gettext_lazy("other code runs"),
    deployed.NOT_KNOWN: gettext_lazy("not known whether the searched code runs"),
}


def references_of(stage: CleanupStage) -> Mapping[str, Any]:
    """The references part of the evidence: as approved, or else as it is now; empty once the stage needs none."""
    if stage.approval:
        return json.loads(stage.approval.evidence).get("references") or {}
    return shown_references.shown(stage) if stage.state in BEFORE_SUBMIT and stage.request.is_open else {}


class CertificateFacts:
    """The stages of a clean-up, and the rows that its certificate tells of: read once for all its languages."""

    def __init__(self, cleanup: int) -> None:
        self.stages = cards.of_cleanup_or_404(cleanup)
        self.cleanup: CleanupRequest = self.stages[0].request
        self.read_at: datetime = self.stages[0].read_at
        self.references = {stage.pk: references_of(stage) for stage in self.stages}
        searches = [found["search"]["id"] for found in self.references.values() if found]
        self.searches = ReferenceSearch.objects.in_bulk(searches)
        backups = [stage.generation_id for stage in self.stages if stage.generation_id]
        about = Entry.objects.about([f"generation:{pk}" for pk in backups])
        verifications = list(about.filter(action=Action.GENERATION_VERIFIED))
        self.verified = {stage.pk: _verified(stage, verifications) for stage in self.stages}
        self.left_out = {stage.pk: _left_out(stage) if stage.skipped else [] for stage in self.stages}
        self.other_names = {stage.pk: _other_names(stage) if stage.others else [] for stage in self.stages}

    def open_follow_ups(self) -> list[date]:
        """The due days of the follow-ups of the approved answers that are open today, each by its newest answer."""
        approved = {pk for found in self.references.values() for pk in _follow_up_ids(found)}
        still = ReferenceAnswer.objects.filter(pk__in=approved, closed_by=None)
        same = ReferenceAnswer.objects.filter(
            family=self.cleanup.family_id, fingerprint__in=still.values("fingerprint"), closed_by=None
        )
        newest = same.order_by("fingerprint", "-pk").distinct("fingerprint")
        return [due for due in newest.values_list("due", flat=True) if due]


def _follow_up_ids(references: Mapping[str, Any]) -> list[int]:
    """The ids of the approved follow-ups: of the listed answers, and of those that did not fit."""
    listed = [one["id"] for one in references.get("answers") or () if one.get("kind") == Kind.FOLLOW_UP]
    return [*listed, *(references.get("follow_ups") or {}).get("more", ())]


def _verified(stage: CleanupStage, entries: Iterable[Entry]) -> Entry | None:
    """The last verification of the backup, before the stage was accepted. The entries are the newest first."""
    mine = (entry for entry in entries if entry.subject == f"generation:{stage.generation_id}")
    return next((entry for entry in mine if not stage.accepted_at or entry.at < stage.accepted_at), None)


def _left_out(stage: CleanupStage) -> list[str]:
    """The reasons why keys were not deleted, each with its number of keys."""
    counts = stage.exceptions.order_by("outcome").values_list("outcome").annotate(found=Count("pk"))
    return [f"{spelled(found)} {CleanupException.Outcome(outcome).label}" for outcome, found in counts]


def _other_names(stage: CleanupStage) -> list[str]:
    return list(stage.other_names.order_by("name").values_list("name", flat=True)[:NAMED])


def references_in_words(references: Mapping[str, Any]) -> str:
    """The number of hits, the searched code, the answers that were carried over, and the code that runs."""
    search, answers = references["search"], references["answers"]
    code = search["commit"][:12] or f"{search['worker']} {search['version'][:12]}"
    found = [
        ngettext("%(n)s place at %(commit)s", "%(n)s places at %(commit)s", references["hits"])
        % {"n": spelled(references["hits"]), "commit": code}
    ]
    others = references.get("others", ())
    if same := sum(one["commit"] == search["commit"] != "" for one in others):
        more = ngettext(
            "%(n)s more search of this commit, which contradicts it",
            "%(n)s more searches of this commit, which contradict it",
            same,
        )
        found.append(more % {"n": spelled(same)})
    if other := len(others) - same:
        more = ngettext("%(n)s more search of other code", "%(n)s more searches of other code", other)
        found.append(more % {"n": spelled(other)})
    if carried := sum(one.get("carried_over", False) for one in answers):
        over = ngettext("%(n)s answer carried over", "%(n)s answers carried over", carried)
        found.append(over % {"n": spelled(carried)})
    return " · ".join(filter(None, [*found, follow_ups_open(references), _deployed_in_words(references["deployed"])]))


def _deployed_in_words(known: Mapping[str, Any]) -> str:
    """Whether the searched code runs, and the code that runs: named, or its number and digest if there is much."""
    runs = str(RUNS[str(known.get("state", deployed.NOT_KNOWN))])
    if not (count := known.get("count", 0)):
        return runs
    if count > NAMED:
        many = _("%(n)s deployments, SHA-256 %(digest)s") % {"n": spelled(count), "digest": known["sha256"]}
        return f"{runs}: {many}"
    names = (f"{one['name']} {(one['commit'] or one['version'])[:12]}".strip() for one in known["code"])
    return f"{runs}: {', '.join(names)}"


def answers_in_words(references: Mapping[str, Any]) -> str:
    """The number of answers by kind, and each follow-up with what became of it since."""
    answers = [one for one in references["answers"] if "kind" in one]
    count = Counter(str(Kind(one["kind"]).label) for one in answers)
    kinds = [f"{kind}: {spelled(n)}" for kind, n in sorted(count.items())]
    if left := references["hits"] - len(references["answers"]):
        kinds.append(_("by their digest alone: %(n)s") % {"n": spelled(left)})
    return ";\n".join([", ".join(kinds) or _("No place was found."), *_follow_ups(answers)])


def _follow_ups(answers: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for each follow-up as it was given, with its later fate; or only numbers if there are many."""
    given = [one for one in answers if one["kind"] == Kind.FOLLOW_UP]
    rows = ReferenceAnswer.objects.select_related("closed_by").in_bulk([one["id"] for one in given])
    if len(given) > NAMED:
        still = sum(rows[one["id"]].closed_by_id is None for one in given)
        numbers = [(_("%(n)s still open"), still), (_("%(n)s closed since"), len(given) - still)]
        return [" · ".join(text % {"n": spelled(n)} for text, n in numbers if n)]
    return [
        f"{one['file']}:{one['line']} · {FollowUp(one['follow_up']).label} · {one['owner']}, {one['due']}"
        f" · {_since(rows[one['id']])}"
        for one in given
    ]


def _since(answer: ReferenceAnswer) -> str:
    """What became of a follow-up: the search that closed it, or its owner and due date now."""
    if answer.closed_by:
        facts = {"pk": answer.closed_by.pk, "at": moment(answer.closed_by.searched_at)}
        return _("closed since: search %(pk)s of %(at)s") % facts
    same = ReferenceAnswer.objects.filter(family=answer.family_id, fingerprint=answer.fingerprint, pk__gt=answer.pk)
    newest = same.select_related("owner").order_by("-pk").first()
    if newest is None:
        return _("still open")
    return _("still open, now %(owner)s, %(due)s") % {"owner": newest.owner, "due": newest.due}
