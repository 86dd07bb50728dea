"""Exact, reproducible k-means with scikit-learn's interface.

`KMeans`, `MiniBatchKMeans`, `k_means` and `kmeans_plusplus` take the place of scikit-learn's;
`fastkm.evaluation` scores clusterings and chooses k, `fastkm.plotting` draws them,
`fastkm.callbacks` watches fits. The user's guide is docs/guide.md; the rest of this page is for
those who change the package.

Python decides, Cython guards and threads, C computes. The layers, from the top down; a module
imports from the layers its row names and from its own, and a test keeps the table true.

==========  =======================================  ===============================================
Layer       Modules                                  Imports from
==========  =======================================  ===============================================
commands    __main__, jobs, _info                    estimators, drawing, scoring, data, guards,
                                                     compiled
drawing     plotting                                 scoring, guards
scoring     evaluation                               estimators, control, guards, points,
                                                     compiled
data        datasets                                 nothing
estimators  kmeans, minibatch, _estimator, seeding   restarts, algorithm, control, guards, points
restarts    _restarts, _solo, _solo_seeding          algorithm, control, points, compiled
algorithm   _lloyd, _first_rounds, _batches,         control, pruning, points, compiled
            _potential, _gaps
control     _control, _bound, _tasks, callbacks,     points, compiled
            _losers
pruning     _filter, _leads, _neighbours,            points, compiled
            _seed_pruning
points      _problem, _sparse_problem, _draws,        compiled
            _shared
guards      _validation, _threads, exceptions        compiled
compiled    _core                                    nothing
==========  =======================================  ===============================================

``drawing`` and ``scoring`` take any fitted estimator with scikit-learn's attributes. Importing
``fastkm`` imports the estimators only: no plotting library, no change to the environment or to any
global thread setting. The other public modules are imported when they are first named.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ._version import __version__

try:
    from .kmeans import KMeans, k_means
    from .minibatch import MiniBatchKMeans
    from .seeding import kmeans_plusplus
except ImportError:
    # Python puts the current folder in front of what is installed, so whoever stands in a checkout
    # gets the sources; an extension that is there and does not load speaks for itself.
    if find_spec(f"{__name__}._core") is not None:
        raise
    raise ImportError(
        f"fastkm's extension is not built in {__path__[0]}, which holds the sources. To import the "
        "installed package, run Python in another folder or as python -P; to build the extension "
        "here, run pip install -e ."
    ) from None

__all__ = ["KMeans", "MiniBatchKMeans", "k_means", "kmeans_plusplus", "__version__"]

_MODULES = {"callbacks", "datasets", "evaluation", "exceptions", "plotting"}

if not TYPE_CHECKING:  # a type checker would take any name for an attribute

    def __getattr__(name: str) -> Any:
        """Import a public module that is named as an attribute."""
        if name in _MODULES:
            return import_module(f".{name}", __name__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
