"""Whether a request is one that the service's own model, as botocore has it, takes.

botocore checks names, types and what is required before it sends a request; it does not check the values of
enumerations, lengths and patterns, which the model has as well. Nothing is sent here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import botocore.session
import regex
from botocore.model import ServiceModel
from botocore.validate import ParamValidator


@cache
def model(service: str) -> ServiceModel:
    """A service's model."""
    return botocore.session.get_session().get_service_model(service)


def problems(service: str, operation: str, arguments: Mapping[str, Any]) -> list[str]:
    """What is wrong with a request.

    :param operation: such as ``RunTask``. :param arguments: as boto3 takes them.
    """
    shape = model(service).operation_model(operation).input_shape
    report = ParamValidator().validate(dict(arguments), shape)
    return [report.generate_report()] if report.has_errors() else list(_values(shape, arguments, operation))


def _values(shape: Any, value: Any, where: str) -> Iterator[str]:
    if shape.type_name == "structure":
        for name, item in value.items():
            yield from _values(shape.members[name], item, f"{where}.{name}")
    elif shape.type_name == "list":
        for at, item in enumerate(value):
            yield from _values(shape.member, item, f"{where}[{at}]")
    elif shape.type_name == "map":
        for name, item in value.items():
            yield from _values(shape.value, item, f"{where}.{name}")
    elif shape.type_name == "string":
        yield from _text(shape, value, where)


def _text(shape: Any, value: str, where: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        yield f"{where}: {value!r} is none of {', '.join(shape.enum)}"
    limits = shape.metadata
    if not limits.get("min", 0) <= len(value) <= limits.get("max", len(value)):
        yield f"{where}: {len(value)} characters, where {limits.get('min', 0)} to {limits.get('max', 'any')} are taken"
    if "pattern" in limits and not regex.fullmatch(limits["pattern"], value):
        yield f"{where}: {value!r} does not match {limits['pattern']}"
