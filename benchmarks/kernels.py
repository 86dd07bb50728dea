"""GFLOP/s of the fused kernel against the processor's FMA peak: `python -m benchmarks.kernels`.

One thread labels rows that lie in cache, second best and recheck included, loading and centring
too. A distance counts 2 d operations. The peak is measured in the same run, in turns with each
kernel, by a loop of independent fused multiply-adds as wide as the instruction set; SSE2 and
portable C have none, so theirs is that of AVX2.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from fastkm import _core
from fastkm._problem import Problem

SHAPES = [
    (784, 256),
    (384, 1000),
    (128, 256),
    (64, 10),
    (16, 1000),
    (16, 64),
    (8, 64),
    (3, 64),
    (2, 100),
]
# Shares of the FMA peak that the kernel must reach, by (instruction set, d, k).
FIGURES = {
    ("avx512", 784, 256): 0.80,
    ("avx512", 128, 256): 0.75,
    ("avx512", 16, 1000): 0.55,
    ("avx512", 3, 64): 45 / 175,
    ("avx2", 784, 256): 0.75,
}
PEAK_SOURCE = r"""
#include <stdio.h>
#include <time.h>
#define REP8(x) x x x x x x x x
#define FMA(r) "vfmadd231ps %%" r "14, %%" r "15, %%" r
#define TWELVE(r) FMA(r) "0\n" FMA(r) "1\n" FMA(r) "2\n" FMA(r) "3\n" FMA(r) "4\n" FMA(r) "5\n" \
    FMA(r) "6\n" FMA(r) "7\n" FMA(r) "8\n" FMA(r) "9\n" FMA(r) "10\n" FMA(r) "11\n"
#define CLOBBER "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
    "xmm10", "xmm11", "xmm14", "xmm15"
#define RUN(r) __asm__ volatile(REP8(TWELVE(r)) ::: CLOBBER)
int main(int argc, char** argv) {
    const int is_wide = argc > 1 && argv[1][0] == '1';
    const long n = 100000;
    struct timespec begun, ended;
    __asm__ volatile("vpxor %%xmm14, %%xmm14, %%xmm14\n"
                     "vpxor %%xmm15, %%xmm15, %%xmm15" ::: CLOBBER);
    clock_gettime(CLOCK_MONOTONIC, &begun);
    if (is_wide) for (long i = 0; i < n; i++) RUN("zmm");
    else for (long i = 0; i < n; i++) RUN("ymm");
    clock_gettime(CLOCK_MONOTONIC, &ended);
    const double seconds = ended.tv_sec - begun.tv_sec + 1e-9 * (ended.tv_nsec - begun.tv_nsec);
    printf("%.3f\n", 96.0 * n * (is_wide ? 32 : 16) / seconds / 1e9);
    return 0;
}
"""


def build_peak(folder: str) -> Path:
    """Compile the loop that measures the FMA peak."""
    source, program = Path(folder) / "peak.c", Path(folder) / "peak"
    source.write_text(PEAK_SOURCE)
    subprocess.run(["cc", "-O2", "-mavx512f", "-o", str(program), str(source)], check=True)
    return program


def fma_peak(program: Path, isa: str) -> float:
    """Run the loop once, in GFLOP/s."""
    wide = "1" if isa.startswith("avx512") else "0"
    return float(subprocess.run([program, wide], check=True, capture_output=True, text=True).stdout)


def rows_around(centroids: np.ndarray, n: int, generator: np.random.Generator) -> np.ndarray:
    """Draw n rows near centroids: as in a late round, few lie between two."""
    own = centroids[generator.integers(len(centroids), size=n)]
    return (own + generator.uniform(-0.25, 0.25, size=own.shape)).astype(np.float32)


def measure(isa: str, d: int, k: int, turns: int, peak: Path) -> dict[str, object]:
    """Time labelling and the peak in turns; medians over the turns."""
    generator = np.random.default_rng(0)
    centroids = generator.uniform(-0.5, 0.5, size=(k, d))
    n = 1024 if d > 100 else 8192
    problem = Problem(rows_around(centroids, n, generator), n_threads=1, isa=isa)
    engine = problem.engine(k)
    engine.use_bytes(False)  # a share of the FMA peak
    engine.set_centroids(centroids)
    labels = np.empty(n, dtype=np.int32)
    engine.assign(labels, 0, n)
    repeats = max(1, int(4e8 / (n * d * k)))
    rates, peaks = [], []
    for _ in range(turns):
        peaks.append(fma_peak(peak, isa))
        begun = time.perf_counter()
        for _ in range(repeats):
            engine.assign(labels, 0, n)
        rates.append(2e-9 * n * d * k * repeats / (time.perf_counter() - begun))
    share = statistics.median(rate / top for rate, top in zip(rates, peaks, strict=True))
    return {
        "isa": isa,
        "d": d,
        "k": k,
        "gflops": statistics.median(rates),
        "peak": statistics.median(peaks),
        "share": share,
        "at_least": FIGURES.get((isa, d, k)),
    }


def main() -> int:
    """Measure all shapes, print a table, and fail if a figure is missed under --check."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("--isa", nargs="*", default=list(_core.supported_isas()))
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true", help="fail if a figure is missed")
    arguments = parser.parse_args()
    rows = []
    print(f"{'isa':9}{'d':>5}{'k':>6}{'GFLOP/s':>10}{'peak':>8}{'share':>8}{'at least':>10}")
    with tempfile.TemporaryDirectory() as folder:
        peak = build_peak(folder)
        for isa in arguments.isa:
            for d, k in SHAPES:
                row = measure(isa, d, k, arguments.turns, peak)
                rows.append(row)
                least = f"{row['at_least']:.2f}" if row["at_least"] else ""
                print(
                    f"{isa:9}{d:5}{k:6}{row['gflops']:10.1f}{row['peak']:8.1f}"
                    f"{row['share']:8.2f}{least:>10}",
                    flush=True,
                )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    missed = [row for row in rows if row["at_least"] and row["share"] < row["at_least"]]
    for row in missed:
        print(f"missed: {row['isa']} d={row['d']} k={row['k']}: {row['share']:.2f}")
    return 1 if missed and arguments.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
