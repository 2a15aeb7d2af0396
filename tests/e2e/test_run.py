"""``airflow-wdl-ecs run`` end to end: the real Airflow, the embedded ECS and S3, real commands."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from .conftest import LIMIT, CommandLine

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

HELLO = """
version 1.1
task greet {
  input { String name }
  command <<< echo "Hello, ~{name}!" >>>
  output { String message = read_string(stdout()) }
}
workflow hello {
  input { String name }
  call greet { input: name }
  output { String message = greet.message }
}
"""

COUNT_LINES = """
version 1.0
task count {
  input { File text }
  command <<< wc -l < '~{text}' >>>
  output { Int lines = read_int(stdout()) }
}
"""

SLEEP = """
task sleep { command { sleep 20 } }
workflow main { call sleep }
"""


def test_one_call(cli: CommandLine) -> None:
    found = cli.run_wdl(HELLO, "name=World").json
    assert found["outputs"] == {"hello.message": "Hello, World!"}
    folder = Path(found["dir"])
    assert folder.parent == cli.folder
    assert folder.name.endswith("_hello")
    assert json.loads((folder / "outputs.json").read_text()) == found["outputs"]
    assert json.loads((folder / "inputs.json").read_text()) == {"hello.name": "World"}
    assert found["dag_id"].startswith("hello-")
    assert found["run_id"]


def test_standard_output_is_one_json_object_and_progress_goes_to_standard_error(cli: CommandLine) -> None:
    result = cli.run_wdl(HELLO, "name=World")
    assert set(json.loads(result.out)) == {"outputs", "dir", "dag_id", "run_id"}
    assert "call greet: running" in result.err
    assert "call greet: done" in result.err


def test_inputs_by_json_with_the_workflows_name_and_outputs_to_a_file(cli: CommandLine) -> None:
    cli.write('{"hello.name": "file"}', "inputs.json")
    result = cli.run_wdl(HELLO, "-i", "inputs.json", "-o", "out.json", "-d", "here/.")
    assert result.status == 0
    found = json.loads((cli.folder / "out.json").read_text())
    assert found == json.loads(result.out)
    assert found["outputs"] == {"hello.message": "Hello, file!"}
    assert found["dir"] == str(cli.folder / "here")
    literal = cli("run", "workflow.wdl", "-i", '{"hello.name": "literal"}')
    assert literal.outputs == {"hello.message": "Hello, literal!"}
    piped = cli("run", "workflow.wdl", "-i", "-", "name=over", stdin='{"name": "pipe"}')
    assert piped.outputs == {"hello.message": "Hello, over!"}


CHAIN = """
version 1.0
task make { command <<< head -c 3000 /dev/zero > made >>> output { File made = "made" } }
task use { input { File made }  command <<< wc -c < '~{made}' > size >>> output { File size = "size" } }
workflow chain { call make  call use { input: made = make.made }  output { File size = use.size } }
"""


def test_a_run_is_cleaned_once_it_has_ended(cli: CommandLine) -> None:
    found = cli.run_wdl(CHAIN).json
    name = f"{found['dag_id']}/{found['run_id']}"
    shown = cli("clean", name, "--dry-run")
    assert (shown.status, shown.out) == (0, "make  1 file, 2.9 KiB\n")
    done = cli("clean", name)
    assert done.status == 0
    assert "1 file, 2.9 KiB deleted; 1 file" in done.err
    assert cli("clean", name).err.startswith("0 files, 0 bytes deleted; 1 file")
    assert cli("report", name).status == 0


PARALLEL = """
version 1.0
task step {
  input { Int seconds  String? after }
  command <<< date +%s.%N; sleep ~{seconds}; date +%s.%N >>>
  output { Array[Float] times = read_lines(stdout()) }
}
task join {
  input { Array[Array[Float]] times }
  command <<< wc -l < ~{write_tsv(times)} >>>
  output { Int lines = read_int(stdout()) }
}
workflow parallel {
  call step as one { input: seconds = 8 }
  call step as two { input: seconds = 8 }
  call join { input: times = [one.times, two.times] }
  output { Array[Float] one_times = one.times  Array[Float] two_times = two.times  Int lines = join.lines }
}
"""


def test_independent_calls_run_at_the_same_time(cli: CommandLine) -> None:
    found = cli.run_wdl(PARALLEL).outputs
    (left_start, left_end), (right_start, right_end) = found["parallel.one_times"], found["parallel.two_times"]
    assert max(left_start, right_start) < min(left_end, right_end)
    assert found["parallel.lines"] == 2


FAILING = """
version 1.1
task fragile {
  input { Int i }
  command <<<
    echo "shard ~{i} complains" >&2
    [ ~{i} != 1 ] || exit 3
  >>>
  output { Int done = i }
}
workflow failing {
  scatter (i in range(3)) { call fragile { input: i } }
  output { Array[Int] done = fragile.done }
}
"""


def test_a_failing_command_is_named_with_its_shard_exit_code_and_stderr(cli: CommandLine) -> None:
    result = cli.run_wdl(FAILING, "-o", "out.json")
    assert result.status == 1
    for said in ("fragile", "[1]", "exit code 3", "shard 1 complains"):
        assert said in result.err
    assert "shard 0 complains" not in result.err
    assert "Traceback" not in result.err
    found = json.loads((cli.folder / "out.json").read_text())
    assert found["error"] == "CallError"
    assert "exit code 3" in found["message"]


def test_a_bad_source_is_refused_with_its_position_before_anything_runs(cli: CommandLine) -> None:
    result = cli.run_wdl(HELLO.replace("greet.message", "greet.massage"), "name=x")
    assert (result.status, result.out) == (2, "")
    assert "workflow.wdl:11:" in result.err
    assert not list(cli.folder.glob("*_hello"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], ["missing input", "name", "missing input", "count"]),
        (["name=x", "count=many"], ["count", "many"]),
        (["nam=x", "count=1"], ["nam", "did you mean name", "missing input name"]),
        (["name=x", "count=1", "file=/no/such/file"], ["file", "/no/such/file"]),
    ],
)
def test_wrong_inputs_are_refused_by_name(cli: CommandLine, words: list[str], said: list[str]) -> None:
    source = "version 1.0\nworkflow wrong { input { String name Int count File? file } output { String n = name } }"
    result = cli.run_wdl(source, *words)
    assert (result.status, result.out) == (2, "")
    for text in said:
        assert text in result.err


FILES = """
version 1.2
task number {
  input { Array[File] texts  Directory more }
  command <<<
    mkdir -p found/inner
    cat ~{sep(" ", texts)} ~{more}/* | nl > found/numbered.txt
    for file in ~{sep(" ", texts)}; do dirname "$file" >> dirs.txt; done
    cp found/numbered.txt found/inner/copy.txt
    cp found/numbered.txt 'a name with blanks.txt'
  >>>
  output {
    File numbered = "found/numbered.txt"
    Directory found = "found"
    Array[File] several = ["found/numbered.txt", "a name with blanks.txt"]
    Int folders = length(read_lines("dirs.txt"))
  }
}
workflow files {
  input { Array[File] texts  Directory more }
  call number { input: texts, more }
  output {
    File numbered = number.numbered
    Directory found = number.found
    Array[File] several = number.several
  }
}
"""


def test_files_and_folders_go_in_and_come_out(cli: CommandLine) -> None:
    for folder in ("a", "b", "more"):
        (cli.folder / folder).mkdir()
    cli.write("one\n", "a/text.txt")
    cli.write("two\n", "b/text.txt")
    cli.write("three\n", "more/third.txt")
    result = cli.run_wdl(FILES, "texts=a/text.txt", f"texts={cli.folder}/b/text.txt", "more=more")
    found = result.outputs
    lines = [line.split() for line in Path(found["files.numbered"]).read_text().splitlines()]
    assert lines == [["1", "one"], ["2", "two"], ["3", "three"]]
    assert Path(found["files.numbered"]).is_relative_to(result.json["dir"])
    folder = Path(found["files.found"])
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.txt")) == [
        "inner/copy.txt",
        "numbered.txt",
    ]
    assert [Path(path).name for path in found["files.several"]] == ["numbered.txt", "a name with blanks.txt"]
    assert all(Path(path).is_file() for path in found["files.several"])


COPY = """
version 1.0
task copy {
  input { File f }
  command <<< cat ~{f} >>>
  output { String s = read_string(stdout()) }
}
"""


def test_a_changed_file_is_read_anew(cli: CommandLine) -> None:
    cli.write("old", "f.txt")
    assert cli.run_wdl(COPY, "f=f.txt").outputs == {"copy.s": "old"}
    cli.write("new text", "f.txt")
    assert cli("run", "workflow.wdl", "f=f.txt").outputs == {"copy.s": "new text"}


def test_arrays_by_repeating(cli: CommandLine) -> None:
    source = (
        "version 1.0\nworkflow arrays { input { Array[Int]+ xs Array[String] ys = [] } "
        "output { Array[Int] x = xs Array[String] y = ys } }"
    )
    found = cli.run_wdl(source, "xs=1", "arrays.xs=2", "ys=a", "--dir", "made", "xs=3").outputs
    assert found == {"arrays.x": [1, 2, 3], "arrays.y": ["a"]}


def test_one_task_of_several(cli: CommandLine) -> None:
    source = HELLO.partition("workflow hello")[0] + "task other { command {} }"
    assert cli.run_wdl(source, "--task", "greet", "name=task").outputs == {"greet.message": "Hello, task!"}


def test_draft_2(cli: CommandLine) -> None:
    began = time.monotonic()
    assert cli.run_wdl(SLEEP).outputs == {}
    assert time.monotonic() - began >= 20


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_stops_the_ecs_tasks(cli: CommandLine, number: int) -> None:
    seconds = f"4{number}.{os.getpid()}"
    cli.write(SLEEP.replace("sleep 20", f"sleep {seconds}"))
    running = cli.start("run", "workflow.wdl")
    await_sleep(seconds, True)
    running.send_signal(number)
    _, err = running.communicate(timeout=LIMIT)
    assert running.returncode == 130
    assert "Traceback" not in err
    assert not sleeps(seconds)
    assert "active run" not in cli("local", "status").out


def test_a_client_that_is_killed_takes_its_run_with_it(cli: CommandLine) -> None:
    seconds = f"47.{os.getpid()}"
    cli.write(SLEEP.replace("sleep 20", f"sleep {seconds}"))
    running = cli.start("run", "workflow.wdl")
    await_sleep(seconds, True)
    running.kill()
    running.communicate()
    await_sleep(seconds, False)


def test_two_runs_at_once(cli: CommandLine) -> None:
    cli.write(HELLO)
    started = [cli.start("run", "workflow.wdl", f"name={name}") for name in ("left", "right")]
    found = []
    for process in started:
        out, err = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, err
        found.append(json.loads(out))
    assert [each["outputs"]["hello.message"] for each in found] == ["Hello, left!", "Hello, right!"]
    assert found[0]["dir"] != found[1]["dir"]
    assert found[0]["dag_id"] == found[1]["dag_id"]


@pytest.mark.parametrize("component", ["triggerer", "scheduler", "control", "execution-api", "aws"])
def test_a_component_that_is_killed_is_started_again(cli: CommandLine, component: str) -> None:
    cli("local", "start")
    before = cli.processes()[component]
    os.kill(before, signal.SIGKILL)
    assert cli.run_wdl(HELLO, "name=again").outputs == {"hello.message": "Hello, again!"}
    assert cli.processes()[component] != before


def test_the_embedded_aws_is_started_again_with_its_files(cli: CommandLine) -> None:
    cli.write("kept", "f.txt")
    assert cli.run_wdl(COPY, "f=f.txt").outputs == {"copy.s": "kept"}
    server = json.loads((cli.home / "aws" / "aws.json").read_text())["pid"]
    os.kill(server, signal.SIGKILL)
    assert cli("run", "workflow.wdl", "f=f.txt").outputs == {"copy.s": "kept"}
    assert json.loads((cli.home / "aws" / "aws.json").read_text())["pid"] != server


def test_a_run_survives_the_kill_of_the_triggerer_and_of_the_control(cli: CommandLine) -> None:
    seconds = f"15.{os.getpid()}"
    cli.write(SLEEP.replace("sleep 20", f"sleep {seconds}"))
    running = cli.start("run", "workflow.wdl")
    await_sleep(seconds, True)
    for component in ("control", "triggerer"):
        os.kill(cli.processes()[component], signal.SIGKILL)
    out, err = running.communicate(timeout=LIMIT)
    assert running.returncode == 0, err
    assert json.loads(out)["outputs"] == {}


def test_a_supervisor_that_is_killed_is_replaced_and_its_run_goes_on(cli: CommandLine) -> None:
    seconds = f"25.{os.getpid()}"
    cli.write(SLEEP.replace("sleep 20", f"sleep {seconds}"))
    running = cli.start("run", "workflow.wdl")
    await_sleep(seconds, True)
    os.kill(json.loads((cli.home / "service.json").read_text())["pid"], signal.SIGKILL)
    out, err = running.communicate(timeout=LIMIT)
    assert running.returncode == 0, err
    assert json.loads(out)["outputs"] == {}
    assert "connecting again" in err


def test_a_service_of_other_code_is_replaced(cli: CommandLine) -> None:
    cli("local", "start")
    endpoint = cli.home / "service.json"
    known = json.loads(endpoint.read_text())
    endpoint.write_text(json.dumps({**known, "version": "older"}))
    assert cli.run_wdl(HELLO, "name=new").outputs == {"hello.message": "Hello, new!"}
    assert json.loads(endpoint.read_text())["pid"] != known["pid"]


def test_runs_that_find_no_service_start_one_together_and_it_ends_when_idle(tmp_path: Path) -> None:
    command = CommandLine(tmp_path / "home", tmp_path, {"AIRFLOW_WDL_ECS_IDLE_MINUTES": "0.05"})
    command.write(HELLO)
    started = [command.start("run", "workflow.wdl", f"name={name}") for name in ("one", "two")]
    for process in started:
        _, err = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, err
    log = (tmp_path / "home/logs/service.log").read_text()
    assert log.count("scheduler: process") == 1
    deadline = time.monotonic() + LIMIT
    while [p for p in psutil.process_iter() if str(command.home) in " ".join(_arguments(p))]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert not (command.home / "processes.json").exists()
    assert "service:    not running" in command("local", "status").out


def test_status_logs_and_wrong_token(cli: CommandLine) -> None:
    cli("local", "start")
    status = cli("local", "status")
    assert "scheduler (" in status.out
    assert ", since 20" in status.out
    assert re.search(r"^containers: commands run .+ images", status.out, re.MULTILINE)
    told = [line.partition("=") for line in cli("local", "env").out.splitlines()]
    aws = json.loads((cli.home / "aws" / "aws.json").read_text())
    assert ("export AWS_ENDPOINT_URL", "=", aws["url"]) in told
    assert ("export AWS_ACCESS_KEY_ID", "=", aws["access_key"]) in told
    assert str(cli.home) in status.out
    assert "scheduler" in cli("local", "logs", "service").out
    unknown = cli("local", "logs", "nonesuch")
    assert unknown.status == 2
    assert "triggerer" in unknown.err
    assert cli("local", "status", "more").status == cli("local", "logs", "one", "two").status == 2
    assert "service:    not running" in cli("local", "status", "--standalone").out
    absent = cli("local", "upload", "--standalone", "workflow.wdl")
    assert absent.status == 2
    assert "airflow-wdl-ecs standalone" in absent.err


def test_files_are_put_into_the_embedded_s3_by_hand(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "some reads.txt").write_text("one\ntwo\n")
    (tmp_path / "folder").mkdir()
    uploaded = cli("local", "upload", str(tmp_path / "folder"), str(tmp_path / "some reads.txt"))
    folder, file = uploaded.out.splitlines()
    assert folder.endswith("/folder/")
    assert file.endswith("/some reads.txt")
    assert cli.run_wdl(COUNT_LINES, f"text={file}").outputs == {"count.lines": 2}
    assert cli("local", "upload").status == 2
    missing = cli("local", "upload", str(tmp_path / "nonesuch"))
    assert (missing.status, "nonesuch" in missing.err) == (2, True)
    endpoint = json.loads((cli.home / "service.json").read_text())
    assert (cli.home / "service.json").stat().st_mode & 0o777 == 0o600
    assert cli.home.stat().st_mode & 0o777 == 0o700
    answer = subprocess.run(
        ["bash", "-c", f'exec 3<>/dev/tcp/127.0.0.1/{endpoint["port"]}; echo \'{{"request": "end"}}\' >&3; cat <&3'],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "wrong token" in answer.stdout
    assert cli.processes()


def await_sleep(seconds: str, wanted: bool) -> None:
    """Wait until a ``sleep`` with this argument runs, or no longer does."""
    deadline = time.monotonic() + LIMIT
    while sleeps(seconds) != wanted:
        assert time.monotonic() < deadline, f"sleep {seconds} {'does not start' if wanted else 'still runs'}"
        time.sleep(0.2)


def sleeps(seconds: str) -> bool:
    """Whether a ``sleep`` with this argument runs."""
    return any(_arguments(process)[:2] == ["sleep", seconds] for process in psutil.process_iter())


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
