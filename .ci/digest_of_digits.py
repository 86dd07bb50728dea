"""Print the instruction set, and a digest of a fit's bits: the same on every machine.

An emulator starts Python by its real name, which knows no virtual environment: its folder may be
given.
"""

import site
import sys
from pathlib import Path

for folder in sys.argv[1:]:
    for packages in Path(folder).glob("lib/python*/site-packages"):
        site.addsitedir(str(packages.resolve()))

import hashlib  # noqa: E402

from sklearn.datasets import load_digits  # noqa: E402

from fastkm import KMeans, _core  # noqa: E402

kmeans = KMeans(10, n_init=4, random_state=0).fit(load_digits().data)
bits = kmeans.labels_.tobytes() + kmeans.cluster_centers_.tobytes()
print(_core.DEFAULT_ISA, hashlib.sha256(bits).hexdigest(), kmeans.inertia_.hex(), kmeans.n_iter_)
