"""rnnlab: a laboratory for recurrent neural networks."""

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

__version__ = "0.1.0"


class _Later(ModuleType):
    """Stand for `scipy.signal` until someone wants something of it.

    torchmetrics, which Lightning imports, imports it only to add an old name where that is missing: a second of every start.
    """

    hamming = None

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") and name not in ("__path__", "__all__"):  # who goes through all modules wants nothing of this one
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


if "scipy.signal" not in sys.modules:
    sys.modules["scipy.signal"] = _Later("scipy.signal")
    sys.modules["scipy.signal"].__spec__ = ModuleSpec("scipy.signal", None)
