"""Templates are read by people."""

import re
from pathlib import Path

TEMPLATES = Path(__file__).parents[3] / "templates"
LONGEST = 200


def test_no_line_of_a_template_is_too_long() -> None:
    found = [
        f"{path.relative_to(TEMPLATES)}:{number}"
        for path in sorted(TEMPLATES.rglob("*.html"))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if len(line) > LONGEST
    ]
    assert found == []


SCROLLS = "scrolls in its own region"
WIDE = {"cleanup/certificate.html": "a document for paper; its steps wrap on a phone"} | dict.fromkeys(
    (
        "approvals/_delete_generations.html", "approvals/list.html", "audit/list.html", "backups/generation.html",
        "backups/holding.html", "backups/list.html", "cleanup/_list.html", "history/index.html", "history/report.html",
        "keys/deleted.html", "keys/list.html", "retention/list.html", "runs/list.html", "storage/list.html",
    ),
    SCROLLS,
)  # fmt: skip
"""Templates with a table of their own that does not fold, with the reason."""


def test_each_table_folds_on_a_phone() -> None:
    tables = {path.relative_to(TEMPLATES).as_posix(): path.read_text("utf-8") for path in TEMPLATES.rglob("*.html")}
    found = {name for name, text in tables.items() if re.search(r"<table(?![^>]*\btable-fold\b)", text)}
    assert found <= WIDE.keys()
