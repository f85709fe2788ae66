"""gunicorn reads this file from the folder that it is started in: unit, image and sandbox start alike."""

from pathlib import Path

logger_class = "kvops.site.serving.Logger"
worker_class = "gthread"
threads = 8
# On a disk that is slow or full, the sign of life of a worker would come late. macOS has no such folder.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
control_socket_disable = True
# Bytes. The most that gunicorn takes; the search sends addresses longer than its default.
limit_request_line = 8190
