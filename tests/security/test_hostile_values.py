"""Hostile values through every place that a value reaches: keys, scripts that bash runs, JSON, ids and XComs."""

from __future__ import annotations

import json
import re
import subprocess
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from airflow_wdl_ecs.ecs import staging
from airflow_wdl_ecs.ecs.request import run_task
from airflow_wdl_ecs.ecs.resources import TaskSize
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.errors import AuthorError, EvaluationError, InputsError
from airflow_wdl_ecs.generate import write_dag
from airflow_wdl_ecs.layout import Layout, key_safe, name_of, split_uri
from airflow_wdl_ecs.scatter import distinct
from airflow_wdl_ecs.task import CallIdentity, StageIn, TaskRequest
from airflow_wdl_ecs.wdl.inputs import bind_inputs
from airflow_wdl_ecs.wdl.lower import compile_wdl
from airflow_wdl_ecs.wdl.task_evaluation import TaskEvaluation
from airflow_wdl_ecs.xcom_values import RESERVED, xcom_value

HOSTILE = [
    *(
        "",
        ".",
        "..",
        "../../etc/passwd",
        "/etc/passwd",
        "a/b",
        "a=2Fb",
        "a%2Fb",
        "a\\b",
        "~",
        "~root",
        "-rf",
        "--",
        "*",
    ),
    *(
        "'",
        '"',
        "`touch pwned`",
        "$(touch pwned)",
        "${HOME}",
        "'; touch pwned; '",
        "a\nb",
        "a\r\nb",
        "\t",
        " ",
        "\x1b[2J",
    ),
    *(
        "END_OF_FILES",
        "a\nEND_OF_FILES\ntouch pwned",
        "cp --raw x y",
        "\u2028",
        "\u202e",
        "\ufeff",
        "x\x7f",
        "!",
        "#",
        "|&;<>",
    ),
    *(
        "é",
        "e\u0301",
        "K",
        "\u212a",
        "\u017f",
        "S",
        "s",
        "\U0001f9ec",
        "NUL",
        "con",
        "tasks",
        "calls",
        "run.json",
        "_",
        "0.1",
    ),
    *("a" * 250, "a" * 201, "é" * 250, "\U0001f9ec" * 250, "=" * 250, "/" * 250, "a" * 169 + "é" * 30, "x" * 1_000_000),
    *("{{ ds }}", "{% raw %}", "%s", "%(x)s", "{0}", "<script>alert(1)</script>", "~{x}", "null", "true", "1e999"),
]
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12), st.text("aA./=%é\u0301_-", max_size=300))
SHORT = TEXTS.filter(lambda text: len(text) < 1000)
FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

# --- keys


@FEW
@given(TEXTS, TEXTS)
@example("é" * 250, "é" * 249 + "e")
@example("a" * 201, "a" * 202)
@example("e\u0301", "é")
@example("A", "a")
def test_names_are_segments_of_some_length_and_each_its_own(one, other):
    keys = [key_safe(name) for name in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)
    for name, key in zip((one, other), keys, strict=True):
        assert 0 < len(key) <= 200
        assert key.isascii()
        assert not set(key) & set("/\\%~\"'`$ *?<>|&;\n")
        assert name_of(key) in (name, None)
        assert name_of(key) == name or len(name.encode(errors="surrogatepass")) * 3 > 200


@FEW
@given(SHORT, SHORT, st.one_of(st.none(), SHORT), SHORT)
def test_a_runs_keys_are_below_its_folder_and_no_longer_than_s3_takes(dag, run, scope, file):
    layout = Layout("s3://bucket/some/prefix", dag, run, scope)
    call = "c" * 200
    keys = [layout.attempt(call, (10**6, 10**6), 99), layout.file("0" * 64, file), layout.named("run.json")]
    for key in keys:
        assert key.startswith(f"s3://bucket/some/prefix/runs/{key_safe(dag)}/{key_safe(run)}/")
        assert not {"", ".", ".."} & set(split_uri(key)[1].rstrip("/").split("/"))
        assert len(split_uri(key)[1].encode()) <= 1024 - 100, "what is left for the names of outputs"


# --- scripts

REQUEST = TaskRequest(CallIdentity("d", "r", "c"), 0, "image", "true\n", "/wdl/x", "s3://b/p/")
RECORDING = r"""
fetch_file() { printf '%s\0' "$1" "$2" >>"$folder/said"; mkdir -p "${2%/*}" && : >"$2"; }
put_file() { :; }
"""


