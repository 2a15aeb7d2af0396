"""What every workflow needs: files in and out, a scatter, a chain, and a command that is too long for a RunTask."""

from __future__ import annotations

import pytest

from .costs import planned
from .target import Target

pytestmark = [pytest.mark.contract, pytest.mark.local, pytest.mark.timeout(1200)]

SPINE = """
version 1.1
task shout {
  input { File text }
  command <<<
    tr a-z A-Z < '~{text}' > 'loud text.txt'
  >>>
  output { File loud = "loud text.txt" }
}
task greet {
  input { File loud  String name }
  command <<<
    mkdir greetings
    echo "$(cat '~{loud}') ~{name}" > 'greetings/~{name}.txt'
    echo 'to ~{name}' >&2
  >>>
  output {
    Array[File] greetings = glob("greetings/*.txt")
    String said = read_string(stderr())
  }
}
task count {
  input { Array[File] files }
  command <<<
    cat ~{sep(" ", files)} | tee all.txt | wc -l
  >>>
  output { Int lines = read_int(stdout())  File all = "all.txt" }
}
workflow spine {
  input { File text  Array[String] names }
  call shout { input: text }
  scatter (name in names) { call greet { input: loud = shout.loud, name } }
  call count { input: files = flatten(greet.greetings) }
  output {
    File loud = shout.loud
    Array[String] said = greet.said
    Int lines = count.lines
    File all = count.all
  }
}
"""


@planned(5)
async def test_files_go_in_and_out_through_a_chain_and_a_scatter(target: Target) -> None:
    names = ["Ada", "Grace", "Zoë"]
    text = target.put("a text.txt", b"hello")
    found = await target.run(SPINE, {"text": text, "names": names})
    assert target.read(found["loud"]) == b"HELLO"
    assert found["said"] == [f"to {name}" for name in names]
    assert found["lines"] == len(names)
    assert target.read(found["all"]).decode().splitlines() == [f"HELLO {name}" for name in names]


LONG = """
version 1.1
task long {
  command <<<
    # FILLER
    printf '%s' "$(wc -c < "$0")"
  >>>
  output { String size = read_string(stdout()) }
}
"""


@planned(1)
async def test_a_command_that_is_too_long_for_the_overrides(target: Target) -> None:
    found = await target.run(LONG.replace("FILLER", "x" * 20_000))
    assert int(found["size"]) > 20_000
    request = str(target.started[-1].request["overrides"])
    assert len(request) < 8192
    assert "s3://" in request
