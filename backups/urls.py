"""The addresses of copies and clean-up."""

from django.urls import URLPattern, path, re_path

from backups.bucket import views as storage
from backups.cleanup import stage_views as stages
from backups.cleanup import views as cleanup
from backups.comparisons import views as comparisons
from backups.deletion import views as deletion
from backups.drills import views as drills
from backups.exports import views as plain_files
from backups.generations import list_views as backups
from backups.generations import views as generations
from backups.history import views as history
from backups.integrity import views as integrity
from backups.investigations import views as investigations
from backups.masters import views as masters
from backups.restores import views as restores
from backups.retention import request_views as prunes
from backups.retention import views as retention

app_name = "backups"
urlpatterns: list[URLPattern] = [
    path("backups/", backups.index, name="backups"),
    path("backups/<int:pk>/", generations.detail, name="generation"),
    path("backups/<int:pk>/check", integrity.check, name="generation_check"),
    path("backups/<int:pk>/compare/", comparisons.index, name="comparisons"),
    path("backups/<int:pk>/compare/<int:comparison>/", comparisons.detail, name="comparison"),
    path("backups/<int:pk>/compare/<int:comparison>/file", comparisons.download, name="comparison_file"),
    path("backups/<int:pk>/compare/<int:comparison>/live", comparisons.live, name="comparison_live"),
    path(
        "backups/<int:pk>/compare/<int:comparison>/names/<int:entry>/value", comparisons.value, name="comparison_value"
    ),
    path("backups/<int:pk>/compare/start", comparisons.start, name="comparison_start"),
    path("backups/<int:pk>/entries/<int:index>/compare", comparisons.entry_value, name="entry_compare"),
    path("backups/<int:pk>/entries/<int:index>/value", generations.value, name="entry_value"),
    path("backups/<int:pk>/live", generations.live, name="generation_live"),
    path("backups/<int:pk>/pin", retention.pin, name="generation_pin"),
    path("backups/<int:pk>/restores/new/", restores.new, name="restore_new"),
    path("backups/<int:pk>/restore", generations.steps, name="generation_steps"),
    path("backups/<int:pk>/verify", generations.verify, name="generation_verify"),
    path("backups/csv", backups.table, name="backups_csv"),
    path("backups/dumps/<int:pk>/kept", plain_files.kept, name="dump_kept"),
    path("backups/history/", history.index, name="history"),
    path("backups/history/report/", history.report, name="history_report"),
    re_path(r"^backups/history/events\.(?P<kind>csv|json)$", history.file, name="history_file"),
    path("backups/masters/", masters.index, name="masters"),
    path("backups/masters/start", masters.start, name="masters_start"),
    path("backups/new/", backups.new, name="backup_new"),
    path("backups/pins/<int:pk>/remove", retention.unpin, name="pin_remove"),
    path("cleanup/", cleanup.index, name="cleanup_list"),
    path("cleanup/<int:pk>/", cleanup.detail, name="cleanup"),
    path("cleanup/<int:pk>/end", cleanup.end, name="cleanup_end"),
    path("cleanup/<int:pk>/references", cleanup.references, name="cleanup_references"),
    path("cleanup/new/", cleanup.new, name="cleanup_new"),
    path("cleanup/stages/<int:pk>/", stages.detail, name="stage"),
    path("cleanup/stages/<int:pk>/accept", stages.accept, name="stage_accept"),
    path("cleanup/stages/<int:pk>/again", stages.again, name="stage_again"),
    path("cleanup/stages/<int:pk>/end-early", deletion.end_early, name="stage_end_early"),
    path("cleanup/stages/<int:pk>/freeze", stages.freeze, name="stage_freeze"),
    path("cleanup/stages/<int:pk>/leftovers", stages.leftovers, name="stage_leftovers"),
    path("cleanup/stages/<int:pk>/live", stages.live, name="stage_live"),
    path("cleanup/stages/<int:pk>/names", stages.all_names, name="stage_names"),
    path("cleanup/stages/<int:pk>/prepare", stages.prepare, name="stage_prepare"),
    path("cleanup/stages/<int:pk>/reappeared", deletion.reappeared, name="stage_reappeared"),
    path("cleanup/stages/<int:pk>/share", stages.share, name="stage_share"),
    path("cleanup/stages/<int:pk>/start", stages.start, name="stage_start"),
    path("cleanup/stages/<int:pk>/submit", stages.submit, name="stage_submit"),
    path("cleanup/stages/<int:pk>/undo", restores.undo, name="stage_undo"),
    path("drills/", drills.index, name="drills"),
    path("drills/<int:pk>/", drills.detail, name="drill"),
    path("drills/<int:pk>/live", drills.live, name="drill_live"),
    path("drills/<slug:environment>/ask", drills.ask, name="drill_ask"),
    path("drills/<slug:environment>/start", drills.start, name="drill_start"),
    path("integrity/", integrity.index, name="integrity"),
    path("integrity/<int:pk>/", integrity.detail, name="check"),
    path("integrity/<int:pk>/again", integrity.again, name="check_again"),
    path("integrity/<int:pk>/live", integrity.live, name="check_live"),
    path("investigations/", investigations.index, name="investigations"),
    path("investigations/new/", investigations.new, name="investigation_new"),
    path("investigations/<int:pk>/", investigations.detail, name="investigation"),
    path("investigations/<int:pk>/ask", investigations.ask, name="investigation_ask"),
    path("investigations/<int:pk>/close", investigations.close, name="investigation_close"),
    path("investigations/<int:pk>/live", investigations.live, name="investigation_live"),
    path("restores/", restores.index, name="restores"),
    path("restores/<int:pk>/", restores.detail, name="restore"),
    path("restores/<int:pk>/again", restores.again, name="restore_again"),
    path("restores/<int:pk>/compare", restores.compare, name="restore_compare"),
    path("restores/<int:pk>/end", restores.end, name="restore_end"),
    path("restores/<int:pk>/live", restores.live, name="restore_live"),
    path("restores/<int:pk>/look", restores.look, name="restore_look"),
    path("restores/<int:pk>/names", restores.names, name="restore_names"),
    path("restores/<int:pk>/names/<int:index>/value", restores.value, name="restore_value"),
    path("restores/<int:pk>/start", restores.start, name="restore_start"),
    path("restores/<int:pk>/submit", restores.submit, name="restore_submit"),
    path("retention/", retention.index, name="retention"),
    path("retention/collect/<slug:environment>", prunes.collect, name="prune_collect"),
    path("retention/prunes/", prunes.index, name="prunes"),
    path("retention/prunes/<int:pk>/", prunes.detail, name="prune"),
    path("retention/prunes/<int:pk>/again", prunes.again, name="prune_again"),
    path("retention/prunes/<int:pk>/end", prunes.end, name="prune_end"),
    path("retention/prunes/<int:pk>/live", prunes.live, name="prune_live"),
    path("retention/prunes/<int:pk>/objects", prunes.objects, name="prune_objects"),
    path("retention/prunes/<int:pk>/start", prunes.start, name="prune_start"),
    path("retention/try/", retention.simulate, name="retention_try"),
    path("storage/", storage.index, name="storage"),
    path("storage/csv", storage.table, name="storage_csv"),
    path("storage/note", storage.note_all, name="storage_note_all"),
    path("storage/objects/<int:pk>/", storage.detail, name="storage_object"),
    path("storage/objects/<int:pk>/note", storage.note, name="storage_note"),
    path("storage/<slug:environment>/protection", storage.ask_cloudflare, name="storage_protection"),
    path("storage/<slug:environment>/reconcile", storage.reconcile, name="storage_reconcile"),
]
