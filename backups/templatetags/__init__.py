"""Template tags: `backups_ui` shows copies and checks on any page."""
