"""Show the prices with which reports say what ECS tasks have cost, and check a file of them.

Without FILE they are those that Airflow's settings name ([wdl_ecs] prices_file), else those that come with the
package. With --packaged the file that comes with the package is printed as it is, to start one's own from. The exit
code is 0, or 2 if something is wrong with the file.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..prices import Prices, packaged_text
from ..printable import printable
from .option import Option
from .own_stdout import own_stdout

NAME = "prices"
HELP = "show the prices that costs are counted with, or check a file of prices"
OPTIONS = (
    Option("file", nargs="?", metavar="FILE", help="a file of prices, local or s3://... (default: of the settings)"),
    Option("--packaged", action="store_true", help="print the file that comes with the package"),
)
_HEADS = ("capacity", "region", "architecture", "vcpu_hour", "gb_hour", "storage_gb_hour", "ebs_gb_hour", "gpu_hour")


def execute(options: argparse.Namespace) -> int:
    """Show them."""
    if options.packaged:
        print(packaged_text(), end="")
        return 0
    for line in text_of(_prices(options.file)):
        print(printable(line))
    return 0


@own_stdout()
def _prices(file: str | None) -> Prices:
    from ..host import airflow_clients, resolve_settings
    from ..price_file import load_prices

    if file and not file.startswith("s3://"):
        file = str(Path(file).absolute())
    settings = resolve_settings({"prices_file": file} if file else {})
    return load_prices(settings, airflow_clients(settings))


def text_of(prices: Prices) -> Iterator[str]:
    """The list for a terminal, line by line."""
    yield f"{prices.file or 'the prices that come with the package'}: {prices.currency}, {prices.date}"
    yield prices.source
    yield ""
    rows: list[tuple[str, ...]] = [
        _HEADS,
        *(tuple(_cell(getattr(each, name)) for name in _HEADS) for each in prices.prices),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
