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


def test_each_table_folds_on_a_phone() -> None:
    """`{% table %}` writes a table that does."""
    assert [path.name for path in TEMPLATES.rglob("*.html") if "<table" in path.read_text("utf-8")] == []


def test_no_template_labels_cells_itself() -> None:
    assert [
        path.name for path in TEMPLATES.rglob("*.html") if re.search("data-(label|none)", path.read_text("utf-8"))
    ] == []
