"""What `problems` says of a source: errors first, and warnings that are flagged as such."""

from __future__ import annotations

from pathlib import Path

from airflow_wdl_ecs.wdl.check import problems

GOOD = """version 1.1
workflow w {
  input { Int n }
  call t { input: n }
  output { Int m = t.m }
}
task t {
  input { Int n }
  command <<< echo ~{n} >>>
  output { Int m = read_int(stdout()) }
  runtime { container: "debian" }
}
"""


def test_nothing_to_say() -> None:
    assert problems(GOOD) == []


def test_a_warning_has_its_name_its_place_and_can_be_suppressed() -> None:
    doubtful = GOOD.replace("  call t", "  Int unused = 3\n  call t")
    (found,) = problems(doubtful)
    assert found.severity == "warning"
    assert found.message == "nothing references Int unused (UnusedDeclaration)"
    assert str(found) == (
        "<text>:4:3: warning: nothing references Int unused (UnusedDeclaration)\n  Int unused = 3\n  ^"
    )
    assert problems(doubtful.replace("= 3", "= 3  # !UnusedDeclaration")) == []


def test_errors_stop_warnings() -> None:
    found = problems(GOOD.replace("  call t", "  Int unused = missing\n  call t"))
    assert [(each.severity, each.message) for each in found] == [("error", "Unknown identifier missing")]


def test_what_cannot_be_compiled_is_an_error_beside_the_warnings() -> None:
    found = problems("version development\nworkflow w { Int unused = 1  call? t }\ntask t { command <<< >>> }\n")
    assert [each.severity for each in found[:2]] == ["error", "warning"]
    assert found[0].message.startswith("call? (a call that may fail) is not supported")


def test_a_library_of_tasks_is_complete() -> None:
    task = '{ command <<< true >>> runtime { container: "d" } }'
    assert problems(f"version 1.1\ntask a {task}\ntask b {task}\n") == []
    assert problems("version 1.1\nstruct S { Int n }\n") == []


def test_a_document_that_is_imported_twice_is_warned_of_once(tmp_path: Path) -> None:
    (tmp_path / "lib.wdl").write_text(GOOD.replace("  call t", "  Int unused = 3\n  call t"))
    for name in ("left", "right"):
        (tmp_path / f"{name}.wdl").write_text(
            'version 1.1\nimport "lib.wdl" as lib\n'
            "workflow v { input { Int n } call lib.w { input: n } output { Int m = w.m } }\n"
        )
    (tmp_path / "main.wdl").write_text(
        'version 1.1\nimport "left.wdl" as one\nimport "right.wdl" as two\nworkflow main { input { Int n }\n'
        "call one.v { input: n }  call two.v as v2 { input: n }  output { Int m = v.m + v2.m } }\n"
    )
    found = problems(tmp_path / "main.wdl")
    assert [each.message for each in found] == ["nothing references Int unused (UnusedDeclaration)"]
