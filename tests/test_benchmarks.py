"""The benchmark's own parts: what it clusters, whom it believes, what it writes."""

import dataclasses
import gzip
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from checkout import ROOT, load_benchmarks

load_benchmarks()
from benchmarks import (  # noqa: E402
    defaults,
    figures,
    growth,
    interrupt,
    measure,
    reference,
    report,
    silhouette,
    sparse,
    threads,
    transform,
    workloads,
)
from benchmarks.peers import PEERS, Peer, Result, environment  # noqa: E402
from benchmarks.pool import pool  # noqa: E402
from benchmarks.process import PeerError, Process, in_turn  # noqa: E402
from benchmarks.worker import Worker  # noqa: E402

# --- workloads ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["d10", "b100", "c64", "f1000"])
def test_same_name_gives_the_same_problem(name):
    workload = workloads.WORKLOADS[name]
    first = workloads.prepare(workload, "float32", None, n_rows=2100)
    second = workloads.prepare(workload, "float32", None, n_rows=2100)
    np.testing.assert_array_equal(first.points, second.points)
    np.testing.assert_array_equal(first.start, second.start)
    assert first.digest == second.digest


def test_digest_changes_with_the_values():
    workload = workloads.WORKLOADS["b100"]
    assert (
        workloads.prepare(workload, "float32", None, n_rows=500).digest
        != workloads.prepare(workload, "float32", None, n_rows=501).digest
    )


def test_start_rows_are_distinct_rows_of_the_points():
    problem = workloads.prepare(workloads.WORKLOADS["b100"], "float64", None, n_rows=1000)
    rows = {row.tobytes() for row in problem.points}
    starts = {row.tobytes() for row in problem.start}
    assert len(starts) == 100
    assert starts <= rows


def test_mixture_components_have_unequal_weights_and_widths():
    component, widths = workloads._components(np.random.default_rng(0), 100_000, 50)
    counts = np.bincount(component, minlength=50)
    assert counts.max() > 4 * counts.min()
    assert widths.max() > 2 * widths.min()


def test_embeddings_have_unit_rows_and_a_decaying_spectrum():
    points = workloads.embeddings(4000, 48, n_components=20, seed=1)
    # Eight roundings of 2^-24 cover norm and division; the sum of 48 squares is pairwise.
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1.0, atol=1e-6)
    variances = np.linalg.eigvalsh(np.cov(points.T))
    assert variances[-1] > 10 * variances[0]  # 1/i over 48 directions: 48, less sampling
    axis_variances = points.var(axis=0)  # rotated: no axis holds the first direction alone
    assert axis_variances.max() < 0.5 * variances[-1]


def test_uint8_is_the_sources_own_and_refused_elsewhere(tmp_path):
    images = np.arange(30 * 4, dtype=np.uint8).reshape(30, 2, 2)
    raw = struct.pack(">4i", 2051, 30, 2, 2) + images.tobytes()
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(raw))
    workload = workloads.WORKLOADS["e10"]
    as_bytes = workloads.prepare(workload, "uint8", tmp_path)
    assert as_bytes.points.dtype == np.uint8
    np.testing.assert_array_equal(as_bytes.points, images.reshape(30, 4))
    scaled = workloads.prepare(workload, "float64", tmp_path)
    np.testing.assert_array_equal(scaled.points, images.reshape(30, 4) / 255.0)
    with pytest.raises(workloads.UnavailableError, match="no 8-bit integers"):
        workloads.prepare(workloads.WORKLOADS["b100"], "uint8", None, n_rows=500)


def test_absent_mnist_is_named(tmp_path):
    with pytest.raises(workloads.UnavailableError, match="FASTKM_MNIST"):
        workloads.prepare(workloads.WORKLOADS["e10"], "float32", None)
    with pytest.raises(workloads.UnavailableError, match="no train-images"):
        workloads.prepare(workloads.WORKLOADS["e10"], "float32", tmp_path)


