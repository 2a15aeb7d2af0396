"""Lowering: ids, references, what waits for what, inputs and outputs, and that every slice of text stands alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import WDL

from airflow_wdl_ecs.errors import AuthorError
from airflow_wdl_ecs.plan import Plan
from airflow_wdl_ecs.wdl.documents import source_slice
from airflow_wdl_ecs.wdl.load import load
from airflow_wdl_ecs.wdl.lower import compile_wdl, lower
from airflow_wdl_ecs.wdl.slices import parse_expression, parse_task

GOLDEN = Path(__file__).parent.parent / "golden"
SOURCES = sorted(path for path in GOLDEN.glob("*/source.wdl") if not path.parent.name.startswith("error_"))

WORK = """
task work {
  input { Int n = 1  File? file }
  command <<< echo ~{n} >>>
  output { Int m = n  File out = stdout() }
}
"""


def flow(body: str, more: str = "") -> Plan:
    """The plan of a workflow ``w`` with a task ``work``."""
    return compile_wdl(f"version 1.1\nworkflow w {{\n{body}\n}}\n{WORK}\n{more}")


def upstream(plan: Plan) -> dict[str, set[str]]:
    return {call.id: set(call.upstream) for call in plan.calls}


# --- what runs


def test_a_task_is_chosen_by_name_or_because_it_is_the_only_one() -> None:
    two = "version 1.0\ntask a { command {} }\ntask b { input { Int n } command {} output { Int a = n  Int b = n } }\n"
    plan = compile_wdl(two, task="b")
    assert [call.id for call in plan.calls] == ["b"]
    assert [(each.name, each.node, each.required) for each in plan.inputs] == [("n", "b", True)]
    # an output may have the task's name
    assert [(each.name, each.node) for each in plan.outputs] == [("a", "a"), ("b", "output_b")]
    assert compile_wdl(WORK.replace("\ntask", "version 1.1\ntask")).name == "work"
    with pytest.raises(AuthorError, match=r"a, b\nchoose one with --task"):
        compile_wdl(two)
    with pytest.raises(AuthorError, match=r"no task c \(tasks: a, b\)"):
        compile_wdl(two, task="c")
    with pytest.raises(AuthorError, match="neither a workflow nor a task"):
        compile_wdl("version 1.0\nstruct S { Int n }\n")


# --- ids


def test_ids_are_airflow_ids_and_unique() -> None:
    for source in SOURCES:
        plan = compile_wdl(source)
        ids = [node.id for node in (*plan.sections, *plan.decls, *plan.calls)]
        assert len(ids) == len(set(ids)), source
        assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", id_) for id_ in ids if id_), source


def test_ids_do_not_depend_on_what_else_is_in_the_source() -> None:
    body = "input { Boolean flag }\nif (flag) { call work }\nif (flag) { Int x = 1 }\nscatter (i in [1]) { Int y = i }"
    before = flow(body)
    after = flow("Int added = 3\nif (!true) { Int z = 2 }\nscatter (k in [1]) { call work as extra }\n\n\n" + body)
    assert {node.id for node in before.sections} == {"", "if_flag_work", "if_flag_x", "scatter_i"}
    assert {node.id for node in before.sections} <= {node.id for node in after.sections}


def test_a_section_gives_way_to_a_declaration_of_its_name() -> None:
    plan = flow("Int scatter_i = 1\nscatter (i in [1]) { Int y = i }")
    assert {node.id for node in plan.sections} == {"", "scatter_i_y"}


def test_sections_that_nothing_tells_apart_are_numbered() -> None:
    plan = flow("if (true) { if (true) { call work } }")
    assert [node.id for node in plan.sections] == ["", "if_true_work", "if_true_work_2"]


@pytest.mark.parametrize(
    ("condition", "id_"),
    [
        ("!flag", "if_not_flag"),
        ("flag != true", "if_flag_true"),
        ("defined(n) && n > 3", "if_defined_n_n_3"),
        ("flag # or not\n", "if_flag"),
        ("length([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]) > 3", "if_length_1_2_3_4_5_6_7_8_9_10_11_12_13_3"),
        ('"é" == "+"', "if"),
    ],
)
def test_a_conditional_is_named_for_its_condition(condition: str, id_: str) -> None:
    plan = flow(f"input {{ Boolean flag  Int n = 1 }}\nif ({condition}) {{ call work }}")
    assert [node.id for node in plan.sections] == ["", id_]


# --- what waits for what


def test_calls_wait_through_declarations_guards_and_collections() -> None:
    plan = flow(
        """
        call work as a
        call work as b
        call work as c
        Int through = a.m + 1
        Int further = through * 2
        if (b.m > 0) {
          call work as guarded { input: n = further }
          Int also = 3
        }
        scatter (i in range(c.m)) {
          call work as each { input: n = i }
        }
        call work as gathers { input: n = length(each.m) }
        call work as optional { input: n = select_first([also, 1]) }
        call work as free
        """
    )
    assert upstream(plan) == {
        "a": set(),
        "b": set(),
        "c": set(),
        "guarded": {"a", "b"},
        "each": {"c"},
        "gathers": {"c", "each"},  # how many there are to gather is for c to say
        "optional": {"b"},
        "free": set(),
    }
    assert plan.section_by_id["scatter_i"].upstream == ("c",)
    assert plan.section_by_id["if_b_m_0"].upstream == ("b",)


def test_after_orders_without_a_value_and_into_subworkflows(tmp_path: Path) -> None:
    (tmp_path / "sub.wdl").write_text(
        f"version 1.1\nworkflow sub {{ input {{ Int x = 0 }} call work as one  call work as two {{ input: n = x }} "
        f"output {{ Int m = two.m }} }}\n{WORK}"
    )
    (tmp_path / "main.wdl").write_text(
        'version 1.1\nimport "sub.wdl" as lib\nworkflow w { call lib.work as first\n'
        "call lib.sub after first { input: x = 1 }\ncall lib.work as last after sub }\n"
    )
    assert upstream(compile_wdl(tmp_path / "main.wdl")) == {
        "first": set(),
        "sub.one": {"first"},
        "sub.two": {"first"},
        "last": {"sub.one", "sub.two"},
    }


def test_a_subworkflow_waits_only_for_what_each_of_its_calls_needs(tmp_path: Path) -> None:
    (tmp_path / "sub.wdl").write_text(
        f"version 1.1\nworkflow sub {{ input {{ Int x  Int y }} call work as one {{ input: n = x }}\n"
        f"call work as two {{ input: n = y }} output {{ Int m = two.m }} }}\n{WORK}"
    )
    (tmp_path / "main.wdl").write_text(
        'version 1.1\nimport "sub.wdl" as lib\nworkflow w { call lib.work as a  call lib.work as b\n'
        "call lib.sub { input: x = a.m, y = b.m }\ncall lib.work as last { input: n = sub.m } }\n"
    )
    assert upstream(compile_wdl(tmp_path / "main.wdl")) == {
        "a": set(),
        "b": set(),
        "sub.one": {"a"},
        "sub.two": {"b"},
        "last": {"sub.two"},
    }


def test_a_long_chain_of_declarations_needs_no_deep_recursion() -> None:
    chain = "\n".join(f"Int d{number} = d{number - 1} + 1" for number in range(1, 1500))
    plan = flow(f"call work as a\nInt d0 = a.m\n{chain}\ncall work as b {{ input: n = d1499 }}")
    assert upstream(plan)["b"] == {"a"}


# --- names and types


def test_references_have_the_type_that_they_have_where_they_stand() -> None:
    plan = flow(
        """
        scatter (i in [1, 2]) {
          if (i > 1) { call work  Int inner = work.m }
        }
        Array[Int?] all = work.m
        Array[Int?]+ inners = inner
        """
    )
    assert plan.decl_by_id["inner"].expression is not None
    assert plan.decl_by_id["inner"].expression.refs["work.m"].type == "Int"
    assert plan.decl_by_id["all"].expression is not None
    assert plan.decl_by_id["all"].expression.refs["work.m"].type == "Array[Int?]+"


def test_members_pairs_and_outputs_of_calls_are_told_apart() -> None:
    more = (
        "struct S { Int m  Pair[Int, Int] p }\ntask make { command <<< >>> output { S s = object {m: 1, p: (1, 2)} } }"
    )
    plan = flow(
        "S x = object { m: 1, p: (1, 2) }\ncall make\nInt sum = x.m + x.p.left + make.s.p.right + make.s.m", more
    )
    expression = plan.decl_by_id["sum"].expression
    assert expression is not None
    assert {name: (ref.node, ref.output, ref.type) for name, ref in expression.refs.items()} == {
        "x": ("x", None, "S"),
        "make.s": ("make", "s", "S"),
    }


def test_an_expression_without_a_declarable_type_has_that_of_what_it_is_bound_to() -> None:
    plan = flow(
        "Array[String] none = []\nInt? nothing = None\nArray[Array[File]] files = [[]]\nMap[String, Int] m = {}"
    )
    assert [decl.expression and decl.expression.type for decl in plan.decls[:4]] == [
        "Array[String]",
        "Int?",
        "Array[Array[File]]",
        "Map[String,Int]",
    ]


def test_a_scatter_over_objects_is_refused_where_it_stands() -> None:
    with pytest.raises(AuthorError, match=r"<text>:3:\d+: object\(n : Int\) is no type") as caught:
        flow("scatter (o in [object { n: 1 }]) { call work }")
    assert caught.value.problems[0].excerpt.startswith("scatter (o in")


# --- slices stand alone


def expressions_in(node: WDL.Tree.Workflow | WDL.Tree.WorkflowNode) -> Iterator[WDL.Expr.Base]:
    for child in node.children:
        if isinstance(child, WDL.Expr.Base):
            yield child
        elif not isinstance(child, WDL.Tree.Gather):
            assert isinstance(child, WDL.Tree.WorkflowNode)
            yield from expressions_in(child)


def tree(expression: WDL.SourceNode) -> object:
    """An expression as plain data: what it is, and nothing of where it stands."""
    while isinstance(expression, WDL.Expr.Get) and expression.member is None:
        expression = expression.expr
    own = [getattr(expression, name, None) for name in ("value", "name", "function_name", "member", "options")]
    texts = [part for part in getattr(expression, "parts", []) if isinstance(part, str)]
    members = [str(each) for each in getattr(expression, "members", {})]
    return (
        type(expression).__name__,
        own,
        texts,
        members,
        getattr(expression, "struct_type_name", None),
        [tree(child) for child in expression.children],
    )


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.parent.name)
def test_every_expression_parses_alone_to_what_it_was(source: Path) -> None:
    document = load(source)
    plan = lower(document)
    trees = {}
    for scope in (document, *(each.doc for each in document.imports)):
        if scope is not None and scope.workflow is not None:
            for found in expressions_in(scope.workflow):
                if not isinstance(found, WDL.Expr.Ident):
                    place = (scope.pos.uri, found.pos.line, found.pos.column, source_slice(scope, found.pos))
                    trees[place] = (tree(found), str(found.type))
    compared = 0
    for expression in plan.expressions():
        alone = parse_expression(expression, plan.documents[plan.section_by_id[expression.section].document])
        key = (expression.position.file, expression.position.line, expression.position.column, expression.text)
        if key in trees:
            compared += 1
            assert tree(alone) == trees[key][0], expression.text
    assert compared or document.workflow is None


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.parent.name)
def test_every_task_parses_alone_with_its_lines_and_columns(source: Path) -> None:
    plan = compile_wdl(source)
    for task in plan.tasks.values():
        alone = parse_task(task)
        lines = Path(task.position.file).read_text().split("\n")
        for decl in (*(alone.inputs or []), *alone.postinputs, *alone.outputs):
            assert lines[decl.pos.line + task.line_offset - 1][decl.pos.column - 1 :].startswith(str(decl.type)[:3])


def test_a_task_that_does_not_start_its_line_keeps_its_columns() -> None:
    plan = compile_wdl("version 1.0\nstruct S { Int n }\n  task a { input { S s } command {} }")
    task = plan.tasks["a"]
    assert task.source == "version 1.0\nstruct S {\n  Int n\n}\n  task a { input { S s } command {} }\n"
    assert task.line_offset == -2


def test_a_task_has_only_the_structs_that_it_names() -> None:
    plan = flow(
        "call uses",
        "struct A { Int n }\nstruct B { A a  Array[C] cs }\nstruct C { Int m }\nstruct D { Int o }\n"
        "task uses { input { B? b } command <<< >>> }",
    )
    assert re.findall(r"struct (\w+)", plan.tasks["uses"].source) == ["A", "B", "C"]


# --- inputs and outputs, against miniwdl's own account


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.parent.name)
def test_inputs_and_outputs_are_those_that_miniwdl_knows(source: Path) -> None:
    document = load(source)
    plan = lower(document)
    target = document.workflow or document.tasks[0]
    available = {each.name for each in target.available_inputs if not each.name.rpartition(".")[2].startswith("_")}
    assert {each.name for each in plan.inputs} == available
    assert {each.name for each in plan.inputs if each.required} == {each.name for each in target.required_inputs}
    assert {each.name: each.type for each in plan.outputs} == {
        each.name: str(each.value) for each in target.effective_outputs
    }


PRIVATE = """
version {version}
workflow w {{
  Int given
  Int private = 1
  call t
}}
task t {{
  String needed
  String own = "x"
  command {{ }}
}}
"""


@pytest.mark.parametrize(
    ("version", "names"),
    [("draft-2", ["given", "private", "t.needed", "t.own"]), ("1.0", ["given", "t.needed"])],
)
def test_without_an_input_section_a_declaration_with_a_value_is_private_from_1_0_on(
    version: str, names: list[str]
) -> None:
    text = PRIVATE.format(version=version).replace("version draft-2\n", "")
    plan = lower(load(text))
    assert [each.name for each in plan.inputs] == names
    assert plan.decl_by_id["private"].input == ("private" if "private" in names else None)


def test_an_input_bound_by_the_call_cannot_be_set() -> None:
    plan = flow("call work { input: n = 3 }")
    assert [(each.name, each.type, each.required) for each in plan.inputs] == [("work.file", "File?", False)]


def test_an_input_that_a_call_leaves_open_is_required() -> None:
    plan = flow("if (true) { call needs }", "task needs { input { Int n } command <<< >>> }")
    assert [(each.name, each.required) for each in plan.inputs] == [("needs.n", True)]


def test_defaults_are_json_where_they_are_literals() -> None:
    plan = flow(
        """
        input {
          Float f = 2
          Map[String, Array[Int]] m = {"a": [1]}
          Int? nothing = None
          Int computed = 1 + 1
          String interpolated = "~{computed}"
          Int needed
        }
        """
    )
    found = {each.name: (each.has_default, each.default, each.default_text) for each in plan.inputs}
    assert found == {
        "f": (True, 2.0, "2"),
        "m": (True, {"a": [1]}, '{"a": [1]}'),
        "nothing": (True, None, "None"),
        "computed": (True, None, "1 + 1"),
        "interpolated": (True, None, '"~{computed}"'),
        "needed": (False, None, ""),
    }


# --- structs of several documents


def test_a_struct_of_another_document_has_the_name_that_it_has_here(tmp_path: Path) -> None:
    """Two documents define the same struct, and a third knows a like one by another name."""
    (tmp_path / "make.wdl").write_text(
        "version 1.1\nstruct S { Int n }\ntask make { command <<< >>> output { S s = object { n: 1 } } }\n"
    )
    (tmp_path / "use.wdl").write_text(
        "version 1.1\nstruct S { Int n }\ntask use { input { Array[S] s } command <<< >>> output { S? one = s[0] } }\n"
    )
    (tmp_path / "alias.wdl").write_text(
        'version 1.1\nimport "make.wdl" as lib alias S as T\nstruct S { File f }\n'
        "workflow inner { input { T t } call lib.make output { T made = make.s  Array[T] both = [t, make.s] } }\n"
    )
    (tmp_path / "main.wdl").write_text(
        'version 1.1\nimport "make.wdl" as making\nimport "use.wdl" as using\n'
        'import "alias.wdl" as other alias S as Unused alias T as Renamed\n'
        "workflow w { call making.make  call other.inner { input: t = make.s }\n"
        "call using.use { input: s = [make.s, inner.made] } output { S? one = use.one  S made = inner.made } }\n"
    )
    plan = compile_wdl(tmp_path / "main.wdl")
    ref = {name: each for call in plan.calls for text in call.inputs.values() for name, each in text.refs.items()}
    for expression in plan.expressions():
        parse_expression(expression, plan.documents[plan.section_by_id[expression.section].document])
    main = plan.documents["0"].structs
    assert {ref["make.s"].type, ref["inner.made"].type} <= set(re.findall(r"struct (\w+)", main))
    assert plan.decl_by_id["inner.t"].type == "T"
    assert "struct T {\n  Int n\n}" in plan.documents[plan.section_by_id["inner"].document].structs
    assert [each.type for each in plan.outputs] == ["S?", "S"]
