"""The checks of the doctor (`kvops.doctor`) that know R2 and the secrets of backups."""
