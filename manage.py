#!/usr/bin/env python
"""Django's command line; `manage.py sandbox` runs before Django and brings its own settings."""

import os
import sys


def main() -> None:
    """Run one management command."""
    if sys.version_info < (3, 12):  # noqa: UP036  (an older one could not read the modules imported below)
        sys.exit(f"KVOps needs Python 3.12 or newer; this is {sys.version.split()[0]}.")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kvops.settings")
    if sys.argv[1:2] == ["sandbox"]:
        from sandbox import start

        sys.exit(start.main(sys.argv[2:]))
    from django.core.management import execute_from_command_line
    from django.db import OperationalError

    from kvops import logs
    from kvops.env import SettingError, settings_of_ci

    logs.catch_all()
    if refused := settings_of_ci(sys.argv[1:], os.environ):
        sys.stderr.write(f"{refused}\n")
        sys.exit(2)
    try:
        execute_from_command_line(sys.argv)
    except SettingError as error:
        sys.exit(str(error))
    except OperationalError as error:
        if "--traceback" in sys.argv:
            raise
        sys.exit(f"The database of DATABASE_URL does not answer: {str(error).splitlines()[0]}")


if __name__ == "__main__":
    main()
