"""What the runs of one fit share beside the description of X."""

from __future__ import annotations

from dataclasses import dataclass

from . import _core


@dataclass
class Shared:
    """What the first run that needs it makes of X, and the later runs of the fit use again.

    Its owner is the `Problem`. None of it changes a bit of any run's result.

    Attributes
    ----------
    n_runs : int
        How many runs there will be: what is made for all of them may cost so much more.
    panels : _core.Panels, or None
        The points in the kernel's order, if they are few.
    codes, cells
        Of k-means++, see `_seed_pruning`; runs may go on with the cells, see `_gaps`.
    filter : _core.Filter, or None
        Sketches of all rows, see `_filter`. One run uses it at a time.
    is_filter_hopeless : bool
        Whether the first run that looked found that sketches would not pay: no other looks again.
    """

    n_runs: int = 1
    panels: _core.Panels | None = None
    codes: _core.Sketches | None = None
    cells: _core.Cells | None = None
    filter: _core.Filter | None = None
    is_filter_hopeless: bool = False

    def end_seeding(self, *, keeps_cells: bool = False, keeps_panels: bool = False) -> None:
        """Give back what only further seedings would use; some of it may serve the runs, too."""
        self.codes = None
        if not keeps_panels:
            self.panels = None
        if not keeps_cells:
            self.cells = None
