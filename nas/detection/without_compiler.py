"""torch without its compiler, for short commands: it takes as long to import as torch itself.

torchvision imports it for one function, and torch itself as soon as a tensor has no values. Neither compiles anything.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

COMPILER, HELPERS = "torch._dynamo", "torch._dynamo.utils"


def defer_compiler() -> None:
    """Import torch's compiler when it is asked for more than to leave functions alone; to be called before torchvision
    is imported."""
    for name, deferred in DEFERRED.items():
        sys.modules.setdefault(name, deferred(name))


class _Deferred(ModuleType):
    """Stands for a module of the compiler; whatever else it is asked for, the compiler is imported."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and (name, self.__name__) != ("__path__", COMPILER):
            raise AttributeError(name)
        return getattr(_imported(self.__name__), name)


class _Compiler(_Deferred):
    @staticmethod
    def disable(function: Any = None, *_: Any, **__: Any) -> Any:
        """Return the function as it is: nothing is compiled, so that nothing needs a guard."""
        return (lambda each: each) if function is None else function


class _Helpers(_Deferred):
    @staticmethod
    def is_compile_supported(device: Any) -> Any:
        return _imported(HELPERS).is_compile_supported(device)


DEFERRED = {COMPILER: _Compiler, HELPERS: _Helpers}


def _imported(name: str) -> Any:
    for deferred in DEFERRED:
        if isinstance(sys.modules.get(deferred), _Deferred):
            del sys.modules[deferred]
    return importlib.import_module(name)
