"""A run's values: scatter, conditional and subworkflow semantics from the specification's text."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from memory_files import MemoryFiles

from airflow_wdl_ecs.errors import EvaluationError, Position
from airflow_wdl_ecs.plan import ROOT, Decl, Document, Expression, Output, Plan, Ref, Section
from airflow_wdl_ecs.wdl.inputs import runtime_overrides
from airflow_wdl_ecs.wdl.lower import compile_wdl
from airflow_wdl_ecs.wdl.workflow_evaluation import WorkflowEvaluation

TASK = """
task t {
  input { Int i  String s = "default"  Float f = 2  File? file }
  command <<<>>>
  output { File o = "x"  Int n = i  File? maybe = "y" }
}
"""


class Run:
    """A run of a workflow whose calls are done: ``t``'s outputs follow from its inputs."""

    def __init__(self, text: str, inputs: Mapping[str, object] | None = None, files=None, version="1.1"):
        self.plan = compile_wdl(f"version {version}\n{TASK}\n{text}")
        self.asked: list[tuple[str, tuple[int, ...]]] = []
        self.evaluation = WorkflowEvaluation(self.plan, inputs or {}, files or MemoryFiles(), self.call_outputs)

    def call_outputs(self, call, shard):
        self.asked.append((call, shard))
        inputs = self.evaluation.call_inputs(call, shard)
        if inputs is None:
            return None
        where = "/".join([call, *map(str, shard)])
        return {"o": f"s3://out/{where}", "n": inputs["i"], "maybe": None}

    def outputs(self):
        return self.evaluation.outputs()

    def section(self, kind: str, depth: int = 0) -> str:
        return [found.id for found in self.plan.sections if found.kind == kind][depth]


def workflow(body: str, outputs: str = "") -> str:
    return f"workflow w {{\n{body}\noutput {{ {outputs} }}\n}}"


class TestScatter:
    def test_a_scatter_gathers_in_the_order_of_its_collection(self):
        run = Run(
            workflow(
                "scatter (x in [3, 1, 2]) { call t { input: i = x }  Int y = x * 10 }",
                "Array[Int] n = t.n  Array[File] o = t.o  Array[Int] ys = y",
            )
        )
        assert run.evaluation.shards("t") == [(0,), (1,), (2,)]
        assert run.outputs() == {
            "n": [3, 1, 2],
            "o": ["s3://out/t/0", "s3://out/t/1", "s3://out/t/2"],
            "ys": [30, 10, 20],
        }

    def test_an_empty_scatter_gathers_to_an_empty_array_without_asking_a_call(self):
        run = Run(workflow("scatter (x in range(0)) { call t { input: i = x } }", "Array[Int] n = t.n"))
        assert run.evaluation.shard_count(run.section("scatter")) == 0
        assert run.evaluation.shards("t") == []
        assert run.outputs() == {"n": []}
        assert run.asked == []

    def test_ragged_scatters(self):
        text = workflow(
            "input { Array[Array[Int]] m } scatter (row in m) { scatter (x in row) { call t { input: i = x } } }",
            "Array[Array[Int]] n = t.n",
        )
        run = Run(text, {"m": [[1, 2], [], [3]]})
        assert run.evaluation.shards("t") == [(0, 0), (0, 1), (2, 0)]
        assert run.evaluation.shards("t", (0,)) == [(0, 0), (0, 1)]
        assert run.evaluation.shards("t", (1,)) == []
        assert [run.evaluation.shard_count(run.section("scatter", 1), (i,)) for i in range(3)] == [2, 0, 1]
        assert run.outputs() == {"n": [[1, 2], [], [3]]}

    def test_inside_the_scatter_a_name_is_of_the_same_shard_and_outside_of_all(self):
        run = Run(
            workflow(
                """scatter (x in [1, 2]) {
                     call t { input: i = x }
                     scatter (y in [10, 20]) { call t as u { input: i = t.n + y }  Int z = u.n + x }
                     Array[Int] inner = u.n
                   }
                   Array[Array[Int]] all = u.n
                   Array[Int] flat = flatten(z)""",
                "Array[Array[Int]] a = all  Array[Array[Int]] i = inner  Array[Int] f = flat",
            )
        )
        assert run.outputs() == {"a": [[11, 21], [12, 22]], "i": [[11, 21], [12, 22]], "f": [12, 22, 14, 24]}

    def test_the_inputs_of_one_shard_ask_only_for_that_shard(self):
        run = Run(workflow("scatter (x in range(1000)) { call t { input: i = x }  call t as u { input: i = t.n } }"))
        assert run.evaluation.call_inputs("u", (7,)) == {"i": 7}
        assert run.asked == [("t", (7,))]

    def test_a_gather_asks_each_shard_once(self):
        run = Run(
            workflow(
                """scatter (x in range(5)) { call t { input: i = x } }
                   scatter (y in range(4)) { call t as u { input: i = t.n[y] } }""",
                "Array[Int] n = u.n",
            )
        )
        assert run.outputs() == {"n": [0, 1, 2, 3]}
        assert sorted(asked for asked in run.asked if asked[0] == "t") == [("t", (i,)) for i in range(5)]

    def test_labels(self):
        text = workflow(
            """input { Array[File] fs  Array[Pair[String, File]] ps  Array[S] ss }
               scatter (f in fs) { Int a = 1 } scatter (p in ps) { Int b = 1 } scatter (s in ss) { Int c = 1 }
               scatter (m in [{"a": 1}]) { Int d = 1 } scatter (l in ["x" , sub("y y", " ", "\\n")]) { Int e = 1 }"""
        )
        run = Run(
            "struct S { Int n String id }\n" + text,
            {"fs": ["s3://b/d/a.bam"], "ps": [{"left": "s1", "right": "s3://b/x"}], "ss": [{"n": 1, "id": "NA1"}]},
        )
        labels = [run.evaluation.shard_label(run.section("scatter", i), (0,)) for i in range(5)]
        assert labels == ["a.bam", "s1", "NA1", '{"a": 1}', "x"]
        assert run.evaluation.shard_label(run.section("scatter", 4), (1,)) == "y y"


