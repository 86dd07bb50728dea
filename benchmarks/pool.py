"""Several records of one machine as one: the turns of each are turns of all."""

from __future__ import annotations

from dataclasses import fields

from .measure import Cell

# What must be the same for turns to be of one kind.
ALIKE_MACHINE = ("cpu", "commit", "n_cpus", "python", "numpy")
ALIKE_SETTINGS = ("dtype", "threads", "isa", "base", "rows")


def pool(records: list[dict]) -> dict:
    """Return one record of all turns; a workload's cells are those of every record that has it.

    Raises
    ------
    ValueError
        If the records are of other machines, commits or settings, or of other problems.
    """
    first = records[0]
    for record in records[1:]:
        for part, names in (("machine", ALIKE_MACHINE), ("settings", ALIKE_SETTINGS)):
            for name in names:
                if record[part][name] != first[part][name]:
                    raise ValueError(
                        f"Records of {name} {first[part][name]!r} and {record[part][name]!r} "
                        "are not of one kind."
                    )
    rows: dict[str, dict] = {}
    memory: dict = {}
    for record in records:
        memory = memory or record["memory_by_dtype"]
        for name, row in record["workloads"].items():
            if "cells" not in row:
                continue
            known = rows.setdefault(name, row | {"cells": {}})
            if known["digest"] != row["digest"]:
                raise ValueError(f"The records' {name} are not of the same rows.")
            for peer, cell in row["cells"].items():
                known["cells"][peer] = _join(known["cells"].get(peer), cell)
    peers = [p for p in _all_peers(records) if all(p in row["cells"] for row in rows.values())]
    commands = dict.fromkeys(record["machine"]["command"] for record in records)
    return {
        "machine": first["machine"] | {"command": "; ".join(commands)},
        "settings": first["settings"]
        | {"peers": peers, "turns": max(record["settings"]["turns"] for record in records)},
        "workloads": rows,
        "memory_by_dtype": memory,
    }


def _all_peers(records: list[dict]) -> list[str]:
    return list(dict.fromkeys(p for record in records for p in record["settings"]["peers"]))


def _join(known: dict | None, cell: dict) -> dict:
    if known is None or (known["status"] == "ok" and cell["status"] != "ok"):
        return cell
    if known["status"] != "ok":
        return known  # what once failed has failed
    values = {field.name: known[field.name] for field in fields(Cell)}
    for turns in ("seconds", "base_seconds"):
        values[turns] = known[turns] + cell[turns]
    return Cell(**values).as_record()
