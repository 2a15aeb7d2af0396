"""What is read of an author's ``parameter_meta``."""

from __future__ import annotations

import pytest

from airflow_wdl_ecs.parameter_meta import ParameterMeta, read_parameter_meta


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        (None, ParameterMeta()),
        (3, ParameterMeta()),
        ("The reads.", ParameterMeta(description="The reads.")),
        ({"help": "Gzipped.\n  Or not."}, ParameterMeta(description="Gzipped. Or not.")),
        ({"description": "Reads.", "help": "Gzipped."}, ParameterMeta(description="Reads. Gzipped.")),
        ({"description": "Reads.", "help": "Reads."}, ParameterMeta(description="Reads.")),
        ({"label": "Reads", "group": "Data"}, ParameterMeta(label="Reads", section="Data")),
        ({"category": "advanced"}, ParameterMeta(section="Advanced inputs")),
        ({"category": "advanded"}, ParameterMeta()),
        ({"choices": ["a", "b"]}, ParameterMeta(choices={"a": "a", "b": "b"})),
        (
            {"choices": [{"name": "human", "value": "hg38"}, "mm10"]},
            ParameterMeta(choices={"hg38": "human", "mm10": "mm10"}),
        ),
        ({"choices": "a"}, ParameterMeta()),
        ({"suggestions": ["us-west", "us-east"]}, ParameterMeta(suggestions=("us-west", "us-east"))),
        ({"pattern": "^S[0-9]+$", "patterns": ["*.bam"]}, ParameterMeta(pattern="^S[0-9]+$", file_names=("*.bam",))),
        ({"pattern": "("}, ParameterMeta()),
        ({"range": [1, 31]}, ParameterMeta(minimum=1, maximum=31)),
        ({"range": {"min": 0.5}}, ParameterMeta(minimum=0.5)),
        ({"min": 1, "max": "many"}, ParameterMeta(minimum=1)),
        ({"example": "sample_1"}, ParameterMeta(example="sample_1")),
    ],
)
def test_the_keys_that_people_use(meta, expected):
    assert read_parameter_meta(meta) == expected
