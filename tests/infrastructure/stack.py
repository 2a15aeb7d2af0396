"""The template as a stack would have it: parameters filled in, conditions decided, references resolved.

What it does not know of CloudFormation is an error, not a guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from airflow_wdl_ecs.infrastructure import template

ACCOUNT = "123456789012"
REGION = "us-east-1"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::URLSuffix": "amazonaws.com",
}
_NOTHING = object()


class _Loader(yaml.SafeLoader):
    """Reads the short forms of CloudFormation's functions as their long forms."""


def _function(loader: _Loader, name: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if name == "GetAtt":
        value = value.split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


_Loader.add_multi_constructor("!", _function)


@cache
def load() -> dict[str, Any]:
    """The template as it is written; not to be changed."""
    found: dict[str, Any] = yaml.load(template(), _Loader)
    return found


class Stack:
    """A stack that is made of the template.

    :param parameters: those that differ from their defaults.
    """

    def __init__(self, name: str = "wdl", **parameters: str) -> None:
        self.template = load()
        declared = self.template["Parameters"]
        unknown = set(parameters) - set(declared)
        assert not unknown, unknown
        for parameter, value in parameters.items():
            pattern = declared[parameter].get("AllowedPattern", "")
            assert re.search(pattern, value), f"{parameter}: {value} does not match {pattern}"
        self._given = {
            parameter: str(parameters.get(parameter, about["Default"])) for parameter, about in declared.items()
        }
        self._pseudo = {**PSEUDO, "AWS::StackName": name}
        self.resources: dict[str, dict[str, Any]] = {
            logical: self.resolve({key: value for key, value in about.items() if key != "Condition"})
            for logical, about in self.template["Resources"].items()
            if self.has(about)
        }
        self.outputs: dict[str, str] = {
            name: self.resolve(about["Value"]) for name, about in self.template["Outputs"].items() if self.has(about)
        }

    def has(self, about: Mapping[str, Any]) -> bool:
        """Whether the condition of a resource or of an output holds."""
        return "Condition" not in about or self._condition(about["Condition"])

    def statements(self, role: str) -> list[dict[str, Any]]:
        """The statements of a role's policies, or of a managed policy."""
        properties = self.resources[role]["Properties"]
        documents = [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
        documents += [policy["PolicyDocument"] for policy in properties.get("Policies", ())]
        return [statement for document in documents for statement in document["Statement"]]

    def resolve(self, value: Any) -> Any:
        """A value without CloudFormation's functions."""
        if isinstance(value, list):
            return [found for found in map(self.resolve, value) if found is not _NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self._call(name.removeprefix("Fn::"), argument)
        return {key: found for key, item in value.items() if (found := self.resolve(item)) is not _NOTHING}

    def _call(self, name: str, argument: Any) -> Any:
        if name == "If":
            condition, then, otherwise = argument
            return self.resolve(then if self._condition(condition) else otherwise)
        if name == "Ref":
            return self._ref(argument)
        if name == "GetAtt":
            return self._attribute(*argument)
        if name == "Sub":
            return self._sub(*argument) if isinstance(argument, list) else self._sub(argument, {})
        argument = self.resolve(argument)
        if name == "Join":
            return argument[0].join(argument[1])
        if name == "Split":
            return argument[1].split(argument[0])
        if name == "Select":
            return argument[1][int(argument[0])]
        if name == "GetAZs":
            return [f"{REGION}a", f"{REGION}b", f"{REGION}c"]
        if name == "Base64":
            return argument
        raise NotImplementedError(name)

    def _condition(self, what: Any) -> bool:
        if isinstance(what, str):
            return self._condition(self.template["Conditions"][what])
        ((name, argument),) = what.items()
        if name == "Fn::Equals":
            left, right = (str(self.resolve(side)) for side in argument)
            return left == right
        found = [self._condition(item) for item in argument]
        return {"Fn::Not": lambda: not found[0], "Fn::And": lambda: all(found), "Fn::Or": lambda: any(found)}[name]()

    def _sub(self, text: str, more: Mapping[str, Any]) -> str:
        given = {name: self.resolve(value) for name, value in more.items()}

        def found(match: re.Match[str]) -> str:
            name = match[1]
            if name in given:
                return str(given[name])
            return str(self._attribute(*name.split(".", 1)) if "." in name else self._ref(name))

        return re.sub(r"\$\{([A-Za-z0-9:.]+)\}", found, text)

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NOTHING
        if name in self._pseudo:
            return self._pseudo[name]
        if name in self._given:
            is_list = self.template["Parameters"][name]["Type"] == "CommaDelimitedList"
            return self._given[name].split(",") if is_list else self._given[name]
        kind, properties = self._resource(name)
        if kind == "AWS::IAM::ManagedPolicy":
            return f"arn:aws:iam::{ACCOUNT}:policy/{name}"
        named = {
            "AWS::ECS::Cluster": "ClusterName",
            "AWS::Logs::LogGroup": "LogGroupName",
            "AWS::ECS::CapacityProvider": "Name",
        }
        return (
            self.resolve(properties[named[kind]])
            if kind in named
            else f"{self._pseudo['AWS::StackName']}-{name.lower()}"
        )

    def _attribute(self, name: str, attribute: str) -> str:
        kind, _ = self._resource(name)
        if attribute == "LatestVersionNumber":
            return "1"
        assert attribute == "Arn", (name, attribute)
        own = self._ref(name)
        return {
            "AWS::ECS::Cluster": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{own}",
            "AWS::S3::Bucket": f"arn:aws:s3:::{own}",
            "AWS::Logs::LogGroup": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{own}:*",
            "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{own}",
            "AWS::IAM::InstanceProfile": f"arn:aws:iam::{ACCOUNT}:instance-profile/{own}",
        }[kind]

    def _resource(self, name: str) -> tuple[str, dict[str, Any]]:
        about = self.template["Resources"][name]
        assert self.has(about), f"{name} is referred to, and is not made"
        return about["Type"], about.get("Properties", {})
