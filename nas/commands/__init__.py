"""Subcommands of `nasfpn`, one module each: from a configuration or a run directory to output and files."""
