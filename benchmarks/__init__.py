"""Benchmarks of fastkm against other k-means packages: ``python -m benchmarks --help``.

    __main__    the command line
    measure     one workload: quality first, memory, then paired turns
    workloads   what is clustered: real and generated points, start rows, rounds
    peers       who clusters: one fit function per package, and its environment
    worker      the process a peer runs in
    reference   the float64 NumPy oracle that says which inertia is right
    figures     the figures asked of fastkm, checked by --check
    report      Markdown tables, JSON, README's block
    machine     CPU, system, versions, commit: what a number means nothing without
    kernels     a program of its own: the kernels' GFLOP/s against the FMA peak
    minibatch   a program of its own: MiniBatchKMeans at its defaults beside scikit-learn's
    defaults    a program of its own: KMeans at its defaults beside scikit-learn's and others
    silhouette  a program of its own: silhouettes beside scikit-learn's, and MNIST's
    growth      a program of its own: what a unit of work costs as n, d and k grow
    threads     a program of its own: what a further thread brings
    interrupt   a program of its own: how soon Ctrl-C is answered

Imports run downwards. Only a worker's process, ``kernels``, ``growth``, ``threads``, ``interrupt``
and the processes that ``minibatch`` and ``defaults`` start import the packages under test.
"""

import sys
from pathlib import Path

# ``python -m`` in a checkout puts its sources, which hold no compiled core, before an installed
# fastkm; what is installed is what is measured.
if sys.path[0] == str(Path(__file__).resolve().parents[1]):
    sys.path.append(sys.path.pop(0))