class TestConditional:
    def test_a_false_condition_makes_null_without_evaluating_or_asking(self):
        run = Run(
            workflow(
                """input { Boolean go }
                   if (go) { call t { input: i = 1 }  Int broken = [1][5]  Int y = t.n }""",
                "Int? n = t.n  Int? b = broken  Int? yy = y  Boolean d = defined(y)",
            ),
            {"go": False},
        )
        assert run.outputs() == {"n": None, "b": None, "yy": None, "d": False}
        assert run.evaluation.call_inputs("t", ()) is None
        assert run.asked == []

    def test_a_true_condition(self):
        run = Run(
            workflow(
                "input { Boolean go = true } if (go) { call t { input: i = 1 } }",
                "Int? n = t.n  Int m = select_first([t.n, 5])  File? f = t.maybe",
            )
        )
        assert run.outputs() == {"n": 1, "m": 1, "f": None}

    def test_a_scatter_in_a_conditional_in_a_scatter(self):
        text = workflow(
            """input { Array[Array[Int]] m }
               scatter (row in m) {
                 if (length(row) != 1) { scatter (x in row) { call t { input: i = x } } }
               }""",
            "Array[Array[Int]?] n = t.n  Array[Array[Int]] s = select_all(t.n)",
        )
        run = Run(text, {"m": [[1, 2], [9], []]})
        assert run.outputs() == {"n": [[1, 2], None, []], "s": [[1, 2], []]}
        assert run.evaluation.shards("t") == [(0, 0), (0, 1)]
        assert run.evaluation.shard_count(run.section("scatter", 1), (1,)) is None
        assert run.evaluation.shard_count(run.section("scatter", 1), (2,)) == 0

    def test_a_conditional_in_a_scatter_in_a_conditional(self):
        text = workflow(
            "input { Boolean go } if (go) { scatter (x in range(3)) { if (x != 1) { call t { input: i = x } } } }",
            "Array[Int?]? n = t.n",
        )
        assert Run(text, {"go": True}).outputs() == {"n": [0, None, 2]}
        run = Run(text, {"go": False})
        assert run.outputs() == {"n": None}
        assert run.evaluation.shard_count(run.section("scatter")) is None
        assert run.evaluation.shards("t") == []

    def test_nested_conditionals_are_asked_from_the_outside_in(self):
        text = workflow(
            """input { Array[Int] xs }
               if (length(xs) > 0) { if (xs[0] > 5) { call t { input: i = xs[0] } } }""",
            "Int? n = t.n",
        )
        assert Run(text, {"xs": []}).outputs() == {"n": None}
        assert Run(text, {"xs": [1]}).outputs() == {"n": None}
        assert Run(text, {"xs": [9]}).outputs() == {"n": 9}

    def test_a_condition_on_a_calls_output_in_the_same_shard(self):
        run = Run(
            workflow(
                "scatter (x in range(3)) { call t { input: i = x } if (t.n > 0) { call t as u { input: i = t.n } } }",
                "Array[Int?] n = u.n",
            )
        )
        assert [run.evaluation.call_inputs("u", (i,)) for i in range(3)] == [None, {"i": 1}, {"i": 2}]
        assert run.outputs() == {"n": [None, 1, 2]}

    def test_a_call_in_a_scatter_is_listed_and_skipped_by_its_own_condition(self):
        run = Run(workflow("scatter (x in range(2)) { if (x > 0) { call t { input: i = x } } }"))
        assert run.evaluation.shards("t") == [(0,), (1,)]
        assert run.evaluation.call_inputs("t", (0,)) is None


