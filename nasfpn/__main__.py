"""`python -m nasfpn`."""

from nasfpn.command import main

main()
