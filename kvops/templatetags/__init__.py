"""Template tags: `ui` has the building blocks of every page."""
