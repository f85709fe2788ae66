"""The certificate of a clean-up as a file: JSON in English with its digest, or Markdown in the reader's language."""

import json
from dataclasses import asdict

from django.conf import settings
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _

from backups.cleanup import certificate
from backups.cleanup.certificate import CertificateLine
from backups.models import CleanupRequest
from kvops.approvals import evidence
from kvops.names import visible

FORMAT = 1


def document(cleanup: CleanupRequest) -> tuple[dict[str, object], str]:
    """The certificate in English as data, and the SHA-256 of its canonical JSON."""
    with translation.override("en"):
        mine = certificate.build(cleanup)
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
            "state": mine.state,
            "valid": mine.valid,
            "missing": mine.missing,
            "wrong": mine.wrong,
            "sections": [
                {"rule": one.rule, "title": one.title, "lines": [_line_data(line) for line in one.lines]}
                for one in mine.sections
            ],
        }
    return data, evidence.digest_of(evidence.canonical_evidence(data))


def as_json(cleanup: CleanupRequest) -> str:
    """The document with its digest, canonical within `certificate`."""
    data, digest = document(cleanup)
    return f'{{"certificate":{evidence.canonical_evidence(data)},"sha256":{json.dumps(digest)}}}\n'


def _line_data(line: CertificateLine) -> dict[str, object]:
    return {**asdict(line), "at": evidence.moment(line.at), "url": _address(line.url)}


def _address(path: str) -> str:
    return f"{settings.BASE_URL}{path}" if path else ""


_SPECIAL = str.maketrans({char: f"\\{char}" for char in "\\`*_{}[]<>#|~!"})


def as_markdown(cleanup: CleanupRequest) -> str:
    """The certificate in the reader's language, as Markdown; texts of people cannot become markup."""
    mine, (data, digest) = certificate.build(cleanup), document(cleanup)
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
