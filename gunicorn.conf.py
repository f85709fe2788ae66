"""gunicorn reads this file from the folder that it is started in."""

logger_class = "kvops.site.serving.Logger"
