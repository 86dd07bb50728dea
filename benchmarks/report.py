"""A run's record as Markdown: the tables that README shows, losses and gaps included."""

from __future__ import annotations

from pathlib import Path

from .peers import PEERS

BEGIN = "<!-- benchmarks: begin (written by python -m benchmarks --update-readme) -->"
END = "<!-- benchmarks: end -->"
_WITHOUT_TIME = {
    "missing": "missing",
    "unsupported": "n/a",
    "failed": "failed",
    "wrong": "wrong result",
}


def tables(record: dict) -> str:
    """Return times and ratios, memory, the notes and the record of the run."""
    parts = [
        _introduction(record),
        _table(record, _time_cell),
        _notes(record),
        "Peak memory of the same fits over their start, MB:",
        _table(record, _memory_cell),
        _memory_by_dtype(record),
        _provenance(record),
    ]
    return "\n\n".join(part for part in parts if part)


def _introduction(record: dict) -> str:
    settings = record["settings"]
    return (
        f"Time of a whole `fit`, {settings['dtype']}, {settings['threads']} threads, same start "
        f"rows, same rounds, `tol=0`. For {settings['base']} in seconds; for the others as a "
        f"multiple of its time in paired turns (median). **Bold** is below 1: "
        f"{settings['base']} loses."
    )


def _table(record: dict, cell_text) -> str:
    settings = record["settings"]
    names = sorted(settings["peers"], key=lambda name: name != settings["base"])
    titles = [name if PEERS[name].is_exact else f"{name} (approximate)" for name in names]
    lines = [
        "| workload | n x d, k | " + " | ".join(titles) + " |",
        "|---|---|" + "---:|" * len(names),
    ]
    for name, row in record["workloads"].items():
        head = f"| {name} {row['title']} | {row['n']} x {row['d']}, {row['k']} | "
        if "cells" not in row:
            lines.append(head + " | ".join(["not measured"] * len(names)) + " |")
            continue
        texts = [cell_text(row["cells"][peer], peer == settings["base"]) for peer in names]
        lines.append(head + " | ".join(texts) + " |")
    return "\n".join(lines)


def _time_cell(cell: dict, is_base: bool) -> str:
    if cell["status"] != "ok":
        return _WITHOUT_TIME[cell["status"]]
    if cell["ratio"] is None:
        return "not timed"
    if is_base:
        return f"{cell['median']:.3g} s"
    return f"{cell['ratio']:.2f}" if cell["ratio"] >= 1 else f"**{cell['ratio']:.2f}**"


def _memory_cell(cell: dict, is_base: bool) -> str:
    if cell["memory_mb"] is None:
        return _WITHOUT_TIME.get(cell["status"], "not measured")
    return f"{'' if cell['memory_is_exact'] else '>= '}{cell['memory_mb']:.0f}"


def _notes(record: dict) -> str:
    notes = {}
    for workload, row in record["workloads"].items():
        if "cells" not in row:
            notes.setdefault(f"not measured: {row['reason']}", []).append(workload)
            continue
        for peer, cell in row["cells"].items():
            if cell["note"]:
                notes.setdefault(f"{peer}: {cell['note']}", []).append(workload)
    return "\n".join(f"- {', '.join(names)}: {note}" for note, names in notes.items())


def _memory_by_dtype(record: dict) -> str:
    by_dtype = record["memory_by_dtype"]
    if not by_dtype:
        return ""
    figures = ", ".join(f"{dtype} {megabytes:.1f} MB" for dtype, megabytes in by_dtype.items())
    return f"Memory of fastkm's fit over its start on e256 by input: {figures}."


def _provenance(record: dict) -> str:
    machine = record["machine"]
    versions = {}
    for row in record["workloads"].values():
        for name, cell in row.get("cells", {}).items():
            if cell["version"]:
                versions[PEERS[name].package] = cell["version"]
    listed = ", ".join(f"{package} {version}" for package, version in versions.items())
    turns = record["settings"]["turns"]
    return (
        f"{machine['cpu']}, {machine['n_cpus']} CPUs, {machine['system']}; Python "
        f"{machine['python']}, NumPy {machine['numpy']}; {listed}; commit {machine['commit']}; "
        f"{machine['date'][:10]}; at most {turns} turns; `{machine['command']}`"
    )


def update_readme(readme: Path, block: str) -> None:
    """Put the block between README's two markers."""
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(END) < text.index(BEGIN):
        raise ValueError(f"{readme} must hold the line {BEGIN!r} once, and {END!r} once after it")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n{block}\n{END}{after}", encoding="utf-8")
