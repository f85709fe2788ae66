"""The addresses of backups and clean-up."""

from django.urls import URLPattern, path, re_path

from backups.bucket import views as bucket_views
from backups.cleanup import stage_views, views as cleanup_views
from backups.comparisons import views as comparison_views
from backups.deletion import views as deletion
from backups.drills import views as drill_views
from backups.exports import views as plain_files
from backups.generations import list_views, views as generation_views
from backups.history import views as history_views
from backups.integrity import views as check_views
from backups.investigations import views as investigation_views
from backups.masters import views as masters_views
from backups.restores import views as restore_views
from backups.retention import request_views as prune_views, views as retention_views

app_name = "backups"
urlpatterns: list[URLPattern] = [
    path("backups/", list_views.index, name="backups"),
    path("backups/<int:pk>/", generation_views.detail, name="generation"),
    path("backups/<int:pk>/check", check_views.check, name="generation_check"),
    path("backups/<int:pk>/compare/", comparison_views.index, name="comparisons"),
    path("backups/<int:pk>/compare/<int:comparison>/", comparison_views.detail, name="comparison"),
    path("backups/<int:pk>/compare/<int:comparison>/file", comparison_views.download, name="comparison_file"),
    path("backups/<int:pk>/compare/<int:comparison>/live", comparison_views.live, name="comparison_live"),
    path(
        "backups/<int:pk>/compare/<int:comparison>/names/<int:entry>/value",
        comparison_views.value,
        name="comparison_value",
    ),
    path("backups/<int:pk>/compare/start", comparison_views.start, name="comparison_start"),
    path("backups/<int:pk>/entries/<int:index>/compare", comparison_views.entry_value, name="entry_compare"),
    path("backups/<int:pk>/entries/<int:index>/value", generation_views.value, name="entry_value"),
    path("backups/<int:pk>/live", generation_views.live, name="generation_live"),
    path("backups/<int:pk>/pin", retention_views.pin, name="generation_pin"),
    path("backups/<int:pk>/restores/new/", restore_views.new, name="restore_new"),
    path("backups/<int:pk>/restore", generation_views.steps, name="generation_steps"),
    path("backups/<int:pk>/verify", generation_views.verify, name="generation_verify"),
    path("backups/csv", list_views.table, name="backups_csv"),
    path("backups/dumps/<int:pk>/kept", plain_files.kept, name="dump_kept"),
    path("backups/history/", history_views.index, name="history"),
    path("backups/history/report/", history_views.report, name="history_report"),
    re_path(r"^backups/history/events\.(?P<kind>csv|json)$", history_views.file, name="history_file"),
    path("backups/masters/", masters_views.index, name="masters"),
    path("backups/masters/start", masters_views.start, name="masters_start"),
    path("backups/new/", list_views.new, name="backup_new"),
    path("backups/pins/<int:pk>/remove", retention_views.unpin, name="pin_remove"),
    path("cleanup/", cleanup_views.index, name="cleanup_list"),
    path("cleanup/<int:pk>/", cleanup_views.detail, name="cleanup"),
    path("cleanup/<int:pk>/end", cleanup_views.step, {"step": "end"}, name="cleanup_end"),
    path("cleanup/<int:pk>/references", cleanup_views.step, {"step": "references"}, name="cleanup_references"),
    path("cleanup/new/", cleanup_views.new, name="cleanup_new"),
    path("cleanup/stages/<int:pk>/", stage_views.detail, name="stage"),
    path("cleanup/stages/<int:pk>/accept", stage_views.step, {"step": "accept"}, name="stage_accept"),
    path("cleanup/stages/<int:pk>/again", stage_views.step, {"step": "again"}, name="stage_again"),
    path("cleanup/stages/<int:pk>/end-early", deletion.end_early, name="stage_end_early"),
    path("cleanup/stages/<int:pk>/freeze", stage_views.step, {"step": "freeze"}, name="stage_freeze"),
    path("cleanup/stages/<int:pk>/leftovers", stage_views.step, {"step": "leftovers"}, name="stage_leftovers"),
    path("cleanup/stages/<int:pk>/live", stage_views.live, name="stage_live"),
    path("cleanup/stages/<int:pk>/names", stage_views.all_names, name="stage_names"),
    path("cleanup/stages/<int:pk>/others", stage_views.step, {"step": "others"}, name="stage_others"),
    path("cleanup/stages/<int:pk>/prepare", stage_views.step, {"step": "prepare"}, name="stage_prepare"),
    path("cleanup/stages/<int:pk>/reappeared", deletion.reappeared, name="stage_reappeared"),
    path("cleanup/stages/<int:pk>/share", stage_views.step, {"step": "share"}, name="stage_share"),
    path("cleanup/stages/<int:pk>/start", stage_views.step, {"step": "start"}, name="stage_start"),
    path("cleanup/stages/<int:pk>/submit", stage_views.step, {"step": "submit"}, name="stage_submit"),
    path("cleanup/stages/<int:pk>/undo", restore_views.undo, name="stage_undo"),
    path("drills/", drill_views.index, name="drills"),
    path("drills/<int:pk>/", drill_views.detail, name="drill"),
    path("drills/<int:pk>/live", drill_views.live, name="drill_live"),
    path("drills/<slug:environment>/ask", drill_views.ask, name="drill_ask"),
    path("drills/<slug:environment>/start", drill_views.start, name="drill_start"),
    path("integrity/", check_views.index, name="integrity"),
    path("integrity/<int:pk>/", check_views.detail, name="check"),
    path("integrity/<int:pk>/again", check_views.again, name="check_again"),
    path("integrity/<int:pk>/live", check_views.live, name="check_live"),
    path("investigations/", investigation_views.index, name="investigations"),
    path("investigations/new/", investigation_views.new, name="investigation_new"),
    path("investigations/<int:pk>/", investigation_views.detail, name="investigation"),
    path("investigations/<int:pk>/ask", investigation_views.step, {"step": "ask"}, name="investigation_ask"),
    path("investigations/<int:pk>/close", investigation_views.step, {"step": "close"}, name="investigation_close"),
    path("investigations/<int:pk>/live", investigation_views.live, name="investigation_live"),
    path("keys/<slug:environment>/<slug:binding>/deleted/", history_views.deleted, name="deleted_keys"),
    path("restores/", restore_views.index, name="restores"),
    path("restores/<int:pk>/", restore_views.detail, name="restore"),
    path("restores/<int:pk>/again", restore_views.step, {"step": "again"}, name="restore_again"),
    path("restores/<int:pk>/compare", restore_views.step, {"step": "compare"}, name="restore_compare"),
    path("restores/<int:pk>/end", restore_views.step, {"step": "end"}, name="restore_end"),
    path("restores/<int:pk>/live", restore_views.live, name="restore_live"),
    path("restores/<int:pk>/look", restore_views.step, {"step": "look"}, name="restore_look"),
    path("restores/<int:pk>/names", restore_views.names, name="restore_names"),
    path("restores/<int:pk>/names/<int:index>/value", restore_views.value, name="restore_value"),
    path("restores/<int:pk>/start", restore_views.step, {"step": "start"}, name="restore_start"),
    path("restores/<int:pk>/submit", restore_views.step, {"step": "submit"}, name="restore_submit"),
    path("retention/", retention_views.index, name="retention"),
    path("retention/collect/<slug:environment>", prune_views.collect, name="prune_collect"),
    path("retention/prunes/", prune_views.index, name="prunes"),
    path("retention/prunes/<int:pk>/", prune_views.detail, name="prune"),
    path("retention/prunes/<int:pk>/again", prune_views.step, {"step": "again"}, name="prune_again"),
    path("retention/prunes/<int:pk>/end", prune_views.step, {"step": "end"}, name="prune_end"),
    path("retention/prunes/<int:pk>/live", prune_views.live, name="prune_live"),
    path("retention/prunes/<int:pk>/objects", prune_views.objects, name="prune_objects"),
    path("retention/prunes/<int:pk>/start", prune_views.step, {"step": "start"}, name="prune_start"),
    path("retention/try/", retention_views.simulate, name="retention_try"),
    path("storage/", bucket_views.index, name="storage"),
    path("storage/csv", bucket_views.table, name="storage_csv"),
    path("storage/note", bucket_views.note_all, name="storage_note_all"),
    path("storage/objects/<int:pk>/", bucket_views.detail, name="storage_object"),
    path("storage/objects/<int:pk>/note", bucket_views.note, name="storage_note"),
    path("storage/<slug:environment>/protection", bucket_views.ask_cloudflare, name="storage_protection"),
    path("storage/<slug:environment>/reconcile", bucket_views.reconcile, name="storage_reconcile"),
]