class TestInputs:
    def test_the_runs_value_then_the_default_and_null_where_it_is_optional(self):
        text = workflow(
            "input { Int a = 5  Int? b = 6  Int? c  Int d = a + 1 }", "Int ao = a  Int? bo = b  Int? co = c  Int o = d"
        )
        assert Run(text).outputs() == {"ao": 5, "bo": 6, "co": None, "o": 6}
        assert Run(text, {"a": None, "b": None}).outputs() == {"ao": 5, "bo": None, "co": None, "o": 6}
        assert Run(text, {"a": 1, "c": 2, "d": 9}).outputs() == {"ao": 1, "bo": 6, "co": 2, "o": 9}

    def test_a_call_gets_what_is_bound_and_what_the_run_sets_and_nothing_else(self):
        run = Run(
            workflow("call t { input: i = 1 }"), {"t.s": "mine", "t.runtime.memory": "8 GB", "t.requirements.cpu": 2}
        )
        assert run.evaluation.call_inputs("t", ()) == {"i": 1, "s": "mine"}
        assert runtime_overrides(run.plan, run.evaluation.inputs, "t") == {"memory": "8 GB", "cpu": 2}

    def test_overrides_of_another_call_are_not_its_own(self):
        run = Run(workflow("call t { input: i = 1 } call t as t2 { input: i = 1 }"), {"t2.runtime.memory": "8 GB"})
        assert runtime_overrides(run.plan, run.evaluation.inputs, "t") == {}

    def test_a_task_that_runs_directly(self):
        run = Run("", {"i": 3, "runtime.memory": "1 GB"})
        assert run.evaluation.call_inputs("t", ()) == {"i": 3}
        assert runtime_overrides(run.plan, run.evaluation.inputs, "t") == {"memory": "1 GB"}
        assert run.outputs() == {"o": "s3://out/t", "n": 3, "maybe": None}

    def test_an_input_is_coerced_to_what_the_task_declares(self):
        run = Run(workflow("call t { input: i = 1, s = 1.5, f = 3 }"))
        assert run.evaluation.call_inputs("t", ()) == {"i": 1, "s": "1.500000", "f": 3.0}
        assert isinstance(run.evaluation.call_inputs("t", ())["f"], float)

    def test_a_null_input_is_passed_on_for_the_task_to_decide(self):
        run = Run(workflow("input { File? g } call t { input: i = 1, file = g }"))
        assert run.evaluation.call_inputs("t", ()) == {"i": 1, "file": None}

    def test_a_required_input_that_is_not_given(self):
        with pytest.raises(EvaluationError, match="required, and not given"):
            Run(workflow("input { Int a }", "Int o = a")).outputs()

    def test_files_are_read_and_measured_in_s3(self):
        files = MemoryFiles({"s3://b/list": "1\n2\n", "s3://b/big": "x" * 1000})
        text = workflow(
            """input { File list  File big }
               scatter (n in read_lines(list)) { call t { input: i = ceil(size(big)) + length([n]) } }"""
        )
        run = Run(text, {"list": "s3://b/list", "big": "s3://b/big"}, files)
        assert run.evaluation.call_inputs("t", (1,)) == {"i": 1001}
        assert ("read", "s3://b/big") not in files.asked

    @pytest.mark.parametrize("path", ["/etc/passwd", "file:///etc/passwd", "../x", "x", "s3://b/../c"])
    def test_nothing_of_the_machine_is_read(self, path):
        with pytest.raises(EvaluationError, match="reads only s3:// files"):
            Run(workflow(f'String s = read_string("{path}")', "String o = s")).outputs()


