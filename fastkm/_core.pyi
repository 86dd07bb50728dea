"""Types of the compiled core."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

_Float64 = npt.NDArray[np.float64]
_Float32 = npt.NDArray[np.float32]
_Int32 = npt.NDArray[np.int32]

BLOCK_ROWS: int
MAX_CANDIDATES: int
CELL_ROWS: int
BUILT_ISAS: tuple[str, ...]
DEFAULT_ISA: str
TILE_CENTROIDS: int

def supported_isas() -> tuple[str, ...]: ...
def has_openmp() -> bool: ...
def openmp_runtime() -> str | None: ...
def openmp_max_threads() -> int: ...
def openmp_n_procs() -> int: ...
def n_threads_now(n_threads: int) -> int: ...
def forget_load() -> None: ...
def brute_work(k: int, d: int) -> float: ...
def row_work(k: int, d: int) -> float: ...
def following_work(k: int, d: int) -> float: ...
def has_room(n_bytes: int) -> bool: ...
def compiler() -> str: ...
def find_origin(points: Points, step: int, origin: _Float64, isa: str) -> None: ...
def join_moments(
    moments: _Float64,
    n: int,
    origin: _Float64,
    n_bits: int,
    columns: _Float64,
    shift_f32: _Float32,
    isa: str,
) -> tuple[bool, float, float]: ...
def describe(
    points: Points,
    origin: _Float64,
    moments: _Float64,
    start: int,
    stop: int,
    n_threads: int,
    isa: str,
) -> None: ...

@disjoint_base
class Points:
    n: int
    d: int
    is_narrow: bool
    def __new__(cls, X: npt.NDArray[np.generic]) -> Self: ...

@disjoint_base
class Frame:
    def __init__(
        self, shift: _Float64, shift_f32: _Float32, scale: float, exact_scale: float
    ) -> None: ...

@disjoint_base
class Centroids:
    k: int
    d: int
    def __new__(cls, k: int, d: int) -> Self: ...

def sq_shift(centroids: _Float64, moved: _Float64, isa: str) -> float: ...

@disjoint_base
class Sums:
    is_private: bool
    def __new__(cls, k: int, scale: _Float64, low_scale: float, n_threads: int) -> Self: ...
    def counts(self, out: npt.NDArray[np.int64]) -> int: ...

@disjoint_base
class Basis:
    d: int
    p: int
    def __new__(cls, columns: _Float32) -> Self: ...

def orthonormalise(vectors: _Float64, n_threads: int, isa: str) -> int: ...
def multiply(a: Any, b: Basis, out: _Float32, n_threads: int, isa: str) -> None: ...

@disjoint_base
class Filter:
    basis: Basis
    p: int
    def __new__(
        cls,
        points: Points,
        basis: _Float32,
        k: int,
        n_threads: int,
        isa: str,
        centroid_order: _Int32 | None = None,
    ) -> Self: ...
    def restart(self, centroid_order: _Int32 | None = None) -> None: ...
    def place(self, labels: _Int32) -> None: ...
    def sort(self, labels: _Int32) -> None: ...
    def keep_row_gaps(self) -> None: ...

@disjoint_base
class Neighbours:
    k: int
    n_cells: int
    n_groups: int
    def __new__(
        cls, points: Points, frame: Frame, labels: _Int32, k: int, n_threads: int, isa: str
    ) -> Self: ...
    def find_parts(self, labels: _Int32, start: int, stop: int) -> None: ...
    def cut(self) -> None: ...
    def enclose(self, start: int, stop: int) -> None: ...
    def expected_products(self, engine: Engine, n_groups: int) -> float: ...
    def take_work(self) -> tuple[int, int]: ...

@disjoint_base
class CellGaps:
    k: int
    def __new__(cls, cells: Cells, places: _Int32, n_threads: int, isa: str) -> Self: ...
    def take_work(self) -> tuple[int, int]: ...

@disjoint_base
class Leads:
    k: int
    def __new__(cls, points: Points, k: int, n_threads: int, isa: str) -> Self: ...
    def take_work(self) -> tuple[int, int]: ...

@disjoint_base
class Engine:
    k: int
    @property
    def in_bytes(self) -> bool: ...
    @property
    def pays_in_bytes(self) -> bool: ...
    @property
    def least_share_in_bytes(self) -> float: ...
    def byte_work(self) -> tuple[int, int, int, int]: ...
    @property
    def n_exact(self) -> int: ...
    def __new__(cls, points: Points, frame: Frame, k: int, n_threads: int, isa: str) -> Self: ...
    def set_centroids(self, centroids: _Float64) -> None: ...
    def use_bytes(self, wanted: bool = ..., always: bool = ...) -> None: ...
    def use_neighbours(self, neighbours: Neighbours | None) -> None: ...
    def use_gaps(self, gaps: CellGaps | None, labels: _Int32 | None = None) -> None: ...
    def use_leads(self, leads: Leads | None) -> None: ...
    def use_filter(self, filter: Filter | None, labels: _Int32 | None = None) -> None: ...
    def sketch(self, start: int, stop: int) -> None: ...
    def filter_work(self) -> tuple[int, int, int, int]: ...
    def assign(
        self,
        labels: _Int32,
        start: int,
        stop: int,
        labels_old: _Int32 | None = None,
        sums: Sums | None = None,
        recheck: bool = True,
    ) -> int: ...
    def assign_and_measure(
        self, labels: _Int32, sq_dists: _Float64, start: int, stop: int
    ) -> None: ...
    def means(self, sums: Sums, centroids: _Float64) -> None: ...
    def accumulate_weighted(
        self,
        labels: _Int32,
        weights: _Float64,
        shift: _Float64,
        sums: _Float64,
        weight_sums: _Float64,
        start: int,
        stop: int,
        scale: float = 1.0,
    ) -> None: ...
    def own_sq_dists(self, labels: _Int32, sq_dists: _Float64, start: int, stop: int) -> None: ...
    def distances(self, out: _Float64 | npt.NDArray[np.float32], start: int, stop: int) -> None: ...

@disjoint_base
class EnginesBeside:
    def __new__(cls, engines: Sequence[Engine]) -> Self: ...
    def assign(
        self,
        labels: Sequence[_Int32],
        sums: Sequence[Sums],
        none: _Int32,
        start: int,
        stop: int,
    ) -> None: ...

def gather(
    source: Points,
    rows: npt.NDArray[np.int64],
    memory: npt.NDArray[np.uint8],
    n_threads: int,
    isa: str,
) -> None: ...

@disjoint_base
class Batch:
    engine: Engine
    def __init__(
        self,
        points: Points,
        engine: Engine,
        source: Points | None = None,
        memory: npt.NDArray[np.uint8] | None = None,
    ) -> None: ...
    def assign(
        self,
        labels: _Int32,
        start: int,
        stop: int,
        rows: npt.NDArray[np.int64] | None = None,
    ) -> None: ...
    def sort(self, labels: _Int32) -> None: ...
    def learn(
        self,
        weights: _Float64 | None,
        counts: _Float64,
        moved: _Float64,
        moved_counts: _Float64,
        sq_dists: _Float64,
        start: int,
        stop: int,
    ) -> None: ...

@disjoint_base
class Panels:
    def __init__(self, points: Points, frame: Frame, n_threads: int, isa: str) -> None: ...
    def least_share_in_bytes(self, k: int) -> float: ...
    def encode(self, always: bool = ...) -> None: ...

@disjoint_base
class Sketches:
    def __init__(
        self,
        points: Points,
        frame: Frame,
        basis: _Float32,
        sketch_steps: _Float32,
        step: float,
        n_threads: int,
        isa: str,
    ) -> None: ...
    def fill(self, start: int, stop: int) -> None: ...

@disjoint_base
class SoloRun:
    n_iter: int
    is_over: bool
    is_strict: bool
    is_to_repair: bool
    labels: _Int32
    centroids: _Float64
    labelled_by: _Float64
    def __new__(
        cls,
        points: Points,
        frame: Frame,
        panels: Panels,
        sum_scale: _Float64,
        low_scale: float,
        positions: tuple[_Float64, _Float64],
        labels: tuple[_Int32, _Int32],
        sq_dists: _Float64,
        tol: float,
        n_threads: int,
        isa: str,
    ) -> Self: ...
    def byte_work(self) -> tuple[int, int, int, int]: ...
    def counts(self, out: npt.NDArray[np.int64]) -> None: ...

@disjoint_base
class SoloRuns:
    def __new__(cls, runs: Sequence[SoloRun], n_threads: int) -> Self: ...
    def advance(self, n_iter: int) -> None: ...
    def finish(self, is_single: bool) -> None: ...

@disjoint_base
class SoloSeeding:
    def __new__(
        cls,
        points: Points,
        frame: Frame,
        panels: Panels,
        uniforms: _Float64,
        rows: npt.NDArray[np.int64],
        isa: str,
    ) -> Self: ...

@disjoint_base
class SoloSeedings:
    def __new__(cls, seedings: Sequence[SoloSeeding], n_threads: int) -> Self: ...
    def advance(self, n_seeds: int) -> None: ...

@disjoint_base
class Seeder:
    def __init__(
        self,
        points: Points,
        frame: Frame,
        panels: Panels | None,
        weights: _Float64 | None,
        n_candidates: int,
        closest: _Float64,
        block_sums: _Float64,
        masks: npt.NDArray[np.uint32],
        gains: _Float64,
        n_threads: int,
        isa: str,
    ) -> None: ...
    def begin(self, candidates: _Float64) -> None: ...
    def propose(self, candidates: _Float64) -> None: ...
    def propose_sketched(
        self,
        sketches: Sketches,
        rows: npt.NDArray[np.int64],
        candidates: _Float64,
    ) -> int: ...
    def settle(self, wanted: int = ...) -> None: ...
    def gains(self) -> list[float]: ...
    def errors(self) -> list[float]: ...
    def accept(self, candidate: int) -> None: ...

@disjoint_base
class SeedersBeside:
    def __new__(cls, seeders: Sequence[Seeder]) -> Self: ...
    def propose(self, candidates: Sequence[_Float64]) -> None: ...
    def accept(self, accepted: Sequence[int]) -> None: ...

def split_rows(
    points: Points,
    chosen: npt.NDArray[np.int64],
    depth: int,
    features: _Int32,
    thresholds: _Float64,
    n_threads: int,
    isa: str,
) -> None: ...
def order_by_leaf(leaves: npt.NDArray[np.uint16], n_leaves: int, order: _Int32) -> None: ...
def sort_rows(
    points: Points,
    features: _Int32,
    thresholds: _Float64,
    leaves: npt.NDArray[np.uint16],
    start: int,
    stop: int,
    n_threads: int,
    isa: str,
) -> None: ...

@disjoint_base
class Cells:
    def __init__(
        self,
        points: Points,
        frame: Frame,
        order: _Int32,
        keeps_rows: bool,
        n_threads: int,
        isa: str,
    ) -> None: ...
    def fill(self, start: int, stop: int) -> None: ...

@disjoint_base
class CellSeeder:
    seeder: Seeder
    @property
    def n_live(self) -> int: ...
    def __init__(self, cells: Cells, seeder: Seeder) -> None: ...
    def propose(self, candidates: _Float64) -> None: ...
    def settle(self) -> None: ...
    def gains(self) -> list[float]: ...
    def errors(self) -> list[float]: ...
    def accept(self, candidate: int) -> None: ...
    def pick(
        self,
        uniforms: _Float64,
        rows: npt.NDArray[np.int64],
        begin: int,
        end: int,
        instead: int,
    ) -> None: ...

class UnsortedError(ValueError): ...

def describe_sparse(
    points: SparsePoints,
    origin: _Float64,
    moments: _Float64,
    start: int,
    stop: int,
    n_threads: int,
    isa: str,
) -> None: ...

@disjoint_base
class SparsePoints:
    n: int
    d: int
    n_entries: int
    is_narrow: bool
    def __new__(
        cls,
        values: npt.NDArray[np.floating],
        columns: npt.NDArray[np.signedinteger],
        starts: npt.NDArray[np.int64],
        d: int,
    ) -> Self: ...

@disjoint_base
class SparseCentroids:
    k: int
    d: int
    def __new__(cls, k: int, d: int, has_columns: bool = ...) -> Self: ...

@disjoint_base
class SparseEngine:
    k: int
    @property
    def n_exact(self) -> int: ...
    def __new__(
        cls, points: SparsePoints, frame: Frame, k: int, n_threads: int, isa: str
    ) -> Self: ...
    def set_centroids(self, centroids: _Float64) -> None: ...
    def assign(
        self,
        labels: _Int32,
        start: int,
        stop: int,
        labels_old: _Int32 | None = None,
        sums: Sums | None = None,
        recheck: bool = True,
    ) -> int: ...
    def means(self, sums: Sums, centroids: _Float64) -> None: ...
    def assign_and_measure(
        self, labels: _Int32, sq_dists: _Float64, start: int, stop: int
    ) -> None: ...
    def accumulate_weighted(
        self,
        labels: _Int32,
        weights: _Float64,
        shift: _Float64,
        sums: _Float64,
        weight_sums: _Float64,
        start: int,
        stop: int,
        scale: float = 1.0,
    ) -> None: ...
    def own_sq_dists(self, labels: _Int32, sq_dists: _Float64, start: int, stop: int) -> None: ...
    def own_sq_dists_as_dense(
        self, labels: _Int32, rows: npt.NDArray[np.int64], sq_dists: _Float64
    ) -> None: ...
    def distances(self, out: _Float64 | npt.NDArray[np.float32], start: int, stop: int) -> None: ...

@disjoint_base
class SparseBatch:
    engine: SparseEngine
    def __init__(
        self, points: SparsePoints, engine: SparseEngine, source: SparsePoints | None = None
    ) -> None: ...
    def assign(
        self,
        labels: _Int32,
        start: int,
        stop: int,
        rows: npt.NDArray[np.int64] | None = None,
    ) -> None: ...
    def sort(self, labels: _Int32) -> None: ...
    def learn(
        self,
        weights: _Float64 | None,
        counts: _Float64,
        moved: _Float64,
        moved_counts: _Float64,
        sq_dists: _Float64,
        start: int,
        stop: int,
    ) -> None: ...

@disjoint_base
class SparseSeeder:
    def __init__(
        self,
        points: SparsePoints,
        frame: Frame,
        weights: _Float64 | None,
        n_candidates: int,
        closest: _Float64,
        block_sums: _Float64,
        masks: npt.NDArray[np.uint32],
        gains: _Float64,
        n_threads: int,
        isa: str,
    ) -> None: ...
    def begin(self, candidates: _Float64) -> None: ...
    def propose(self, candidates: _Float64) -> None: ...
    def settle(self) -> None: ...
    def gains(self) -> list[float]: ...
    def errors(self) -> list[float]: ...
    def accept(self, candidate: int) -> None: ...

@disjoint_base
class Silhouette:
    n_queries: int
    n_tasks: int
    targets_at_once: int
    def __new__(
        cls,
        points: Points,
        order: _Int32,
        begins: npt.NDArray[np.int64],
        rows: _Int32,
        clusters: _Int32,
        task_begins: npt.NDArray[np.int64],
        origins: _Float64,
        origins_f32: _Float32,
        scale: float,
        n_threads: int,
        isa: str,
    ) -> Self: ...
    @staticmethod
    def task_rows(d: int) -> int: ...
    def measure(self, t_begin: int, t_end: int, p_begin: int, p_end: int) -> None: ...
    def take(self, own: _Float64, other: _Float64, reaches: _Float64) -> None: ...
