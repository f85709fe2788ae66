"""The certificate of a clean-up as data, and as a file: JSON in English with its digest, or Markdown."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from django.conf import settings
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _, gettext_lazy

from backups.cleanup import shown_references
from backups.models import CleanupRequest, CleanupStage
from kvops.approvals import evidence
from kvops.models import ReferenceAnswer
from kvops.names import visible
from kvops.references import deployed

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class CertificateLine:
    """One step: its proof. If it has none, it is `missing`, or `not_applicable` for the reason that is said.

    `wrong`: the proof shows a problem, such as a difference with D1. `digest_of`: the thing that has the digest.
    """

    what: str
    said: str = ""
    by: str = ""
    at: datetime | None = None
    digest: str = ""
    digest_of: str = ""
    url: str = ""
    missing: bool = False
    wrong: bool = False
    not_applicable: bool = False
    environment: str = ""


@dataclass(frozen=True)
class CertificateSection:
    """A section of the policy with its lines, in the order of the environments."""

    rule: str
    title: str
    lines: Sequence[CertificateLine]


@dataclass(frozen=True)
class Certificate:
    """The certificate in the reader's language. `valid`: complete, and nothing was brought back."""

    cleanup: CleanupRequest
    state: str
    valid: bool
    sections: Sequence[CertificateSection]

    @property
    def missing(self) -> int:
        """The number of missing proofs."""
        return sum(line.missing for section in self.sections for line in section.lines)

    @property
    def wrong(self) -> int:
        """The number of proofs that show a problem."""
        return sum(line.wrong for section in self.sections for line in section.lines)


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
        "sections": [
            {"rule": one.rule, "title": one.title, "lines": [_line_data(line) for line in one.lines]}
            for one in english.sections
        ],
    }
    return data, evidence.digest_of(evidence.canonical_evidence(data))


def as_json(english: Certificate) -> str:
    """The document with its digest, canonical within `certificate`."""
    data, digest = document(english)
    return f'{{"certificate":{evidence.canonical_evidence(data)},"sha256":{json.dumps(digest)}}}\n'


def _line_data(line: CertificateLine) -> dict[str, object]:
    return {**asdict(line), "at": evidence.moment(line.at), "url": _address(line.url)}


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
    for section in mine.sections:
        found.append(f"## {section.rule} {_md(section.title)}")
        found.append("\n".join(map(_md_line, section.lines)))
    found.append(f"<{data['page']}>\n\n{_('SHA-256 of “certificate” in the JSON')}: `{digest}`")
    return "\n\n".join(found) + "\n"


def _md_line(line: CertificateLine) -> str:
    digest = f"{_md(line.digest_of)}, SHA-256: `{line.digest}`" if line.digest else ""
    proof = [_md(line.by), evidence.moment(line.at), digest]
    proof.append(f"<{_address(line.url)}>" if line.url else "")
    where = f"{line.environment}: " if line.environment else ""
    label = _("Not applicable") if line.not_applicable else _("Wrong") if line.wrong else ""
    text = " · ".join(filter(None, [label, _md(line.said), *proof]))
    mark = "❌ " if line.missing or line.wrong else ""
    return f"- {mark}**{_md(where + line.what)}** {text}".rstrip()


def _md(text: str) -> str:
    return visible(" ".join(str(text).split())).translate(_SPECIAL)


RUNS: Mapping[str, Promise] = {
    deployed.SAME: gettext_lazy("the searched code runs"),
    deployed.OTHER: gettext_lazy("other code runs"),
    deployed.NOT_KNOWN: gettext_lazy("not known whether the searched code runs"),
}


def deployed_in_words(stage: CleanupStage) -> str:
    """Whether the searched code is the deployed code: as it was submitted, or else as it is now."""
    theirs = json.loads(stage.approval.evidence).get("references", {}) if stage.approval else {}
    if not (known := theirs.get("deployed")):
        known = shown_references.shown(stage).get("deployed", {})
    return str(RUNS[str(known.get("state", deployed.NOT_KNOWN))])


def follow_ups_in_words(answers: Iterable[ReferenceAnswer]) -> list[str]:
    """A line for each follow-up that no later search has closed."""
    kind = ReferenceAnswer.Kind.FOLLOW_UP
    return [
        f"{one.hit.file}:{one.hit.line} · {one.get_follow_up_display()} · {one.owner}, {one.due}"
        for one in answers
        if one.kind == kind and one.closed_by_id is None
    ]