def test_mnist_is_the_training_set():
    folder = workloads.find_mnist(None)
    if folder is None:
        pytest.skip("no MNIST: FASTKM_MNIST is not set and ../shared/data/mnist is not there")
    points = workloads.prepare(workloads.WORKLOADS["e10"], "float32", folder).points
    assert points.shape == (60000, 784)
    # The mean that everyone normalises MNIST by.
    assert points.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)


# --- the oracle --------------------------------------------------------------------------------


def test_inertia_of_a_hand_made_case():
    # 0 and 2 are 1 from centre 1; 10 is 1 from centre 11; 13 is 2 from it: 1 + 1 + 1 + 4.
    points = np.array([[0.0], [2.0], [10.0], [13.0]], dtype=np.float32)
    assert reference.inertia(points, np.array([[1.0], [11.0]])) == 7.0


def test_inertia_keeps_its_digits_far_from_the_origin():
    points = 1e6 + np.array([[0.0], [1.0], [4.0], [5.0]])
    assert reference.inertia(points, 1e6 + np.array([[0.5], [4.5]])) == 1.0


def test_oracle_gives_ties_to_the_lowest_index():
    # Every row is as far from centre 0 as from its mirror image 2; centre 1 is farther.
    rng = np.random.default_rng(5)
    centroids = rng.integers(-9, 10, size=(3, 7)).astype(np.float64)
    centroids[2] = centroids[0]
    centroids[1] += 1000.0
    centroids[[0, 2], 0] = [-3.0, 3.0]
    points = rng.integers(-9, 10, size=(50, 7)) / 3.0
    points[:, 0] = 0.0
    labels, _ = reference.assign(points, centroids)
    assert set(labels.tolist()) == {0}


def test_lloyd_of_a_hand_made_case():
    # From 0 and 1: {0}, {1, 4, 7}; centres 0 and 4: {0, 1}, {4, 7}; centres 0.5 and 5.5: fixed.
    points = np.array([[0.0], [1.0], [4.0], [7.0]])
    assert reference.lloyd(points, points[:2], rounds=1).tolist() == [[0.0], [4.0]]
    assert reference.lloyd(points, points[:2], rounds=20).tolist() == [[0.5], [5.5]]


def test_lloyd_gives_an_empty_cluster_the_farthest_row():
    # All rows are nearest to 0; the row at 9 is farthest, and {0, 1} average 0.5.
    points = np.array([[0.0], [1.0], [9.0]])
    start = np.array([[0.0], [100.0]])
    assert reference.lloyd(points, start, rounds=1).tolist() == [[0.5], [9.0]]


@pytest.mark.parametrize("algorithm", ["lloyd", "elkan"])
def test_lloyd_agrees_with_scikit_learn(algorithm):
    from sklearn.cluster import KMeans

    problem = workloads.prepare(workloads.WORKLOADS["d10"], "float64", None)
    fitted = KMeans(10, init=problem.start, n_init=1, max_iter=20, tol=0, algorithm=algorithm).fit(
        problem.points
    )
    centroids = reference.lloyd(problem.points, problem.start, 20)
    # The same labels in every round, so only the rounding of means over n rows differs.
    np.testing.assert_allclose(centroids, fitted.cluster_centers_, rtol=0, atol=1e-10)
    found = reference.inertia(problem.points, fitted.cluster_centers_)
    assert found == pytest.approx(fitted.inertia_, rel=1e-10)


def test_reference_inertia_is_kept_under_the_problems_digest(tmp_path):
    cache = tmp_path / "reference.json"
    problem = workloads.prepare(workloads.WORKLOADS["d10"], "float32", None, n_rows=300)
    expected = reference.reference_inertia(problem, cache)
    assert json.loads(cache.read_text()) == {problem.digest: expected}
    cache.write_text(json.dumps({problem.digest: -1.0}))
    assert reference.reference_inertia(problem, cache) == -1.0


