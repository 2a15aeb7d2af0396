"""The AWS resources that a deployment needs, as a CloudFormation template. It is data: nothing here calls AWS."""

from __future__ import annotations

from pathlib import Path


def template() -> str:
    """The template, as YAML."""
    return Path(__file__).with_name("template.yaml").read_text(encoding="utf-8")
