"""The command `nasfpn`. Modules that import torch or Ray are imported by the commands that need them."""

from nas.cli.app import main

__all__ = ["main"]