@settings(FEW, max_examples=12)
@given(st.lists(SHORT.map(lambda t: t.replace("\0", "").replace("/", "")[:60]), min_size=1, max_size=6, unique=True))
@example(["'; touch pwned; '", "$(touch pwned)", "a\nEND_OF_FILES\ntouch pwned", "`touch pwned`", "-rf", "\\"])
def test_bash_gets_names_commands_and_variables_as_they_are(tmp_path_factory, names):
    names = [f"n{name}" for name in names if name.encode(errors="ignore").decode() == name and len(name.encode()) < 200]
    root = tmp_path_factory.mktemp("run")
    folder = str(root / "attempt")
    inputs = tuple(StageIn(f"s3://b/{name}", f"{folder}/inputs/{at}/{name}") for at, name in enumerate(names))
    command = "printf '%s' \"$V\" >variable\n: <<'QUOTED'\n" + "\n".join(names) + "\nQUOTED\n"
    request = replace(REQUEST, folder=folder, command=command, environment={"V": "\n".join(names)}, inputs=inputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(staging._TOOLS, "aws", RECORDING)
        staging.library.cache_clear()
        script = staging.library("stage-in", "aws") + staging.stage_in_script(request, "aws")
    staging.library.cache_clear()
    done = _bash(script, root)
    assert done.returncode == 0, done.stderr
    said = (root / "attempt/said").read_bytes().split(b"\0")[:-1] if names else []
    pairs = sorted(zip(said[::2], said[1::2], strict=True))
    assert pairs == sorted((item.uri.encode(), item.path.encode()) for item in inputs)
    assert (root / "attempt/command.sh").read_bytes() == command.encode()
    assert _bash(f"bash '{folder}/run.sh'", root).returncode == 0
    assert (root / "attempt/work/variable").read_bytes() == "\n".join(names).encode()
    assert not list(root.rglob("pwned"))


def _bash(script: str, root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", script], cwd=root, capture_output=True, text=True, timeout=60, check=False)


@settings(FEW, max_examples=25)
@given(st.lists(TEXTS.map(lambda text: text.replace("\0", "")[:2000]), max_size=5))
def test_the_json_that_bash_writes_is_what_it_was_given(texts):
    texts = [text for text in texts if text.encode(errors="ignore").decode() == text]
    script = "folder=/ work=/\n" + staging._bash("collect") + '\njson_array "$@"; printf %s "$REPLY"'
    done = subprocess.run(["bash", "-c", script, "-", *texts], capture_output=True, timeout=60, check=True)
    assert json.loads(done.stdout) == texts


@FEW
@given(TEXTS)
def test_a_placeholder_gives_the_value_and_nothing_else(text):
    assume("\0" not in text and text.encode(errors="ignore").decode() == text)
    task = next(iter(PLAN.tasks.values()))
    evaluation = TaskEvaluation(task, {"s": text}, folder="/wdl/x", files=NoFiles())
    assert evaluation.command().strip() == f"cat <<'E'\n{text}\nE".strip()
    assert evaluation.environment == {"e": text}


class NoFiles:
    def read(self, uri):
        raise AssertionError(uri)

    size = list = write = read


SOURCE = """
version 1.2
task t {
  input { String s }
  env String e = s
  command <<<cat <<'E'
~{s}
E>>>
  output { Map[String, String] m = {s: s} }
  runtime { container: "debian" }
}
"""
PLAN = compile_wdl(SOURCE)


# --- JSON

JSON_SOURCE = """
version 1.2
workflow w {
  input {
    Array[String] texts
    Map[String, Array[String]] by_name = {}
    Array[Array[Map[String, Array[Int]]]] deep = []
  }
  output { Array[String] o = texts }
}
"""
JSON_PLAN = compile_wdl(JSON_SOURCE)


@FEW
@given(st.lists(TEXTS, max_size=4), st.dictionaries(SHORT, st.lists(SHORT, max_size=2), max_size=3))
def test_inputs_come_out_as_they_went_in_or_are_refused(texts, by_name):
    given_values = {"texts": texts, "w.by_name": by_name}
    whole = json.dumps(given_values)
    try:
        bound = bind_inputs(JSON_PLAN, json.loads(whole))
    except InputsError:
        assert re.search(r"\\u0000|\\ud[89a-f]", whole), "a text like any other was refused"
        return
    assert json.loads(json.dumps(bound)) == {"texts": texts, "by_name": by_name}


@pytest.mark.parametrize("depth", [10, 1_000, 100_000])
@pytest.mark.parametrize("kind", ["list", "object"])
def test_deep_json_is_refused(depth, kind):
    value: object = 1
    for _ in range(depth):
        value = [value] if kind == "list" else {"a": value}
    with pytest.raises(InputsError) as caught:
        bind_inputs(JSON_PLAN, {"texts": [], "deep": value})
    assert all(len(problem.message) < 2000 for problem in caught.value.problems)


# --- ids


@FEW
@given(SHORT)
@example("a" * 250)
@example("a\n")
@example("..")
@example("0..")
@example("x.py/../y")
def test_a_generated_dag_has_an_id_that_airflow_takes_and_its_files_are_in_their_folder(tmp_path_factory, name):
    from airflow.utils.helpers import validate_key

    folder = tmp_path_factory.mktemp("dags") / "dags"
    try:
        written = write_dag(PLAN, folder, name=name)
    except InputsError:
        return
    assert {path.parent for path in written} == {folder}
    assert sorted(folder.iterdir()) == sorted(written)
    validate_key(name or PLAN.name)
    compile(next(path for path in written if path.suffix == ".py").read_text(), "dag", "exec")


@pytest.mark.parametrize("where", ["workflow", "call", "both"])
def test_a_name_that_is_no_id_for_airflow_is_refused_with_its_place(where):
    workflow = "w" * (201 if where in ("workflow", "both") else 200)
    call = "c" * (201 if where in ("call", "both") else 200)
    source = SOURCE + f"workflow {workflow} {{ call t as {call} {{ input: s = 'x' }} }}"
    with pytest.raises(AuthorError, match="has 201 characters; 200 is the most") as caught:
        compile_wdl(source)
    assert len(caught.value.problems) == (2 if where == "both" else 1)
    assert all(problem.position is not None for problem in caught.value.problems)
    assert compile_wdl(source.replace("w" * 201, "w" * 200).replace("c" * 201, "c" * 200)).calls


@FEW
@given(SHORT, SHORT)
def test_ecs_is_asked_with_texts_that_it_takes(dag, run):
    identity = CallIdentity(dag, run, "align.sort", (1, 2))
    prefix = Layout("s3://bucket", dag, run).attempt("align.sort", (1, 2), 0)
    request = replace(REQUEST, identity=identity, prefix=prefix)
    settings_ = EcsSettings(cluster="c", workspace="s3://bucket", log_group="/g", launch_type="EC2")
    asked = run_task(request, TaskSize(1024, 2048), settings_, definition="d:1")
    assert len(asked["clientToken"]) <= 64
    assert len(asked["startedBy"]) <= 128
    assert asked["startedBy"].replace("-", "").replace("_", "").isalnum()
    assert len(json.dumps(asked["overrides"])) <= 8192
    for tag in asked["tags"]:
        assert len(tag["value"]) <= 256
        assert all(char.isalnum() or char in " +-=._:/@" for char in tag["value"])


# --- what Airflow shows and keeps


@FEW
@given(st.lists(SHORT, max_size=8))
def test_labels_tell_shards_apart_in_one_line_each(values):
    labels = distinct(values)
    assert len(set(labels)) == len(labels) == len(values)
    assert all(len(label.splitlines()) == 1 for label in labels)
    assert not [c for label in labels for c in label if unicodedata.category(c) in ("Cc", "Cf", "Zl") and c != "\t"]


KEYS = st.one_of(st.sampled_from([*sorted(RESERVED), "__var", "__version__", "__data__"]), SHORT)
JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), SHORT.filter(lambda t: len(t) < 300)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(KEYS, inner, max_size=3),
    ),
    max_leaves=8,
)