SUB = """
workflow sub {
  input { Int x  Int y = x + 1  Int? z  String label = "l" }
  call t { input: i = x + y }
  scatter (k in range(x)) { Int kk = k + y }
  output { Int n = t.n  Array[Int] ks = kk  Int? zz = z }
}
"""


@pytest.fixture
def with_sub(tmp_path):
    def run(body: str, outputs: str = "", inputs=None):
        (tmp_path / "sub.wdl").write_text(f"version 1.1\n{TASK}\n{SUB}")
        main = tmp_path / "main.wdl"
        main.write_text(f'version 1.1\nimport "sub.wdl" as lib\n{workflow(body, outputs)}')
        found = Run.__new__(Run)
        found.plan, found.asked = compile_wdl(main), []
        found.evaluation = WorkflowEvaluation(found.plan, inputs or {}, MemoryFiles(), found.call_outputs)
        return found

    return run


class TestSubworkflow:
    def test_bound_default_and_nested_inputs(self, with_sub):
        run = with_sub(
            "input { Int a } call lib.sub { input: x = a }", "Int n = sub.n  Array[Int] ks = sub.ks", {"a": 2}
        )
        assert run.evaluation.call_inputs("sub.t", ()) == {"i": 5}
        assert run.outputs() == {"n": 5, "ks": [3, 4]}
        run = with_sub("call lib.sub { input: x = 1 }", "Int n = sub.n", {"sub.y": 10, "sub.t.s": "q"})
        assert run.evaluation.call_inputs("sub.t", ()) == {"i": 11, "s": "q"}

    def test_null_bound_to_an_input_with_a_default_means_the_default(self, with_sub):
        body = "input { Int? none } call lib.sub { input: x = 1, y = none, z = none }"
        run = with_sub(body, "Int n = sub.n  Int? z = sub.zz")
        assert run.outputs() == {"n": 3, "z": None}
        assert with_sub(body, "Int n = sub.n", {"none": 5}).outputs() == {"n": 6}

    def test_in_a_scatter_and_a_conditional(self, with_sub):
        run = with_sub(
            "scatter (a in [0, 2, 1]) { if (a != 2) { call lib.sub { input: x = a }  Int m = sub.n } }",
            "Array[Int?] n = sub.n  Array[Array[Int]?] ks = sub.ks  Array[Int?] ms = m",
        )
        assert run.evaluation.shards("sub.t") == [(0,), (1,), (2,)]
        assert run.evaluation.call_inputs("sub.t", (1,)) is None
        assert run.evaluation.call_inputs("sub.t", (2,)) == {"i": 3}
        assert run.outputs() == {"n": [1, None, 3], "ks": [[], None, [2]], "ms": [1, None, 3]}

    def test_a_nested_input_holds_in_every_shard(self, with_sub):
        run = with_sub(
            "scatter (a in [1, 2]) { call lib.sub { input: x = a } }", "Array[Int] n = sub.n", {"sub.y": 100}
        )
        assert run.outputs() == {"n": [101, 102]}


