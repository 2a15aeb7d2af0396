"""The list of prices: how its file reads, and what it has for a task. ``prices.json`` comes with the package.

A file of the user's own replaces that list as a whole, so that nobody's discount meets another's list price. What is
wrong with a file is said; nothing of a wrong file counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

import msgspec

from .errors import Problem, SettingsError

FORMAT = 1
ANY = "*"
"""The region or the architecture of a price that holds for all of them."""

MOST_BYTES = 1024 * 1024
"""Bytes that a file of prices has at most."""

Amount = Annotated[float, msgspec.Meta(ge=0)]


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an hour costs on some capacity.

    :param capacity: FARGATE, FARGATE_SPOT, EC2, or the name of a capacity provider.
    :param region: AWS's name of it. :param architecture: X86_64 or ARM64.
    :param vcpu_hour: of a vCPU. :param gb_hour: of a GB of memory.
    :param storage_gb_hour: of a GB of Fargate's ephemeral storage beyond 20 GiB.
    :param ebs_gb_hour: of a GB of an EBS volume. :param gpu_hour: of a GPU.
    """

    capacity: str
    region: str = ANY
    architecture: str = ANY
    vcpu_hour: Amount
    gb_hour: Amount
    storage_gb_hour: Amount | None = None
    ebs_gb_hour: Amount | None = None
    gpu_hour: Amount | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]
    date: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    source: str
    prices: tuple[Price, ...]


@dataclass(frozen=True)
class Prices:
    """A list of prices.

    :param file: where it is from; empty for the one that comes with the package.
    :param date: of the prices, as their file has it. :param source: likewise.
    :param problem: why there is no price in it, if something is wrong with the file.
    """

    currency: str = ""
    date: str = ""
    source: str = ""
    file: str = ""
    prices: tuple[Price, ...] = ()
    problem: str = ""

    def find(self, capacity: str, region: str, architecture: str) -> Price | None:
        """The price for a task, the nearest of those that fit; None if none does.

        That of its region comes before that for all regions, and then that of its architecture. A capacity provider
        that has none of its own, and is not Fargate's, is of EC2.
        """
        fitting = [price for price in self.prices if _fits(price, capacity, region, architecture)]
        if not fitting and "," not in capacity and not capacity.startswith("FARGATE") and capacity not in ("", "EC2"):
            return self.find("EC2", region, architecture)
        return max(fitting, key=lambda price: (price.region != ANY, price.architecture != ANY), default=None)


def _fits(price: Price, capacity: str, region: str, architecture: str) -> bool:
    return price.capacity == capacity and price.region in (ANY, region) and price.architecture in (ANY, architecture)


def read_prices(data: bytes, file: str = "") -> Prices:
    """The list in a file.

    :param file: where it is from, for errors.
    :raises SettingsError: saying what is wrong with it, and where.
    """
    named = file or "the list of prices"
    hint = "`airflow-wdl-ecs prices --packaged` prints a list that is right, to start from"
    try:
        found = msgspec.json.decode(data, type=_File)
    except msgspec.DecodeError as error:
        raise SettingsError(f"{named}: {error}", hint=hint) from None
    except UnicodeDecodeError:
        raise SettingsError(f"{named}: it is no text", hint=hint) from None
    problems = [Problem(f"{named}: {problem}") for problem in _problems(found)]
    if problems:
        raise SettingsError(problems, hint=hint)
    return Prices(found.currency, found.date, found.source, file, found.prices)


def _problems(found: _File) -> Iterator[str]:
    if found.format != FORMAT:
        yield f"it is of format {found.format}, and this version reads format {FORMAT}"
    seen: dict[tuple[str, str, str], int] = {}
    for number, price in enumerate(found.prices):
        key = (price.capacity, price.region, price.architecture)
        if key in seen:
            yield f"prices[{number}] is for the same as prices[{seen[key]}]: {', '.join(key)}"
        seen.setdefault(key, number)
        if price.architecture not in ("X86_64", "ARM64", ANY):
            yield f"prices[{number}]: architecture is X86_64, ARM64 or {ANY}, not {price.architecture}"
        for name in ("vcpu_hour", "gb_hour", "storage_gb_hour", "ebs_gb_hour", "gpu_hour"):
            each = getattr(price, name)
            if each is not None and not math.isfinite(each):
                yield f"prices[{number}]: {name} is not a number"


def packaged_text() -> str:
    """The file that comes with the package."""
    return Path(__file__).with_name("prices.json").read_text(encoding="utf-8")


@cache
def packaged() -> Prices:
    """The list that comes with the package."""
    return read_prices(packaged_text().encode())
