"""``python -m fastkm``: the package's commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ._version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        The command and its arguments. Default: those of the process.
    """
    args = _parser().parse_args(argv)
    status: int = args.run(args)
    return status


def _parser() -> argparse.ArgumentParser:
    from .jobs import digits, mnist

    parser = argparse.ArgumentParser(
        prog="python -m fastkm", description="Exact, reproducible k-means: its commands."
    )
    parser.add_argument("--version", action="version", version=f"fastkm {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    info = commands.add_parser("info", help="print version, compiler, ISAs, OpenMP and threads")
    info.set_defaults(run=_info)
    digits.add_command(commands)
    mnist.add_command(commands)
    return parser


def _info(args: argparse.Namespace) -> int:
    from ._info import report

    print(report())
    return 0


if __name__ == "__main__":
    sys.exit(main())
