"""Print the CloudFormation template that makes what runs need in an AWS account.

It makes an ECS cluster, a bucket, a log group, the roles and, if none is given, a network; its output Settings is the
section of Airflow's configuration for them. Nothing is done in AWS.
"""

from __future__ import annotations

import argparse

from ..infrastructure import template
from .option import Option

NAME = "infrastructure"
HELP = "print the CloudFormation template of what runs need in AWS"
OPTIONS: tuple[Option, ...] = ()


def execute(options: argparse.Namespace) -> int:
    """Print it."""
    print(template(), end="")
    return 0
