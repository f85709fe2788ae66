"""Template tags: `kvops_ui` has the building blocks of every page."""
