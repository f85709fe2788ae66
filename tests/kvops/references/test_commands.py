"""`manage.py scan_references` and `manage.py import_references`."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from audit.models import Entry
from kvops.models import Category, Family, ReferenceSearch
from kvops.references.report import dumps, loads
from sandbox import environment, start
from tests import make
from tests.kvops.references import reports

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("estate")]
COMMIT = reports.COMMIT


def output(*command: str) -> str:
    out = StringIO()
    call_command(*command, stdout=out)
    return out.getvalue()


def refused(*command: str) -> tuple[str, int]:
    with pytest.raises(CommandError) as error:
        output(*command)
    assert not ReferenceSearch.objects.exists()
    return str(error.value), error.value.returncode


@pytest.fixture
def checkout(tmp_path: Path) -> str:
    """A Worker that writes a master."""
    (tmp_path / "checkout/src").mkdir(parents=True)
    (tmp_path / "checkout/src/index.js").write_text(
        'export default { fetch: (r, env) => env.SETTINGS.put("master:a", "1") };'
    )
    return str(tmp_path / "checkout")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "hits.json"
    path.write_bytes(dumps(reports.report(reports.hit(), reports.hit(certainty="unknown"))))
    return path


def test_a_checkout_is_searched_and_the_search_is_stored(checkout: str) -> None:
    said = json.loads(
        output("scan_references", "qa", "--path", checkout, "--commit", COMMIT, "--deployment", "d1", "--json")
    )
    search = ReferenceSearch.objects.get()
    assert said == {
        "environment": "qa",
        "commit": COMMIT,
        "files": 1,
        "unparsed": 0,
        "hits": {"certain": 1, "possible": 0, "unknown": 0},
        "digest": search.digest,
        "search": search.pk,
        "stored": True,
        "output": None,
    }
    hit = search.hits.get()
    assert (hit.file, hit.access, hit.family) == ("src/index.js", "write", "SETTINGS master:*")
    entry = Entry.objects.get(action="references.searched")
    assert entry.actor.startswith("cli:")
    assert entry.details["deployment"] == "d1"


def test_a_search_with_an_output_is_only_written_and_can_be_imported(checkout: str, tmp_path: Path) -> None:
    path = tmp_path / "hits.json"
    path.write_text("before")
    said = output("scan_references", "qa", "--path", checkout, "--commit", COMMIT, "--output", str(path))
    assert "1 hit in 1 file" in said
    assert f"Written to {path}; nothing is stored." in said
    assert not ReferenceSearch.objects.exists()
    assert loads(path.read_bytes()).commit == COMMIT
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["hits.json"]
    assert "Stored as search" in output("import_references", "qa", str(path))
    assert ReferenceSearch.objects.get().hits.count() == 1


def test_a_file_is_stored_once_and_the_second_time_said_so(file: Path) -> None:
    said = output("import_references", "qa", str(file))
    search = ReferenceSearch.objects.get()
    assert f"Stored as search {search.pk}: /references/qa/{search.pk}/" in said
    assert "2 hits in 3 files (1 certain, 0 possible, 1 that cannot be told)" in said
    assert f"It was stored before, as search {search.pk}." in output("import_references", "qa", str(file))
    again = json.loads(output("import_references", "qa", str(file), "--json"))
    assert (again["search"], again["stored"]) == (search.pk, False)
    assert (search.source, search.by) == ("file", None)


def test_files_that_could_not_be_parsed_are_told(tmp_path: Path) -> None:
    hit = reports.hit("a.ts", family="*", certainty="unknown")
    (tmp_path / "x.json").write_bytes(dumps(reports.report(hit, unparsed=["a.ts"])))
    assert "files that could not be parsed: 1;" in output("import_references", "qa", str(tmp_path / "x.json"))


def test_an_unknown_environment_is_bad_usage(file: Path, checkout: str) -> None:
    sentence = "There is no environment staging. Known are: qa, production."
    assert refused("import_references", "staging", str(file)) == (sentence, 2)
    assert refused("scan_references", "staging", "--path", checkout) == (sentence, 2)


def test_a_file_that_cannot_be_read_is_bad_usage(tmp_path: Path) -> None:
    said, code = refused("import_references", "qa", str(tmp_path / "none.json"))
    assert ("cannot be read: No such file or directory." in said, code) == (True, 2)


def test_a_refused_file_is_told_with_the_first_wrong_place(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"functions/clinics.ts", b"/etc/passwd", 1))
    said, code = refused("import_references", "qa", str(file))
    assert said == f"{file} is refused, and nothing is stored: hits[0].file: must not be an absolute path."
    assert code == 1


@pytest.mark.parametrize("files", [[], ["README.md"]], ids=["empty", "no code"])
def test_a_path_without_source_files_is_an_error_and_never_zero_hits(tmp_path: Path, files: list[str]) -> None:
    for name in files:
        (tmp_path / name).write_text("master:")
    said, code = refused("scan_references", "qa", "--path", str(tmp_path), "--commit", COMMIT)
    assert ("has no source files" in said, code) == (True, 1)


def test_a_missing_path_is_an_error(tmp_path: Path) -> None:
    said, code = refused("scan_references", "qa", "--path", str(tmp_path / "none"), "--commit", COMMIT)
    assert ("cannot be opened" in said, code) == (True, 1)


def test_a_checkout_without_commit_is_refused(checkout: str) -> None:
    said, code = refused("scan_references", "qa", "--path", checkout)
    assert ("The search names no commit." in said, code) == (True, 1)


def test_without_a_policy_nothing_can_be_searched_for(checkout: str) -> None:
    Family.objects.all().delete()
    assert refused("scan_references", "qa", "--path", checkout)[0].startswith("There is no policy in force")


def test_an_output_that_cannot_be_written_is_bad_usage(checkout: str, tmp_path: Path) -> None:
    path = str(tmp_path / "none" / "hits.json")
    said, code = refused("scan_references", "qa", "--path", checkout, "--commit", COMMIT, "--output", path)
    assert ("cannot be written" in said, code) == (True, 2)


def test_the_sandbox_begins_with_a_search_of_its_code_for_each_environment() -> None:
    make.family("clinic:id:", Category.LEGACY)
    for step in start.FIRST:
        if step[0] == "scan_references":
            output(*step)
    for slug in ("qa", "production"):
        search = ReferenceSearch.objects.get(environment__slug=slug)
        families = set(search.hits.values_list("family", flat=True))
        assert families >= {"SETTINGS master:*", "SETTINGS mastercache:*", "SETTINGS clinic:id:*"}
        assert (search.commit, search.unparsed) == (environment.CODE_COMMIT, [])


def test_the_commands_work_under_the_name_of_the_shell_user(file: Path, people: make.People) -> None:
    output("import_references", "qa", str(file))
    assert ReferenceSearch.objects.get().made_by.startswith("cli:")