@FEW
@given(JSON_VALUES)
@example({"__classname__": "builtins.eval", "__version__": 1, "__data__": "x"})
@example([{"a": {"__type": "dict", "__var": {}}}])
@example({"__id__": 1})
def test_airflow_gives_xcoms_back_as_they_were(value):
    from airflow.models.xcom import XComModel
    from airflow.sdk.serde import deserialize, serialize

    sent = xcom_value(value)
    assert deserialize(json.loads(json.dumps(serialize(sent)))) == sent
    assert json.loads(XComModel.serialize_value(sent)) == sent
    if not any(f'"{key}"' in json.dumps(value) for key in RESERVED):
        assert sent == value
    assert json.loads(sent) == value if isinstance(value, dict) and RESERVED & set(value) else True


def test_an_identity_in_a_script_is_a_comment_of_one_line():
    hostile = replace(REQUEST, identity=CallIdentity("d\ntouch pwned", "r\rtouch pwned", "c", (), 1))
    script = staging.run_script(hostile)
    assert not [line for line in script.splitlines() if line.startswith("touch")]


def test_what_no_process_takes_for_text_is_refused():
    task = next(iter(PLAN.tasks.values()))
    for text in ("a\0b", "\ud800"):
        with pytest.raises(EvaluationError):
            TaskEvaluation(task, {"s": text}, folder="/wdl/x", files=NoFiles()).command()
