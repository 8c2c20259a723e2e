"""`python -m lyredb`: the same as the `lyredb` command."""

from lyredb.cli import main

main()
