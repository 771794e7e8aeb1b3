"""`python -m nas.cli`."""

from nas.cli.app import main

main()