class TestErrors:
    def test_a_declaration_that_nothing_asks_for_fails_the_workflow_but_no_call(self):
        run = Run(workflow("Array[Pair[Int, Int]] bad = zip([1], [2, 3])\ncall t { input: i = 1 }", "Int n = t.n"))
        assert run.evaluation.call_inputs("t", ()) == {"i": 1}
        with pytest.raises(EvaluationError, match="equal length"):
            run.outputs()

    def test_an_error_is_where_it_stands_in_the_source(self):
        run = Run(workflow("Array[Int] xs = []\nInt x =\n   xs[2]", "Int o = x"))
        with pytest.raises(EvaluationError, match="out of bounds") as caught:
            run.outputs()
        decl = next(found for found in run.plan.decls if found.name == "x")
        assert decl.expression is not None
        assert caught.value.position == Position(
            decl.position.file, decl.expression.position.line, decl.expression.position.column + 3
        )

    def test_an_error_in_a_calls_inputs_names_the_call_and_the_shard(self):
        run = Run(workflow("scatter (x in range(2)) { call t { input: i = [7][x] } }"))
        assert run.evaluation.call_inputs("t", (0,)) == {"i": 7}
        with pytest.raises(EvaluationError) as caught:
            run.evaluation.call_inputs("t", (1,))
        assert (caught.value.call, caught.value.shard) == ("t", (1,))

    def test_a_call_that_has_no_outputs_yet_is_named(self):
        run = Run(workflow("call t { input: i = 1 }", "Int n = t.n"))
        evaluation = WorkflowEvaluation(run.plan, {}, MemoryFiles(), lambda call, shard: None)
        with pytest.raises(EvaluationError, match=r"call t: .*no outputs yet"):
            evaluation.outputs()

    def test_a_failed_question_is_asked_again(self):
        run = Run(workflow("call t { input: i = 1 }", "Int n = t.n"))
        answers = iter([None, {"o": "s3://b/o", "n": 4, "maybe": None}])
        evaluation = WorkflowEvaluation(run.plan, {}, MemoryFiles(), lambda call, shard: next(answers))
        with pytest.raises(EvaluationError):
            evaluation.outputs()
        assert evaluation.outputs() == {"n": 4}


def chain(length: int) -> Plan:
    """A plan whose declarations each refer to the one before."""
    at = Position("chain.wdl", 1, 1)
    decls = [Decl("d0", ROOT, "d0", "Int", at, Expression("0", "Int", ROOT, at))]
    for number in range(1, length):
        before = f"d{number - 1}"
        expression = Expression(f"{before} + 1", "Int", ROOT, at, {before: Ref(before, "Int")})
        decls.append(Decl(f"d{number}", ROOT, f"d{number}", "Int", at, expression))
    return Plan(
        name="chain",
        documents={"0": Document("1.1")},
        sections=(Section(ROOT, "workflow", "0", at),),
        decls=tuple(decls),
        outputs=(Output("last", f"d{length - 1}", "Int"),),
    )


def test_a_long_chain_of_declarations_needs_no_deep_recursion():
    evaluation = WorkflowEvaluation(chain(1600), {}, MemoryFiles(), lambda call, shard: None)
    assert evaluation.outputs() == {"last": 1599}


def test_an_array_that_every_shard_reads_is_built_once():
    run = Run(
        workflow("Array[Int] xs = range(20000)\nscatter (i in range(2000)) { Int x = xs[i] }", "Array[Int] o = x")
    )
    started = time.perf_counter()
    assert run.outputs()["o"][:3] == [0, 1, 2]
    assert time.perf_counter() - started < 8


def test_threads_may_share_an_evaluation():
    run = Run(
        workflow(
            """Array[Int] xs = range(200)
               scatter (i in xs) { call t { input: i = xs[i] } }
               scatter (i in xs) { Int d = t.n[i] + 1  call t as u { input: i = d } }"""
        )
    )
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: run.evaluation.call_inputs("u", (i,)), range(200)))
    assert found == [{"i": i + 1} for i in range(200)]


def test_values_survive_from_output_to_input():
    text = workflow(
        """input { Map[Int, String] m  Pair[Float, Array[String]] p }
           Map[Int, String] m2 = m  Pair[Float, Array[String]] p2 = p""",
        "Map[Int, String] mo = m2  Pair[Float, Array[String]] po = p2",
    )
    given = {"m": {"9007199254740993": 'a "quoted"\nline é'}, "p": {"left": 1.0, "right": ["x\ty", ""]}}
    assert Run(text, given).outputs() == {"mo": given["m"], "po": given["p"]}
