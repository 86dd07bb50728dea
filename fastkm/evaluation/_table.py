"""Results in rows and columns, for the terminal, the notebook and pandas."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

MISSING = "-"
_UNITS = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6))


@dataclass(frozen=True)
class Column:
    """One column: the key of its values in a row, its heading, and how a value is written."""

    key: str
    heading: str
    write: Callable[[Any], str] = str
    is_text: bool = False

    def cell(self, row: dict[str, Any]) -> str:
        """Return the row's value as text; a missing value (None, NaN) is a dash."""
        value = row[self.key]
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return MISSING
        return self.write(value)


@dataclass(frozen=True)
class Table:
    """A list of equal-keyed rows that prints well.

    Attributes
    ----------
    columns : tuple of Column
        What is shown, from left to right.
    rows : tuple of dict
        One dict per row, from a column's key to the unrounded value.
    notes : tuple of str
        Sentences printed below the rows.
    """

    columns: tuple[Column, ...]
    rows: tuple[dict[str, Any], ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __getitem__(self, key: str) -> list[Any]:
        """Return the values of the column with this key, from the first row to the last."""
        keys = [column.key for column in self.columns]
        if key not in keys:
            raise KeyError(f"no column {key!r}; the columns are {', '.join(keys)}")
        return [row[key] for row in self.rows]

    def __str__(self) -> str:
        lines = [[column.heading for column in self.columns], *self._cells()]
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        text = ["  ".join(self._align(line, widths)).rstrip() for line in lines]
        text.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join([*text, *self.notes])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        def line(tag: str, cells: list[str]) -> str:
            aligned = zip(self.columns, cells, strict=True)
            return "<tr>" + "".join(
                f'<{tag} style="text-align:{"left" if column.is_text else "right"}">'
                f"{html.escape(cell)}</{tag}>"
                for column, cell in aligned
            ) + "</tr>"  # fmt: skip

        head = line("th", [column.heading for column in self.columns])
        body = "".join(line("td", cells) for cells in self._cells())
        notes = "".join(f"<p><small>{html.escape(note)}</small></p>" for note in self.notes)
        return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>{notes}"

    def to_pandas(self) -> Any:
        """Return the unrounded values as a pandas DataFrame, one column per key.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas as pd  # type: ignore[import-untyped, unused-ignore]
        except ImportError as error:
            raise ImportError("to_pandas needs pandas: pip install pandas") from error
        keys = [column.key for column in self.columns]
        return pd.DataFrame([{key: row[key] for key in keys} for row in self.rows], columns=keys)

    def _cells(self) -> list[list[str]]:
        return [[column.cell(row) for column in self.columns] for row in self.rows]

    def _align(self, cells: list[str], widths: list[int]) -> list[str]:
        return [
            cell.ljust(width) if column.is_text else cell.rjust(width)
            for column, cell, width in zip(self.columns, cells, widths, strict=True)
        ]


def write_seconds(seconds: float) -> str:
    """Write a duration with about three significant digits in s, ms or us."""
    unit, scale = next((u for u in _UNITS if seconds >= u[1]), _UNITS[-1])
    value = seconds / scale
    decimals = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{decimals}f} {unit}"


def write_ratio(ratio: float) -> str:
    """Write a ratio of times as 1.52x."""
    return f"{ratio:.2f}x"
