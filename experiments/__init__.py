"""Chosen runs: functions that return a search's configuration.

A directory `experiments` of the user's project without an `__init__.py` is part of this package.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
