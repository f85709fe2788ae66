"""The estate, and the project package."""
