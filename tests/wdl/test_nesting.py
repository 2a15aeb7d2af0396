"""Sources that are nested too deeply, or import too much, are refused where they do, and soon."""

from __future__ import annotations

import os
import time

import pytest

from airflow_wdl_ecs.errors import AuthorError
from airflow_wdl_ecs.wdl import load, nesting
from airflow_wdl_ecs.wdl.check import problems
from airflow_wdl_ecs.wdl.lower import compile_wdl

DEEP = 5000


def workflow(body: str, version: str = "1.1") -> str:
    return f"version {version}\nworkflow w {{\n{body}\n}}\n"


@pytest.mark.parametrize(
    "body",
    [
        "Array[Int] x = " + "[" * DEEP + "1" + "]" * DEEP,
        "Array[Int] x = " + "[" * 40 + "1" + "]" * 40,
        "Map[Int,Int] x = " + "{1: " * 40 + "1" + "}" * 40,
        "Pair[Int,Int] x = " + "(" * DEEP + "1" + ",1)" * DEEP,
        "Int x = " + "if true then " * DEEP + "1" + " else 2" * DEEP,
        "Int x = " + "if true then 1 else " * DEEP + "2",
        "Int x = " + "1 + " * DEEP + "1",
        "Int x = " + "floor(" * DEEP + "1" + ")" * DEEP,
        "Boolean x = " + "!" * DEEP + "true",
        "Int y = 1 Int x = y" + ".a" * DEEP,
        "Int y = 1 Int x = y" + ".a" * 60,
        "Int y = 1 Int x = y" + "[0]" * DEEP,
        "input { " + "Array[" * DEEP + "Int" + "]" * DEEP + " x }",
        "input { " + "Array[" * 60 + "Int" + "]" * 60 + " x }",
        "if (true) {\n" * DEEP + "Int x = 1" + "}\n" * DEEP,
        "if (true) {\n" * 150 + "Int x = 1" + "}\n" * 150,
        "scatter (i in [1]) {\n" * 150 + "Int x = 1" + "}\n" * 150,
        'String x = "' + "~{'" * 60 + "a" + "'}" * 60 + '"',
    ],
    ids=lambda body: body[:30],
)
def test_what_is_nested_too_deeply_is_refused_at_its_place(body):
    started = time.process_time()
    with pytest.raises(AuthorError) as caught:
        compile_wdl(workflow(body))
    assert time.process_time() - started < 10
    assert all(problem.position is not None for problem in caught.value.problems)


@pytest.mark.parametrize(
    "body",
    [
        "Int x = " + "(" * 1000 + "1" + ")" * 1000,
        "Int x = " + "1 + " * (nesting.DEEPEST_EXPRESSION - 2) + "1",
        "Int x = " + "floor(" * (nesting.DEEPEST_EXPRESSION - 1) + "1" + ")" * (nesting.DEEPEST_EXPRESSION - 1),
        "if (true) {\n" * nesting.DEEPEST_SECTION + "Int x = 1" + "}\n" * nesting.DEEPEST_SECTION,
        "input { " + "Array[" * 15 + "Int" + "]" * 15 + " x }",
        "Array[Array[Array[Array[Array[Array[Int]]]]]] x = [[[[[[1]]]]]]",
    ],
    ids=lambda body: body[:30],
)
def test_what_is_within_the_limits_compiles(body):
    assert compile_wdl(workflow(body)).name == "w"


def test_the_message_says_what_is_too_deep_and_where():
    with pytest.raises(AuthorError, match="more than 10 array, map and object literals within one another") as caught:
        compile_wdl(workflow("Array[Int] x = " + "[" * 40 + "1" + "]" * 40))
    assert caught.value.problems[0].position.line == 3


def test_what_is_before_a_dot_counts():
    with pytest.raises(AuthorError, match="literals within one another"):
        compile_wdl(workflow("Int x = " + "[" * 40 + "1" + "]" * 40 + ".left"))


@pytest.mark.parametrize("text", ["version 1.0", "# nothing\n", "\n\n", " \t\n# one\n# two\n"])
def test_an_empty_document_is_called_one(text):
    with pytest.raises(AuthorError) as caught:
        compile_wdl(text + "\n")
    assert "AttributeError" not in str(caught.value)


# --- imports


