"""The part of backups in the frame of every page: numbers for the menu. `kvops.site.badges` names them by strings."""
