"""Prints the outputs of a stack of the project's template as the variables that the contract takes.

``eval "$(.venv/bin/python -m tests.contract_aws.outputs STACK)"`` sets them.
"""

from __future__ import annotations

import configparser
import shlex
import sys
from collections.abc import Iterable, Mapping

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from airflow_wdl_ecs.ecs.settings import SECTION

from .target import PREFIX


def exports(outputs: Iterable[Mapping[str, str]]) -> list[str]:
    """The lines of a shell that set the variables.

    :param outputs: as DescribeStacks gives them.
    :raises LookupError: if they are not those of a stack of the template.
    """
    found = {output["OutputKey"]: output["OutputValue"] for output in outputs}
    if "Settings" not in found:
        raise LookupError("the stack has no output Settings: it is not one of this project's template")
    parser = configparser.RawConfigParser()
    parser.read_string(found["Settings"])
    return [f"export {PREFIX}{name.upper()}={shlex.quote(value)}" for name, value in parser[SECTION].items()]


def main(words: list[str]) -> int:
    """Print them; the exit code."""
    if len(words) != 1:
        print("usage: python -m tests.contract_aws.outputs STACK", file=sys.stderr)
        return 2
    try:
        stacks = boto3.client("cloudformation").describe_stacks(StackName=words[0])["Stacks"]
        print("\n".join(exports(stacks[0].get("Outputs", ()))))
    except (BotoCoreError, ClientError, LookupError) as error:
        print(f"{words[0]}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
