"""The runbook: an entry for each operation, with what really happened; reads of masked values; notes; search; files."""

from datetime import timedelta
from html import escape

import pytest
from markdown_it import MarkdownIt

from audit import log
from audit.actions import Action
from audit.models import Entry
from backups.bucket import protection as bucket_protection
from backups.cleanup import preparation
from backups.drills import requests as drill_requests
from backups.generations import start as generation_start
from backups.models import CleanupStage
from backups.restores import selection as restore_selection
from kvops import clock
from kvops.approvals import gate as approval_gate
from kvops.inventory import value as key_value
from kvops.models import Family, RunbookNote
from kvops.operations import registry
from kvops.operations.parts import Procedure
from kvops.runbook import entries as runbook_entries, export, notes as runbook_notes, procedures
from kvops.runbook.entries import RunbookEntry, RunbookSearch
from kvops.runbook.secrets import RunbookRefused
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.investigations import test_requests as test_investigations
from tests.backups.restores import helpers as restore_helpers
from tests.backups.retention import requesting
from tests.signing import signed_in

pytestmark = pytest.mark.django_db


def found(**filters: object) -> list[str]:
    """The entries that match, as the audit log's subjects, newest first."""
    return [entry.subject for entry in RunbookSearch(**filters).entries(50)]  # type: ignore[arg-type]


def cleaned(estate: make.Estate, people: make.People) -> CleanupStage:
    """QA, cleaned and accepted."""
    cleanup_helpers.estate_with_masters(estate)
    return cleanup_helpers.accepted(cleanup_helpers.asked(people), people)


def entry_of(subject: str) -> RunbookEntry:
    entry = runbook_entries.of_subject(subject)
    assert entry is not None
    return entry


def done(entry: RunbookEntry) -> list[str]:
    return [str(step.title) for step in entry.steps() if step.state == "done"]


def test_a_clean_up_is_one_entry_with_its_steps_ticked(estate: make.Estate, people: make.People) -> None:
    stage = cleaned(estate, people)
    assert found() == [f"cleanup:{stage.request_id}"]  # its backup and its check are steps, not entries
    entry = entry_of(f"generation:{stage.generation_id}")
    assert (entry.begun.subject, entry.begun.details["version"]) == (f"cleanup:{stage.request_id}", 1)
    assert done(entry) == [
        "Ask for the clean-up",
        "Search the code",
        *[str(step.title) for step in registry.PROCEDURES["cleanup"][-1].steps if str(step.title).startswith("QA:")],
    ]
    assert [str(step.title) for step in entry.steps() if step.state == "current"] == ["Production: back up and verify"]
    approval = next(step for step in entry.steps() if step.title == "QA: approval")
    assert approval.entry is not None
    assert (approval.entry.actor, approval.url) == (str(people.reviewer), approval.entry.get_absolute_url())


def test_the_timeline_has_who_when_and_where_it_is_stored(estate: make.Estate, people: make.People) -> None:
    stage = cleaned(estate, people)
    page = signed_in(people.auditor).get(entry_of(f"stage:{stage.pk}").url)
    shown = [(entry.action, place) for entry, place in page.context["timeline"]]
    assert ("generation.completed", str(stage.generation)) in shown
    assert ("copy.shared", "#kv-cleanup, with Reviewer") in shown
    assert shown[0][0] == "cleanup.requested"
    assert {"approval.approved", "stage.accepted", "check.passed", "run.finished"} <= {action for action, _ in shown}
    assert not {"chunk.settled", "chunk.intended"} & {action for action, _ in shown}


def test_the_check_after_a_clean_up_is_in_its_entry_with_the_result(estate: make.Estate, people: make.People) -> None:
    stage = cleaned(estate, people)
    page = signed_in(people.auditor).get(entry_of(f"stage:{stage.pk}").url)
    told = [entry for entry, _ in page.context["timeline"] if entry.action == "stage.checked_again"]
    assert [(entry.details["check"], entry.details["outcome"]) for entry in told] == [(stage.check_after_id, "passed")]
    assert "Compared with D1 again after the deletion" in page.content.decode()


def test_the_procedure_stands_on_the_pages_of_the_operation(estate: make.Estate, people: make.People) -> None:
    stage = cleaned(estate, people)
    for address in (
        f"/cleanup/{stage.request_id}/",
        f"/backups/{stage.generation_id}/",
        f"/integrity/{stage.check_passed_id}/",
    ):
        page = signed_in(people.auditor).get(address).content.decode()
        assert f'href="{entry_of(f"cleanup:{stage.request_id}").url}"' in page
        assert "QA: try the application" in page


