"""Template tags: `backups` shows copies and checks on any page."""
