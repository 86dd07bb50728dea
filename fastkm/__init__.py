"""Exact, reproducible k-means with scikit-learn's interface.

Python decides, Cython guards and threads, C computes. The layers, from the top down; a module
imports from the layers its row names and from its own, and a test keeps the table true.

==========  =======================================  ==============================================
Layer       Modules                                  Imports from
==========  =======================================  ==============================================
commands    __main__, jobs, _info                    estimators, drawing, scoring, guards, compiled
drawing     plotting                                 scoring, guards
scoring     evaluation                               guards, compiled
estimators  kmeans, minibatch, _estimator, seeding   algorithm, guards, points
algorithm   _restarts, _lloyd, _batches, _potential  points, compiled
points      _problem                                 compiled
guards      _validation, _threads                    compiled
compiled    _core                                    nothing
==========  =======================================  ==============================================

``drawing`` and ``scoring`` take any fitted estimator with scikit-learn's attributes. Importing
``fastkm`` imports the estimators only: no plotting library, no change to the environment or to any
global thread setting.
"""

from ._version import __version__
from .kmeans import KMeans, k_means
from .minibatch import MiniBatchKMeans
from .seeding import kmeans_plusplus

__all__ = ["KMeans", "MiniBatchKMeans", "k_means", "kmeans_plusplus", "__version__"]
