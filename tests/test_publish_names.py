"""Templates of names, and which file gets which."""

from __future__ import annotations

import re

import pytest

from airflow_wdl_ecs.errors import EvaluationError
from airflow_wdl_ecs.publish_names import parse_template, place, read_names, split_suffix, values_of_run
from airflow_wdl_ecs.wdl.lower import compile_wdl

PLAN = compile_wdl("""
version development
struct Report { File table  File? plot  Int rows }
workflow w {
  input {
    String sample = "NA 1"
    Int lanes = 2
    Float? ratio
    Boolean loud = true
    String made = sample + "x"
    String api_token = "t"
    File? panel
  }
  output {
    File bam = "s3://r/a/x.bam"
    File bai = "s3://r/b/x.bam"
    File? maybe = panel
    Array[File] reads = []
    Array[Array[File]] nested = []
    Map[String, File] by_name = {}
    Pair[File, Directory] both = ("a", "b")
    Directory folder = "s3://r/d"
    Report report = Report { table: "a", rows: 1 }
    Int count = lanes
  }
}
""")
RUN = {"dag_id": "d", "run_id": "manual__2026-11-25T10:00:00+00:00", "group": "", "date": "2026-11-25"}
VALUES = values_of_run(PLAN, {"sample": "NA 1/2"}, ("api_token",), **RUN)
FOLDER = "s3://lab/r/"


def names(**templates):
    found, problems = read_names(
        PLAN, {name.replace("others", "*"): text for name, text in templates.items()}, VALUES, strict=True
    )
    assert problems == []
    return found


def problems(strict=True, **templates):
    return [problem.message for problem in read_names(PLAN, templates, VALUES, strict=strict)[1]]


def placed(outputs, secrets=(), **templates):
    values, files = place(PLAN, outputs, names(**templates), FOLDER, secrets)
    return values, [(file.source, file.name) for file in files]


def test_values_of_a_run_are_segments_of_a_key_without_secrets():
    assert VALUES == {
        "dag_id": "d",
        "run_id": "manual__2026-11-25T10=3A00=3A00=2B00=3A00",
        "group": "",
        "date": "2026-11-25",
        "input.sample": "NA=201=2F2",
        "input.lanes": "2",
        "input.loud": "true",
    }


def test_a_template_is_filled_and_what_is_empty_leaves_its_folder_out():
    fields = ["group", "date", "output"]
    found = parse_template("{group}/runs/{date}//{output}.x/", fields)
    assert found.fields == ("group", "date", "output")
    assert found.filled({"group": "", "date": "today", "output": "bam"}) == "runs/today/bam.x"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{dat}", "there is no field {dat}; there are {date}, {input.sample}"),
        ("{}", "there is no field {}; there are {date}, {input.sample}"),
        ("{date:%Y}", "there is no field {date:%Y}; there are {date}"),
        ("{date!r}", "there is no field {date}"),
        ("{{ ds }}", "single braces"),
        ("{date", "expected '}'"),
        ("}", "Single '}'"),
        ("{input.smaple}", "{input.sample}?"),
        ("{input.token}", "no secret"),
    ],
)
def test_a_wrong_template_says_what_is_wrong(text, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_template(text, ["date", "input.sample"])


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.bam", ("a", ".bam")),
        ("s.v1.sorted.fastq.gz", ("s.v1.sorted", ".fastq.gz")),
        ("a.gz", ("a", ".gz")),
        ("a", ("a", "")),
        (".hidden", (".hidden", "")),
        ("a b.c d", ("a b.c d", "")),
    ],
)
def test_a_suffix_is_the_last_one_and_that_before_a_compression(name, parts):
    assert split_suffix(name) == parts


def test_by_default_a_file_is_below_its_output_and_its_place_in_the_value():
    outputs = {
        "bam": "s3://r/a/x.bam",
        "maybe": None,
        "reads": [f"s3://r/{index}/x.fq" for index in range(11)],
        "nested": [[], ["s3://r/n/x"]],
        "by_name": {"tumor": "s3://r/t/x", "normal": "s3://r/n/x"},
        "both": {"left": "s3://r/l", "right": "s3://r/dir"},
        "folder": "s3://r/d",
        "report": {"table": "s3://r/t.tsv", "plot": None, "rows": 3},
        "count": 2,
    }
    values, files = placed(outputs)
    assert values["bam"] == "s3://lab/r/bam/x.bam"
    assert values["maybe"] is None
    assert values["reads"][10] == "s3://lab/r/reads/10/x.fq"
    assert values["reads"][2] == "s3://lab/r/reads/02/x.fq"
    assert values["nested"] == [[], ["s3://lab/r/nested/1/0/x"]]
    assert values["by_name"] == {"tumor": "s3://lab/r/by_name/tumor/x", "normal": "s3://lab/r/by_name/normal/x"}
    assert values["both"] == {"left": "s3://lab/r/both/left/l", "right": "s3://lab/r/both/right/dir"}
    assert values["folder"] == "s3://lab/r/folder/d"
    assert values["report"] == {"table": "s3://lab/r/report/table/t.tsv", "plot": None, "rows": 3}
    assert values["count"] == 2
    assert ("s3://r/dir/", "both/right/dir") in files
    assert ("s3://r/d/", "folder/d") in files
    assert len(files) == 19


