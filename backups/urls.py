"""The addresses of copies and clean-up."""

from django.urls import URLPattern, path

from backups.views import backups, cleanup, generations, integrity, stages, storage

app_name = "backups"
urlpatterns: list[URLPattern] = [
    path("backups/", backups.index, name="backups"),
    path("backups/<int:pk>/", generations.detail, name="generation"),
    path("backups/<int:pk>/check", generations.check, name="generation_check"),
    path("backups/<int:pk>/entries/<int:index>/value", generations.value, name="entry_value"),
    path("backups/<int:pk>/live", generations.live, name="generation_live"),
    path("backups/<int:pk>/restore", generations.steps, name="generation_steps"),
    path("backups/<int:pk>/verify", generations.verify, name="generation_verify"),
    path("backups/csv", backups.table, name="backups_csv"),
    path("backups/dumps/<int:pk>/kept", backups.kept, name="dump_kept"),
    path("backups/new/", backups.new, name="backup_new"),
    path("cleanup/", cleanup.index, name="cleanup_list"),
    path("cleanup/<int:pk>/", cleanup.detail, name="cleanup"),
    path("cleanup/<int:pk>/end", cleanup.end, name="cleanup_end"),
    path("cleanup/<int:pk>/references", cleanup.references, name="cleanup_references"),
    path("cleanup/new/", cleanup.new, name="cleanup_new"),
    path("cleanup/stages/<int:pk>/", stages.detail, name="stage"),
    path("cleanup/stages/<int:pk>/accept", stages.accept, name="stage_accept"),
    path("cleanup/stages/<int:pk>/again", stages.again, name="stage_again"),
    path("cleanup/stages/<int:pk>/end-early", stages.end_early, name="stage_end_early"),
    path("cleanup/stages/<int:pk>/freeze", stages.freeze, name="stage_freeze"),
    path("cleanup/stages/<int:pk>/leftovers", stages.leftovers, name="stage_leftovers"),
    path("cleanup/stages/<int:pk>/live", stages.live, name="stage_live"),
    path("cleanup/stages/<int:pk>/names", stages.all_names, name="stage_names"),
    path("cleanup/stages/<int:pk>/prepare", stages.prepare, name="stage_prepare"),
    path("cleanup/stages/<int:pk>/reappeared", stages.reappeared, name="stage_reappeared"),
    path("cleanup/stages/<int:pk>/start", stages.start, name="stage_start"),
    path("cleanup/stages/<int:pk>/submit", stages.submit, name="stage_submit"),
    path("integrity/", integrity.index, name="integrity"),
    path("integrity/<int:pk>/", integrity.detail, name="check"),
    path("integrity/<int:pk>/again", integrity.again, name="check_again"),
    path("integrity/<int:pk>/live", integrity.live, name="check_live"),
    path("storage/", storage.index, name="storage"),
    path("storage/<slug:environment>/reconcile", storage.reconcile, name="storage_reconcile"),
]