def reader(files: dict[str, str]):
    def read(location: str) -> str:
        try:
            return files[location.rpartition("/")[2]]
        except KeyError:
            raise FileNotFoundError(location) from None

    return read


def bomb(levels: int, body: str = "") -> dict[str, str]:
    """Documents of which each imports the next one twice."""
    files = {}
    for level in range(levels):
        twice = f'import "{level + 1}.wdl" as a\nimport "{level + 1}.wdl" as b\n'
        calls = "call a.w as one\ncall b.w as two" if body == "calls" else "Int x = 1"
        files[f"{level}.wdl"] = f"version 1.0\n{twice}workflow w {{\n{calls}\n}}\n"
    files[f"{levels}.wdl"] = "version 1.0\nworkflow w { Int x = 1 }\n"
    return files


def test_documents_that_import_each_other_twice_are_read_once_each():
    started = time.process_time()
    assert compile_wdl("0.wdl", read=reader(bomb(40))).name == "w"
    assert time.process_time() - started < 10


def test_subworkflows_that_double_are_refused():
    started = time.process_time()
    with pytest.raises(AuthorError, match="5000 declarations, calls and sections"):
        compile_wdl("0.wdl", read=reader(bomb(40, "calls")))
    assert time.process_time() - started < 30


def test_a_check_of_documents_that_import_each_other_twice_takes_no_longer():
    started = time.process_time()
    assert not [p for p in problems("0.wdl", read=reader(bomb(40))) if p.severity == "error"]
    assert time.process_time() - started < 10


def test_a_chain_of_imports_has_an_end():
    files = {f"{n}.wdl": f'version 1.0\nimport "{n + 1}.wdl" as x\nworkflow w {{ }}\n' for n in range(5000)}
    with pytest.raises(AuthorError, match="more than 64 documents that import one another"):
        compile_wdl("0.wdl", read=reader(files))


def test_so_many_imports_are_refused(monkeypatch):
    monkeypatch.setattr(load, "MOST_DOCUMENTS", 20)
    imports = "".join(f'import "d{n}.wdl" as d{n}\n' for n in range(50))
    files = {f"d{n}.wdl": "version 1.0\ntask t { command {} }\n" for n in range(50)}
    read = reader({"0.wdl": f"version 1.0\n{imports}workflow w {{ }}\n"} | files)
    with pytest.raises(AuthorError, match=r"more than 20 documents.*are imported") as caught:
        compile_wdl("0.wdl", read=read)
    assert caught.value.problems[0].position.line == 21


def test_so_much_text_is_refused(monkeypatch):
    monkeypatch.setattr(load, "LARGEST_SOURCE", 1000)
    imports = "".join(f'import "d{n}.wdl" as d{n}\n' for n in range(5))
    files = {f"d{n}.wdl": f"version 1.0\n#{'x' * 600}\ntask t {{ command {{}} }}\n" for n in range(5)}
    with pytest.raises(AuthorError, match="are imported"):
        compile_wdl("0.wdl", read=reader({"0.wdl": f"version 1.0\n{imports}workflow w {{ }}\n"} | files))


@pytest.mark.parametrize("target", ["/dev/zero", "fifo", "."])
def test_what_is_no_file_is_not_read(tmp_path, target):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "main.wdl").write_text(f'version 1.0\nimport "{target}" as x\nworkflow w {{ }}\n')
    with pytest.raises(AuthorError, match="cannot import"):
        compile_wdl(tmp_path / "main.wdl")


def test_a_huge_file_is_not_read(tmp_path):
    with (tmp_path / "main.wdl").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(AuthorError, match="larger than"):
        compile_wdl(tmp_path / "main.wdl")


def test_a_long_text_without_line_breaks_is_text():
    with pytest.raises(AuthorError):
        compile_wdl("version 1.0 workflow w {" + "x" * 5000)


def test_links_beside_the_source_do_not_lead_out_of_its_folder(tmp_path):
    (tmp_path / "secret").write_text("secret")
    source = tmp_path / "source"
    (source / "data").mkdir(parents=True)
    (source / "data" / "own").write_text("own")
    (source / "data" / "stolen").symlink_to(tmp_path / "secret")
    (source / "direct").symlink_to(tmp_path / "secret")
    (source / "main.wdl").write_text(
        'version 1.2\nworkflow w { Directory d = "data"  File f = "direct"  output { Int n = 1 } }\n'
    )
    assert list(compile_wdl(source / "main.wdl").files) == ["data/own"]