def test_each_output_may_have_a_name_of_its_own():
    outputs = {"bam": "s3://r/a/x.sorted.bam", "reads": ["s3://r/0/r.fq.gz", "s3://r/1/r.fq.gz"], "folder": "s3://r/d"}
    values, _ = placed(
        outputs,
        bam="{input.sample}.{output}{suffix}",
        reads="fq/{stem}.{shard}{suffix}",
        others="all/{date}/{name}",
    )
    assert values == {
        "bam": "s3://lab/r/NA=201=2F2.bam.bam",
        "reads": ["s3://lab/r/fq/r.0.fq.gz", "s3://lab/r/fq/r.1.fq.gz"],
        "folder": "s3://lab/r/all/2026-11-25/d",
    }


def test_files_that_would_have_the_same_name_are_numbered_in_their_order():
    outputs = {
        "bam": "s3://r/a/x.bam",
        "bai": "s3://r/b/x.bam",
        "reads": ["s3://r/0/x.bam", "s3://r/a/x.bam", "s3://r/1/y.fastq.gz", "s3://r/2/y.fastq.gz"],
        "folder": "s3://r/d/x.bam",
    }
    values, files = placed(outputs, others="{name}")
    assert values["bam"] == "s3://lab/r/x.bam"
    assert values["bai"] == "s3://lab/r/x-2.bam"
    # The second of the reads is the bam: one object.
    assert values["reads"] == [
        "s3://lab/r/x-3.bam",
        "s3://lab/r/x.bam",
        "s3://lab/r/y.fastq.gz",
        "s3://lab/r/y-2.fastq.gz",
    ]
    assert values["folder"] == "s3://lab/r/x.bam-2"
    assert len(files) == len({name for _, name in files}) == 6
    assert placed(outputs, others="{name}") == (values, files)


def test_no_file_is_where_a_folder_is_and_none_takes_the_place_of_what_is_written_beside_them():
    outputs = {"folder": "s3://r/d", "bam": "s3://r/d/x", "bai": "s3://r/outputs.json"}
    values, _ = placed(outputs, folder="d", bam="d/{name}", bai="{name}")
    assert values == {
        "folder": "s3://lab/r/d",
        "bam": "s3://lab/r/d-2/x",
        "bai": "s3://lab/r/outputs-2.json",
    }


def test_many_files_of_one_name_take_no_long_time():
    values, _ = placed({"reads": [f"s3://r/{index}/x" for index in range(20_000)]}, reads="{name}")
    assert values["reads"][-1] == "s3://lab/r/x-20000"


def test_what_must_clash_is_an_error_before_anything_runs():
    assert problems(bam="{input.sample}.bam", bai="{input.sample}.bam") == [
        "publish_names: the outputs bam and bai would both be NA=201=2F2.bam"
    ]
    (told,) = problems(reads="all.fq")
    assert told.startswith("publish_names: the files of reads (Array[File]) would all be all.fq; put {name}")
    assert len(problems(report="r", both="b", nested="n", by_name="{output}")) == 4
    # One of them may not be there; and these differ.
    assert problems(bam="x.bam", maybe="x.bam", bai="{output}.bam", count="x.bam") == []


def test_a_lone_file_has_no_place_in_a_value_that_could_be_its_name():
    (told,) = problems(bam="{shard}")
    assert told.startswith("publish_names: bam would have no name by {shard}: it is one file or folder")
    assert len(problems(bam="{index}/{shard}", folder="{index}", maybe="{group}{shard}")) == 3
    assert problems(bam="x{shard}", bai="x{index}") == ["publish_names: the outputs bam and bai would both be x"]
    assert problems(bam="{name}{shard}", reads="{shard}", both="{index}", count="{shard}") == []


def test_everything_that_is_wrong_is_told_at_once():
    told = problems(bma="x", reads="{nam}", bai="", folder="../x", count="{date")
    assert [text.removeprefix("publish_names: ").split(";")[0] for text in told] == [
        "w has no output bma",
        "reads={nam}: there is no field {nam}",
        "bai=: a name cannot be empty",
        "folder=../x: a name cannot have . or .. as a folder",
        "count={date: expected '}' before end of string",
    ]
    assert problems(**{"w.bam": "x.bam"}) == []


def test_names_for_a_whole_deployment_may_name_outputs_of_other_workflows():
    assert problems(strict=False, vcf="{output}.vcf") == []


def test_names_cannot_leave_their_folder_or_be_too_long():
    with pytest.raises(EvaluationError, match=r"cannot be published as '\.'"):
        placed({"bam": "s3://r/x"}, bam=".{shard}")
    with pytest.raises(EvaluationError, match="1025 bytes, and S3 takes 1024"):
        placed({"bam": "s3://r/" + "x" * 1020}, bam="{name}bam")


def test_no_name_has_a_secret():
    values, files = placed({"bam": "s3://r/hunter22.bam"}, secrets=("hunter22",))
    assert values == {"bam": "s3://lab/r/bam/***.bam"}
    assert files == [("s3://r/hunter22.bam", "bam/***.bam")]