def test_exact_peers_must_match_from_both_sides():
    assert reference.is_right(-0.9e-3, 1e-3, is_exact=True)
    assert not reference.is_right(-1.1e-3, 1e-3, is_exact=True)
    assert not reference.is_right(1.1e-3, 1e-3, is_exact=True)
    assert reference.is_right(-0.5, 1e-3, is_exact=False)
    assert not reference.is_right(1.1e-3, 1e-3, is_exact=False)
    assert not reference.is_right(float("nan"), 1e-3, is_exact=True)


# --- measuring ---------------------------------------------------------------------------------


def _settings(folder, **changes):
    given = {"n_threads": 1, "turns": 2, "isa": None, "base": "sklearn", "results": folder}
    return measure.Settings(**given | changes)


def _run(folder, names, **changes):
    problem = workloads.prepare(workloads.WORKLOADS["d10"], "float32", None, n_rows=400)
    peers = [PEERS[name] for name in names]
    deadline = time.monotonic() + 60
    return measure.run_workload(
        problem, peers, _settings(folder, **changes), deadline, lambda text: None
    )


def test_pairs_are_measured_and_judged(tmp_path):
    cells = _run(tmp_path, ["sklearn", "sklearn-elkan"])
    for cell in cells.values():
        assert (cell.status, cell.note) == ("ok", "")
        assert abs(cell.relative_gap) < 1e-5  # float32 centres
        assert len(cell.seconds) == len(cell.base_seconds) == 2
        assert (cell.memory_mb is None) if os.name != "posix" else (cell.memory_mb >= 0)
    assert cells["sklearn"].ratio == 1.0


def test_a_wrong_result_gets_no_time(tmp_path, monkeypatch):
    # An answer that no fit gives: the oracle expects 1 % less than every peer will find.
    right = reference.reference_inertia
    monkeypatch.setattr(reference, "reference_inertia", lambda *given: 0.99 * right(*given))
    cells = _run(tmp_path, ["sklearn", "sklearn-elkan"], with_memory=False)
    for cell in cells.values():
        assert cell.status == "wrong"
        assert "inertia off by +1.0e-02" in cell.note
        assert cell.seconds == []


def test_a_peer_that_is_absent_fails_or_dies_is_reported(tmp_path):
    problem = workloads.prepare(workloads.WORKLOADS["d10"], "float32", None, n_rows=400)

    def no_fit(*given):
        return Result(given[1])

    strangers = [
        Peer("no-such-peer", "none", "none", no_fit),  # its worker ends with a KeyError
        Peer("sklearn", "scikit-learn", "sklearn", no_fit, dtypes=("float64",)),
    ]
    cells = measure.run_workload(problem, strangers, _settings(tmp_path), 0.0, lambda text: None)
    assert cells["no-such-peer"].status == "failed"
    assert "KeyError" in cells["no-such-peer"].note
    assert (cells["sklearn"].status, cells["sklearn"].note) == ("unsupported", "takes no float32")