def structs(count: int, members: str = "{0} a {0} b") -> str:
    definitions = ["struct S0 { Int a File b }"]
    definitions += [f"struct S{n} {{ {members.format(f'S{n - 1}')} }}" for n in range(1, count)]
    return "\n".join(definitions) + "\n"


@pytest.mark.parametrize("members", ["{0} a {0} b", "Array[Pair[{0}, Map[String, {0}?]]] a"])
def test_structs_that_double_are_refused_before_they_are_checked(members):
    source = f"version 1.1\n{structs(40, members)}workflow w {{ input {{ S39? s }} }}\n"
    started = time.process_time()
    with pytest.raises(AuthorError, match="more than 2000 members") as caught:
        compile_wdl(source)
    assert time.process_time() - started < 5
    assert caught.value.problems[0].position.line > 5


def test_structs_that_double_from_document_to_document_are_refused(tmp_path):
    """Each document doubles the struct of the one before, which it has under another name."""
    (tmp_path / "d0.wdl").write_text("version 1.1\nstruct S0 { Int a Int b }\n")
    for n in range(1, 40):
        (tmp_path / f"d{n}.wdl").write_text(
            f'version 1.1\nimport "d{n - 1}.wdl" alias S{n - 1} as T{n}\nstruct S{n} {{ T{n} a T{n} b }}\n'
        )
    (tmp_path / "main.wdl").write_text('version 1.1\nimport "d39.wdl"\nworkflow w { input { S39? s } }\n')
    with pytest.raises(AuthorError, match="more than 2000 members") as caught:
        compile_wdl(tmp_path / "main.wdl")
    assert caught.value.problems[0].position.file.endswith(".wdl")


def test_structs_in_a_circle_are_an_error_of_their_own():
    source = "version 1.1\nstruct A { B b }\nstruct B { A a  A? c }\nworkflow w { input { A a } }\n"
    with pytest.raises(AuthorError, match="ircular"):
        compile_wdl(source)


def test_structs_of_many_members_compile():
    assert compile_wdl(f"version 1.1\n{structs(9)}workflow w {{ input {{ S8? s }} }}\n").inputs


def test_calls_with_very_many_inputs_together_are_refused_before_they_are_checked():
    inputs = " ".join(f"Int? a{n}" for n in range(1000))
    calls = " ".join(f"call t as t{n}" for n in range(1000))
    started = time.process_time()
    with pytest.raises(AuthorError, match="more than 50000 inputs and outputs of calls") as caught:
        compile_wdl(f"version 1.1\ntask t {{ input {{ {inputs} }} command <<< >>> }}\nworkflow w {{ {calls} }}\n")
    assert time.process_time() - started < 10
    assert caught.value.problems[0].position.line == 3


def test_subworkflows_that_double_their_inputs_are_refused(tmp_path):
    (tmp_path / "d0.wdl").write_text("version 1.1\ntask t { input { Int? a Int? b } command <<< >>> }\n")
    (tmp_path / "d1.wdl").write_text('version 1.1\nimport "d0.wdl" as d\nworkflow w { call d.t }\n')
    outputs = " ".join(f"Int o{n} = 1" for n in range(400))
    for n in range(2, 9):
        (tmp_path / f"d{n}.wdl").write_text(
            f'version 1.1\nimport "d{n - 1}.wdl" as d\n'
            f"workflow w {{ call d.w as a  call d.w as b  output {{ {outputs} }} }}\n"
        )
    with pytest.raises(AuthorError, match="more than 50000 inputs and outputs of calls"):
        compile_wdl(tmp_path / "d8.wdl")
    assert compile_wdl(tmp_path / "d4.wdl").calls


@pytest.mark.parametrize(
    ("number", "message"),
    [("9" * 5000, "thousands of digits"), (str(2**63 + 1), "64 bits"), ("1e999", "too large for a Float")],
)
def test_numbers_that_are_none_are_refused(number, message):
    with pytest.raises(AuthorError, match=message) as caught:
        compile_wdl(workflow(f"Float x = {number}"))
    assert "cannot be read" not in str(caught.value)
    assert compile_wdl(workflow(f"Int x = -{2**63}")).decls
