"""The command `nasfpn`, and our runs under a name that no project of a user has: `nasfpn.signs:search`.

The modules of `experiments` are found here as well; a project's own package `experiments` cannot hide them here.
"""

from pathlib import Path

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"

__path__ = [*__path__, str(EXPERIMENTS)]