def _start(code, tmp_path, monkeypatch, limit):
    """Start a process whose worker is the code's, from a folder on its path."""
    (tmp_path / "strange_worker.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Process("strange_worker:main", [], tmp_path / "err", limit=limit)


def test_a_process_that_dies_says_its_last_words(tmp_path, monkeypatch):
    with pytest.raises(PeerError, match=r"ended with 1: ValueError: no good"):
        _start("def main(): raise ValueError('no good')", tmp_path, monkeypatch, limit=60)


def test_a_process_that_is_silent_is_not_waited_for(tmp_path, monkeypatch):
    with pytest.raises(PeerError, match=r"no answer within 0\.5 s"):
        _start("def main(): import time; time.sleep(99)", tmp_path, monkeypatch, limit=0.5)


def test_first_of_a_turn_changes():
    assert in_turn(("a", "b"), 0) == in_turn(("a", "b"), 2) == ["a", "b"]
    assert in_turn(("a", "b"), 1) == ["b", "a"]


def test_worker_tells_a_package_that_is_not_installed_from_a_broken_one(monkeypatch):
    monkeypatch.setitem(PEERS, "ghost", Peer("ghost", "ghost-cpu", "no_such_module", None))
    answer = Worker("ghost").open("unread.npy", "unread.npy", rounds=1, n_threads=1)
    assert answer == {"error": "ghost-cpu is not installed", "missing": True}


def test_environment_sets_threads_isa_and_faiss_core_type():
    assert environment(PEERS["fastkm"], 3, True, "avx2")["FASTKM_ISA"] == "avx2"
    assert "FASTKM_ISA" not in environment(PEERS["sklearn"], 3, True, "avx2")
    assert environment(PEERS["sklearn"], 3, True, None)["OMP_NUM_THREADS"] == "3"
    assert environment(PEERS["faiss"], 2, True, None)["OPENBLAS_CORETYPE"] == "SkylakeX"
    assert "OPENBLAS_CORETYPE" not in environment(PEERS["faiss"], 2, False, None)


# --- reporting ---------------------------------------------------------------------------------


def _cell(**given):
    return measure.Cell(**given).as_record()


def _record():
    row = {"title": "pixels", "n": 9, "d": 3, "k": 2, "rounds": 20, "digest": "of rows"}
    cells = {
        "sklearn": _cell(seconds=[0.6, 0.7, 0.9], base_seconds=[0.1] * 3, version="1.9"),
        "fastkm": _cell(seconds=[0.1] * 3, base_seconds=[0.1] * 3),
        "sklearnex": _cell(seconds=[0.05], base_seconds=[0.1]),
        "faiss": _cell(status="missing", note="faiss-cpu is not installed"),
        "superkmeans": _cell(status="wrong", note="inertia off by +9.0e-02, allowed 5e-02"),
    }
    cells["fastkm"] |= {"memory_mb": 0.4, "memory_is_exact": True}
    cells["sklearn"] |= {"memory_mb": 5.0, "memory_is_exact": False}
    return {
        "machine": {
            "cpu": "Some CPU", "n_cpus": 2, "system": "Linux", "python": "3.11", "numpy": "2",
            "commit": "abc", "date": "2025-01-02T03:04:05", "command": "python -m benchmarks",
        },
        "settings": {
            "dtype": "float32", "threads": 2, "base": "fastkm", "turns": 3, "peers": list(cells),
            "isa": None, "rows": None,
        },
        "workloads": {
            "a64": row | {"cells": cells},
            "e10": row | {"reason": "no MNIST"},
        },
        "memory_by_dtype": {"float32": 12.0, "uint8": 53.0},
    }  # fmt: skip


def test_tables_show_ratios_losses_and_what_is_not_there():
    lines = report.tables(_record()).splitlines()
    assert "| workload | n x d, k | fastkm | sklearn | sklearnex | faiss | " in lines[2]
    assert lines[4] == (
        "| a64 pixels | 9 x 3, 2 | 0.1 s | 7.00 | **0.50** | missing | wrong result |"
    )
    assert lines[5].count("not measured") == 5
    text = "\n".join(lines)
    assert "- a64: faiss: faiss-cpu is not installed" in text
    assert "- e10: not measured: no MNIST" in text
    assert "| a64 pixels | 9 x 3, 2 | 0 | >= 5 | not measured | missing |" in text
    assert "float32 12.0 MB, uint8 53.0 MB" in text
    assert "Some CPU, 2 CPUs" in text
    assert "scikit-learn 1.9" in text


def test_records_are_pooled_turn_by_turn():
    one, other = _record(), _record()
    for record, seconds in ((one, [3.0]), (other, [5.0, 10.0])):
        record["machine"]["command"] = f"python -m benchmarks {len(seconds)}"
        for row in record["workloads"].values():
            for cell in row.get("cells", {}).values():
                if cell["status"] == "ok":
                    cell["seconds"], cell["base_seconds"] = seconds, [1.0] * len(seconds)
    pooled = pool([one, other])
    cell = pooled["workloads"]["a64"]["cells"]["sklearn"]
    assert (cell["seconds"], cell["ratio"], cell["median"]) == ([3.0, 5.0, 10.0], 5.0, 5.0)
    assert pooled["machine"]["command"] == "python -m benchmarks 1; python -m benchmarks 2"
    other["workloads"]["a64"]["cells"]["sklearn"] |= {"status": "wrong"}
    for records in ([one, other], [other, one]):
        assert pool(records)["workloads"]["a64"]["cells"]["sklearn"]["status"] == "wrong"
    other["workloads"]["a64"]["digest"] = "another"
    with pytest.raises(ValueError, match="not of the same rows"):
        pool([one, other])
    other["machine"]["commit"] = "another"
    with pytest.raises(ValueError, match="commit"):
        pool([one, other])


def test_readme_block_is_replaced_and_the_rest_kept(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.update_readme(readme, "new")
    assert readme.read_text() == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"
    readme.write_text("no markers")
    with pytest.raises(ValueError, match="must hold the line"):
        report.update_readme(readme, "new")


def test_figures_are_judged_and_what_was_not_measured_is_missed():
    verdicts = {verdict.subject: verdict for verdict in figures.check(_record())}
    assert verdicts["a64, speed over scikit-learn"].is_reached  # 7, of 6
    assert not verdicts["e10, speed over scikit-learn"].is_reached
    assert verdicts["e10, speed over scikit-learn"].found == "not measured"
    assert not verdicts["a64, speed over the best exact peer, sklearnex"].is_reached  # 0.5, of 6
    assert not any(subject.startswith("e10, speed over the best") for subject in verdicts)
    assert verdicts["e256 of float32, memory over start"].is_reached
    assert not verdicts["e256 of uint8, memory over start"].is_reached
    assert not verdicts["e256 of float64, memory over start"].is_reached


def test_command_line_refuses_what_it_cannot_do():
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--workloads", "z9"],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no 'z9'; there are d10, a64" in done.stderr


def test_sparse_benchmark_refuses_mini_batches_of_higher_inertia(tmp_path):
    X = sparse.newsgroups_like(60, 30, 0.2)
    dense, centroids = X.toarray(), X[:5].toarray()
    direct = ((dense[:, None] - centroids) ** 2).sum(axis=2).min(axis=1).sum()
    assert sparse.inertia(X, centroids) == pytest.approx(direct, rel=1e-12)
    answers = {name: {"rounds": 1} for name in sparse.PACKAGES}
    np.save(tmp_path / "scikit-learn.npy", centroids)
    np.save(tmp_path / "fastkm.npy", centroids)
    sparse._check_same("mini-batches", answers, tmp_path, X)
    np.save(tmp_path / "fastkm.npy", centroids + 0.1)
    with pytest.raises(RuntimeError, match="inertia is 1"):
        sparse._check_same("mini-batches", answers, tmp_path, X)


def test_sparse_benchmark_measures_a_matrix_as_it_says(tmp_path, capsys):
    X = sparse.newsgroups_like(2000, 3000, 0.005)
    assert 0.003 < X.nnz / (2000 * 3000) < 0.008  # about as asked
    assert X.has_canonical_format
    np.testing.assert_allclose(X.multiply(X).sum(axis=1), 1)
    record = tmp_path / "sparse.json"
    sizes = ["--rows", "500", "--columns", "400", "--turns", "1"]
    assert sparse.main([*sizes, "--json", str(record)]) == 0
    results = json.loads(record.read_text())["results"]
    assert set(results) == set(sparse.MEASURES)
    assert all(result["fastkm"] > 0 for result in results.values())
    assert "times as fast" in capsys.readouterr().out


def test_transform_benchmark_times_right_distances(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(transform, "SHAPES", transform.SHAPES[-3:])
    record = tmp_path / "transform.json"
    assert transform.main(["--rows", "300", "--turns", "1", "--json", str(record)]) == 0
    results = json.loads(record.read_text())["results"]
    assert len(results) == 3 * len(transform.DTYPES)
    assert all(result["fastkm"] > 0 for result in results.values())
    assert "ratio" in capsys.readouterr().out


def test_transform_benchmark_refuses_wrong_distances():
    shape = (60, 3, 5)
    X, centroids = transform.data(*shape, "float64")
    right = np.sqrt(((X[:, None] - centroids) ** 2).sum(axis=2))
    transform.check_right(right, np.zeros((5, 5)), shape, "float64")
    with pytest.raises(AssertionError, match="Not equal"):
        transform.check_right(right * (1 + 1e-10), np.zeros((5, 5)), shape, "float64")
    with pytest.raises(RuntimeError, match="no time counts"):
        transform.check_right(right, np.full((5, 5), 1e-9), shape, "float64")


def test_silhouette_benchmark_times_silhouettes_that_agree(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(silhouette, "SPEED_AT_LEAST", 1e9)
    record = tmp_path / "silhouette.json"
    arguments = ["--rows", "500", "--turns", "1", "--json", str(record)]
    assert silhouette.main(arguments) == 0
    assert silhouette.main([*arguments, "--check"]) == 1  # not 1e9 times as fast
    results = json.loads(record.read_text())["results"]
    assert results["beside"]["fastkm"] > 0
    if "MNIST" in results:
        assert results["MNIST"]["seconds"] > 0
    assert "missed: " in capsys.readouterr().out
    with pytest.raises(AssertionError, match="Not equal"):
        silhouette.check_same(np.zeros(2), np.array([0.0, 1e-5]))


def test_defaults_benchmark_measures_what_it_is_asked_for(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(defaults.CASES, "digits", defaults.Case(defaults.DIGITS, 10, 1e9, turns=1))
    record = tmp_path / "defaults.json"
    arguments = ["--only", "digits", "--threads", "1", "--json", str(record)]
    assert defaults.main(arguments) == 0
    assert defaults.main([*arguments, "--check"]) == 1  # not 1e9 times as fast
    row = json.loads(record.read_text())["rows"]["digits"]
    assert set(row["speeds"]) <= set(defaults.ALL)
    assert row["rounds"]["fastkm"] == row["rounds"]["scikit-learn"]
    assert row["speed"] == min(row["speeds"].values()) > 0
    assert "missed: digits" in capsys.readouterr().out


def test_growth_benchmark_marks_jumps_and_draws(tmp_path, capsys, monkeypatch):
    assert growth.jumps([1.0, 2.0, 4.1, 2.05, 1.0]) == [False, False, True, False, True]
    monkeypatch.setattr(growth, "MIDDLE", {"n": 64, "d": 3, "k": 2})
    monkeypatch.setattr(growth, "SIZES", {"n": [64, 128], "d": [1, 2], "k": [1, 2]})
    drawing = tmp_path / "growth.png"
    assert growth.main(["--threads", "1", "--plot", str(drawing)]) == 0
    assert drawing.read_bytes()[1:4] == b"PNG"
    assert capsys.readouterr().out.count("ns a unit") == 3


def _tiny_thread_rows(monkeypatch):
    source = workloads.Source(3000, 2, "plane", workloads.PLANE.make)
    row = threads.Row(workloads.Workload("b100", source, 20, rounds=3))
    for name, changes in (("b100", {}), ("e64-lloyd", {"algorithm": "lloyd"})):
        monkeypatch.setitem(threads.ROWS, name, dataclasses.replace(row, **changes))
    monkeypatch.setitem(threads.ROWS, "e256-seeding", dataclasses.replace(row, is_seeding=True))


# Red when `measure` leaves a number of threads out, an absent data set ends the program, or nothing
# is drawn.
def test_threads_benchmark_measures_draws_and_says_what_it_skips(tmp_path, capsys, monkeypatch):
    _tiny_thread_rows(monkeypatch)
    monkeypatch.setenv("FASTKM_MNIST", str(tmp_path))
    drawing, record = tmp_path / "threads.png", tmp_path / "threads.json"
    names = ["b100", "e64-lloyd", "e256-seeding", "e10"]
    files = ["--plot", str(drawing), "--json", str(record)]
    assert threads.main(["--threads", "2", "--turns", "2", "--only", *names, *files]) == 0
    assert drawing.read_bytes()[1:4] == b"PNG"
    rows = json.loads(record.read_text())["rows"]
    for name in names[:-1]:
        assert {count: len(times) for count, times in rows[name]["seconds"].items()} == {
            "1": 2,
            "2": 2,
        }
        assert rows[name]["efficiency"]["1"] == 1.0
    assert "no train-images" in rows["e10"]["reason"]
    assert "e10           not measured: no train-images" in capsys.readouterr().out


# Red when `measure_all` does not look at the clock.
def test_threads_benchmark_begins_no_row_once_its_budget_is_spent(capsys, monkeypatch):
    _tiny_thread_rows(monkeypatch)
    assert threads.main(["--threads", "1", "--only", "b100", "--budget", "0"]) == 0
    assert "b100          not measured: the 0 seconds were spent" in capsys.readouterr().out


# Red when the fits are not at once, or only one is done.
def test_threads_benchmark_fits_by_python_threads_at_once(capsys, monkeypatch):
    _tiny_thread_rows(monkeypatch)
    seen = set()
    run = threads.Row.run

    def noted(row, problem, n_threads):
        seen.add(threading.get_ident())
        time.sleep(0.01)
        return run(row, problem, n_threads)

    monkeypatch.setattr(threads.Row, "run", noted)
    command = ["--only", "b100", "--threads", "2", "--turns", "2", "--together", "3"]
    assert threads.main(command) == 0
    assert len(seen) == 4
    assert "b100: 3 Python threads at once over one by one: 0." in capsys.readouterr().out


# Red when a call is not interrupted, is judged by its median, or changes are not counted.
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="sends signals as POSIX does")
def test_interrupt_benchmark_times_answers_and_judges_the_worst(tmp_path, capsys):
    record = tmp_path / "interrupt.json"
    command = ["--only", "lloyd, weights", "--moments", "2", "--json", str(record)]
    assert interrupt.main(command) == 0
    row = json.loads(record.read_text())["rows"]["lloyd, weights"]
    assert all(0 < answer < row["seconds"] for answer in row["answers"])
    assert row["n_changed"] == 0
    assert capsys.readouterr().out.count("lloyd, weights") >= 1
    rows = {"a": {"answers": [0.01, 0.3, 0.02]}, "b": {"answers": [0.1], "n_changed": 1}, "c": {}}
    assert interrupt.missed(rows) == [
        "a: answered after 0.30 s",
        "b: the estimator was changed",
    ]


# Red when the number of threads is left out, or medians are divided in place of turns.
def test_efficiency_is_the_median_of_the_turns():
    # t1 / (2 t2): 1/2, 3/4 and 1; of the medians, 2 / (2 * 1), it would be 1.
    seconds = {1: [1.0, 3.0, 2.0], 2: [1.0, 2.0, 1.0]}
    assert threads.efficiencies(seconds) == {1: 1.0, 2: 0.75}


# Red when `check_same` wants any array to be the same in place of all.
@pytest.mark.parametrize("which", [0, 1, 2])
def test_threads_benchmark_refuses_other_bits(which, monkeypatch):
    _tiny_thread_rows(monkeypatch)
    row = threads.ROWS["b100"]
    problem = workloads.prepare(row.workload, "float32", None)
    run = threads.Row.run

    def strays(row, problem, n_threads):
        found = list(run(row, problem, n_threads))
        if n_threads == 2:  # the last bit of one of labels, centres, inertia
            bits = bytearray(found[which].tobytes())
            bits[0] ^= 1
            found[which] = np.frombuffer(bits, found[which].dtype)
        return tuple(found)

    monkeypatch.setattr(threads.Row, "run", strays)
    with pytest.raises(RuntimeError, match="2 threads found other bits"):
        threads.measure(row, problem, [1, 2], 1)
