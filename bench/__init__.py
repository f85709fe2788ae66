"""What is measured rather than tested: `python -m bench [name …]`. See README.md."""
