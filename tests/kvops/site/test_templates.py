"""Templates are read by people."""

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
