"""gunicorn's own lines in our format. They tell of what escapes Django, whose messages may quote values."""

from gunicorn.config import Config
from gunicorn.glogging import Logger as GunicornLogger

from kvops import logs


class Logger(GunicornLogger):  # type: ignore[misc]
    """Writes as the product does. The access log is `kvops.site.access`."""

    def setup(self, cfg: Config) -> None:
        """Set up the handlers, at start and at a reload."""
        super().setup(cfg)
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            handler.setFormatter(logs.formatter())
