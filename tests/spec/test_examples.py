"""The extraction of examples from Markdown, on a text of its own."""

from __future__ import annotations

import json

import pytest

from .examples import Example, read_examples, read_lenient, write_examples

TEXT = """# A specification

<details>
  <summary>
  Example: double.wdl

  ```wdl
  version 1.2

  workflow double {
    input {
      Int x
    }
   \x20
    output {
      Int y = 2 * x
    }
  }
  ```
  </summary>
  <p>
  Example input:

  ```json
  {
    "double.x": 2
  }
  ```

  Example output:

  ```json
  {
    "double.y": 4,
  }
  ```
  </p>
</details>

Words between.

<details>
<summary>
Example: exits_fail_task.wdl

```wdl
version 1.2

task exits {
  command <<<
    exit 7
  >>>
}
```
</summary>
<p>
Test config:

```json
{
  "return_code": 7,
  "exclude_output": "log"
  "dependencies": ["gpu", "disks"]
}
```
</p>
</details>

<details>
<summary>

```wdl
version 1.2

workflow nameless {
}
```
</summary>
</details>
"""


@pytest.fixture
def examples():
    return {example.name: example for example in read_examples(TEXT, "1.2")}


def test_an_examples_parts(examples):
    found = examples["double"]
    assert str(found) == "1.2/double"
    assert found.line == 3
    assert found.source.startswith("version 1.2\n\nworkflow double {\n  input {\n    Int x\n  }\n  \n  output")
    assert found.inputs == {"double.x": 2}
    assert found.outputs == {"double.y": 4}
    assert found.config == {}
    assert (found.target, found.fails, found.priority) == (None, False, "required")
    assert (found.excluded, found.dependencies, found.return_codes) == (frozenset(), (), frozenset())


def test_the_name_says_task_and_failure(examples):
    found = examples["exits_fail_task"]
    assert found.target == "exits"
    assert found.fails
    assert found.return_codes == {7}
    assert found.excluded == {"log"}
    assert found.dependencies == ("gpu", "disks")


def test_an_example_without_a_name_is_called_after_its_workflow(examples):
    assert list(examples) == ["double", "exits_fail_task", "nameless"]


def test_a_block_without_wdl_is_an_error():
    with pytest.raises(ValueError, match=r"SPEC-1.1.md:2: an example without WDL"):
        read_examples("\n<details>x</details>", "1.1")


def test_unreadable_json_is_an_error_that_names_the_example():
    with pytest.raises(ValueError, match="double: Example input"):
        read_examples(TEXT.replace('"double.x": 2', '"double.x" 2'), "1.2")


TASK = "version 1.2\ntask {name} {{\n}}\n"
WORKFLOW = "version 1.2\nworkflow {name} {{\n}}\n"


@pytest.mark.parametrize(
    ("name", "source", "config", "target"),
    [
        ("sort_task", TASK.format(name="sort"), {}, "sort"),
        ("sort_task", TASK.format(name="sort_task"), {}, "sort_task"),
        ("sort_task", TASK.format(name="other"), {}, "other"),
        ("sort_task", WORKFLOW.format(name="sort"), {}, None),
        ("sort", TASK.format(name="sort"), {}, "sort"),
        ("sort", TASK.format(name="sort") + WORKFLOW.format(name="all"), {}, None),
        ("sort", TASK.format(name="a") + TASK.format(name="b"), {"target": "b"}, "b"),
        ("sort", TASK.format(name="a") + WORKFLOW.format(name="b"), {"target": "b"}, None),
    ],
)
def test_target(name, source, config, target):
    assert Example("1.2", name, 1, source, config=config).target == target


def test_failure_is_what_the_configuration_says_and_else_what_the_name_says():
    assert Example("1.2", "a_fail", 1, "").fails
    assert Example("1.2", "a", 1, "", config={"fail": True}).fails
    assert not Example("1.2", "a_fail", 1, "", config={"fail": False}).fails


def test_a_document_that_is_only_imported_has_nothing_to_run(examples):
    assert examples["double"].runnable
    assert not Example("1.2", "types", 1, "version 1.2\nstruct S {\n  Int i\n}\n").runnable
    assert not Example("1.2", "a", 1, WORKFLOW.format(name="a"), config={"type": "resource"}).runnable


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1,\n "b": [1, 2]}',
        '{"a": 1\n "b": [1, 2]}',
        '{"a": 1,\n "b": [1, 2],}',
        '{"a": 1,\n "b": [1, 2],\n}\n',
        '{"a": 1,\n "b": [1, 2,]}',
        '{"a": 1,\n "b": [\n1,\n 2\n]\n}',
    ],
)
def test_lenient_json(text):
    assert read_lenient(text) == {"a": 1, "b": [1, 2]}


@pytest.mark.parametrize("value", [{"a": "x,]", "b": ["}\n", '"', "\\"], "c": {"1": "0"}}, ["a\n[", None, True, -1.5]])
def test_lenient_json_leaves_sound_json_alone(value):
    assert read_lenient(json.dumps(value, indent=2)) == value


@pytest.mark.parametrize("text", ["", "{", '{"a" 1}', "{a: 1}"])
def test_what_lenient_json_does_not_mend(text):
    with pytest.raises(json.JSONDecodeError):
        read_lenient(text)


def test_examples_are_written_side_by_side_with_the_data(tmp_path, examples):
    data = tmp_path / "data"
    (data / "folder").mkdir(parents=True)
    (data / "folder" / "x.txt").write_text("x")
    folder = tmp_path / "all"
    write_examples(tuple(examples.values()), data, folder)
    assert {path.name for path in folder.iterdir()} == {"folder", "double.wdl", "exits_fail_task.wdl", "nameless.wdl"}
    assert (folder / "double.wdl").read_text() == examples["double"].source
    assert (folder / "folder" / "x.txt").read_text() == "x"