def test_a_stage_that_went_back_is_no_longer_ticked(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.prepared(cleanup_helpers.asked(people), people)
    entry = entry_of(f"stage:{stage.pk}")
    assert "QA: back up and verify" in done(entry)
    with log.transaction():
        log.record(Action.STAGE_RETURNED, actor=make.SETUP, environment="qa", subject=f"stage:{stage.pk}")
    assert "QA: back up and verify" not in done(entry)
    preparation.freeze_stage(stage, by=people.operator)
    cleanup_helpers.prepared(stage.request, people)
    assert "QA: back up and verify" in done(entry)


def test_backups_and_checks_by_themselves_are_entries(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    backup = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    make.work()
    backup.refresh_from_db()
    check = make.check(backup)
    make.work()
    assert found() == [f"check:{check.pk}", f"generation:{backup.pk}"]
    assert entry_of(f"check:{check.pk}").title == "Integrity check"
    assert done(entry_of(f"check:{check.pk}")) == ["Start the check", "No difference"]
    assert done(entry_of(f"generation:{backup.pk}")) == ["Write the backup", "Verify the backup", "Check against D1"]


def test_a_restore_is_an_entry_and_its_page_shows_the_procedure(estate: make.Estate, people: make.People) -> None:
    stage = cleaned(estate, people)
    assert stage.generation is not None
    restore = restore_selection.prepare_restore(stage.generation, actor=make.SETUP)
    make.work()
    assert found(procedure="restore") == [f"restore:{restore.pk}"]
    assert done(entry_of(f"restore:{restore.pk}")) == ["Choose the keys", "Compare with KV"]
    assert "Choose the keys" in signed_in(people.auditor).get(f"/restores/{restore.pk}/").content.decode()


def stands_on(entry: RunbookEntry, address: str, people: make.People) -> bool:
    """Whether the page of the operation shows its procedure, with the link to the entry."""
    return f'href="{entry.url}"' in signed_in(people.auditor).get(address).content.decode()


def test_a_restore_drill_is_an_entry_that_its_result_ticks(estate: make.Estate, people: make.People) -> None:
    estate.put(estate.qa, "master:a", b"1")
    restore_helpers.verified_backup(estate.qa)
    scratch = make.scratch(estate)
    request = drill_requests.ask(scratch.environment, days=30, cap=100, by=people.operator)
    approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    drill = drill_requests.start(scratch.environment, by=people.operator)
    entry = entry_of(f"drill:{drill.pk}")
    assert (found(procedure="drill"), done(entry)) == ([f"drill:{drill.pk}"], ["Start the drill"])
    assert found(procedure="drill", family=Family.objects.get(pattern="master:")) == [f"drill:{drill.pk}"]
    make.work()
    assert done(entry) == ["Start the drill", "Restore into the scratch namespace", "Every backup passed"]
    actions = [one.action for one in entry.timeline()[0]]
    assert ("drill.started" in actions, "drill.writing" in actions) == (True, False)
    assert stands_on(entry, f"/drills/{drill.pk}/", people)


def test_an_investigation_is_an_entry_and_its_backup_is_a_step(estate: make.Estate, people: make.People) -> None:
    estate.put(estate.qa, "mastercache:a")
    bucket_protection.ask_cloudflare(estate.qa.environment)
    made = test_investigations.start(estate, people)
    entry = entry_of(f"generation:{made.generation_id}")
    assert (found(), entry.begun.subject) == ([made.subject], made.subject)
    assert done(entry) == ["Open the investigation", "Write the backup", "Verify the backup"]
    test_investigations.approve(made, people)
    assert "Approval of the end" in done(entry)
    assert stands_on(entry, f"/investigations/{made.pk}/", people)


def test_a_prune_request_is_an_entry_and_takes_no_backup_from_the_operation_that_made_it(
    estate: make.Estate, people: make.People
) -> None:
    [old] = requesting.expired(estate, 40)
    prune = requesting.started(estate, people)
    entry = entry_of(f"prune:{prune.pk}")
    assert done(entry) == ["Collect the backups", "Approval"]
    make.work()
    assert done(entry) == ["Collect the backups", "Approval", "Delete the objects"]
    assert stands_on(entry, f"/retention/prunes/{prune.pk}/", people)
    assert entry_of(f"generation:{old.pk}").begun.subject == entry.begun.subject
    with log.transaction():
        begun = procedures.begun("cleanup", "SETTINGS", ["master:"])
        log.record(Action.GENERATION_STARTED, actor=make.SETUP, subject=f"generation:{old.pk}", details=begun)
    assert entry_of(f"generation:{old.pk}").begun.subject == f"generation:{old.pk}"


@pytest.mark.usefixtures("encrypting")
def test_a_backup_of_settings_has_its_own_procedure(estate: make.Estate, people: make.People) -> None:
    estate.put(estate.qa, "system-root", b"hush")
    backup = generation_start.start_backup(estate.qa, prefixes=["system-root"], actor=make.SETUP)
    assert entry_of(f"generation:{backup.pk}").title == "Backup of settings"
    assert found(procedure="backup_settings") == [f"generation:{backup.pk}"]
    assert found(procedure="restore") == []


def test_a_masked_value_that_was_read_is_an_entry_with_the_command(estate: make.Estate, people: make.People) -> None:
    for name in ("system-root", "master:a:1"):
        estate.put(estate.qa, name, b"hush")
        key_value.view(estate.qa, name, by=people.operator)
    [begun] = RunbookSearch().entries(50)
    page = signed_in(people.auditor).get(f"/runbook/{begun.seq}/").content.decode()
    assert "Masked value read" in page
    assert f"npx wrangler kv key get system-root --namespace-id {estate.qa.namespace_id}" in page
    assert [len(found(**some)) for some in ({"key": "system-root"}, {"key": "system"}, {"part": "stem-r"})] == [1, 0, 1]


def test_the_version_of_the_procedure_is_that_of_the_time(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = cleaned(estate, people)
    [old] = registry.PROCEDURES["cleanup"]
    newer = Procedure("cleanup", 2, "Other", [])
    monkeypatch.setitem(registry.PROCEDURES, "cleanup", (old, newer))
    assert entry_of(f"cleanup:{stage.request_id}").procedure == old
    assert procedures.begun("cleanup", "SETTINGS", ["master:"])["version"] == 2


def test_the_search_narrows_by_family_person_day_key_and_environment(estate: make.Estate, people: make.People) -> None:
    stage = cleaned(estate, people)
    mine = [f"cleanup:{stage.request_id}"]
    family, cache = (Family.objects.get(pattern=pattern) for pattern in ("master:", "mastercache:"))
    assert (found(family=family), found(family=cache)) == (mine, [])
    # The reviewer approved, and the second operator did nothing.
    assert (found(person="reviewer@"), found(person="OPERATOR@"), found(person="operator2")) == (mine, mine, [])
    assert (found(key="master:a:1"), found(key="master:a"), found(part="ster:")) == (mine, [], mine)
    assert (found(environment=estate.qa.environment), found(kind="read")) == (mine, [])
    now = clock.now()
    assert (found(since=now), found(until=now), found(until=now - timedelta(days=1))) == ([], mine, [])


def test_the_list_goes_on_where_the_page_before_ended(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    backup = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    cleanup = cleanup_helpers.asked(people)
    [first] = RunbookSearch().entries(1)
    assert first.subject == f"cleanup:{cleanup.pk}"
    page = signed_in(people.auditor).get("/runbook/", {"after": first.seq})
    assert [entry.begun.subject for entry in page.context["entries"]] == [f"generation:{backup.pk}"]


def test_a_note_is_shown_as_markdown_and_never_as_html(estate: make.Estate, people: make.People) -> None:
    entry = entry_of(f"cleanup:{cleanup_of(estate, people)}")
    text = (
        "**Fine** `a` [ok](https://example.com) [no](javascript:alert(1)) [no](//evil.example) <b>raw</b>\n\n"
        "![p](https://evil.example/p.png)\n\n# Title"
    )
    answer = signed_in(people.auditor).post(f"{entry.url}note", {"text": text})
    assert answer.headers["Location"] == entry.url
    page = signed_in(people.operator).get(entry.url).content.decode()
    assert '<strong>Fine</strong> <code>a</code> <a href="https://example.com">ok</a>' in page
    assert "&lt;b&gt;raw&lt;/b&gt;" in page
    html = page.partition('<div class="markdown">')[2].partition("</div>")[0]
    assert not any(bad in html for bad in ('href="javascript', 'href="//evil', "<img", "<h1"))
    assert Entry.objects.get(action=Action.RUNBOOK_NOTED).subject == entry.begun.subject


def cleanup_of(estate: make.Estate, people: make.People) -> int:
    cleanup_helpers.estate_with_masters(estate)
    return cleanup_helpers.asked(people).pk


@pytest.mark.parametrize("text", ["  ", "-----BEGIN RSA PRIVATE KEY-----", "ghp_0123456789"])
def test_an_empty_note_and_a_secret_are_refused(estate: make.Estate, people: make.People, text: str) -> None:
    entry = entry_of(f"cleanup:{cleanup_of(estate, people)}")
    with pytest.raises(RunbookRefused):
        runbook_notes.add(entry, text=text, by=people.operator)
    assert not RunbookNote.objects.exists()


def test_an_entry_is_a_file_of_markdown_that_nothing_in_it_breaks(estate: make.Estate, people: make.People) -> None:
    stage = cleaned(estate, people)
    entry = entry_of(f"cleanup:{stage.request_id}")
    runbook_notes.add(entry, text="first\n# second", by=people.auditor)
    answer = signed_in(people.auditor).get(f"{entry.url}markdown")
    text = answer.getvalue().decode()
    assert answer.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert text.startswith("# Clean-up: SETTINGS master:\\*\n")
    assert "- [x] **QA: delete and prove**" in text
    assert "- [ ] **Production: approval**" in text
    assert "> first\n> \\# second\n" in text
    assert f"→ {export.escaped(str(stage.generation))}" in text
    assert export._code("a `` b") == "``` a `` b ```"


@pytest.mark.parametrize(
    "bad",
    [
        "<img src=x onerror=alert(1)>", "![p](https://evil.example/p.png)", "[no](javascript:alert(1))", "&lt;img&gt;",
        "---", "===", "- one", "+ one", "1. one", "12) one", "https://evil.example", "www.evil.example",
    ],
)  # fmt: skip
def test_a_note_brings_nothing_into_the_file_that_the_page_escapes(
    estate: make.Estate, people: make.People, bad: str
) -> None:
    entry = entry_of(f"cleanup:{cleanup_of(estate, people)}")
    runbook_notes.add(entry, text=f"see\n\t{bad}", by=people.auditor)
    text = signed_in(people.auditor).get(f"{entry.url}markdown").getvalue().decode()
    assert f"> {bad}" not in text
    html = MarkdownIt("gfm-like", {"html": True}).render(text)
    assert not any(found in html for found in ("<img", 'href="javascript', "onerror=alert(1)>", 'evil.example"'))
    assert f"{escape(bad)}</p>" in html


def test_a_long_list_is_cut_in_its_file_and_says_so(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleanup_of(estate, people)
    generation_start.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    text = signed_in(people.auditor).get("/runbook/markdown").getvalue().decode()
    assert (text.count("\n## "), "cut here" in text) == (2, False)
    monkeypatch.setattr(export, "MOST", 1)
    text = signed_in(people.auditor).get("/runbook/markdown").getvalue().decode()
    assert (text.count("\n## "), "cut here" in text) == (1, True)


def test_entries_of_the_audit_log_that_began_nothing_are_not_in_the_runbook(people: make.People) -> None:
    with log.transaction():
        log.record(Action.RUN_CREATED, actor=make.SETUP, subject="run:1")
    browser = signed_in(people.auditor)
    number = Entry.objects.get(action=Action.RUN_CREATED).seq
    assert browser.get(f"/runbook/{number}/").status_code == 404
    assert "No operation yet" in browser.get("/runbook/").content.decode()


def test_the_list_is_narrowed_down_to_each_procedure_by_its_title(people: make.People) -> None:
    page = signed_in(people.auditor).get("/runbook/").context["form"]
    named = [name for name, _title in page.fields["procedure"].choices]
    assert sorted(named) == sorted(["", *registry.PROCEDURES])
    assert named[1:3] == ["backup_masters", "backup_clinics"]


def test_every_step_names_actions_that_tick_it() -> None:
    for versions in registry.PROCEDURES.values():
        assert [one.version for one in versions] == list(range(1, len(versions) + 1))
        for one in versions:
            assert all(step.ticks for step in one.steps)
