"""What the command's wrapper notes of memory and CPU time, in bash, and that nothing else is changed by it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from airflow_wdl_ecs.ecs.staging import run_script
from airflow_wdl_ecs.task import CallIdentity, TaskRequest
from airflow_wdl_ecs.usage import Usage, read_usage

MIB = 1024 * 1024
REQUEST = TaskRequest(CallIdentity("d", "r", "c"), 0, "image", "true\n", "", "s3://b/p/", measure=True)
PYTHON = sys.executable
OWN_PIDS = ("unshare", "--pid", "--fork", "--mount-proc")
BWRAP = [
    *("bwrap", "--unshare-pid", "--as-pid-1", "--die-with-parent", "--ro-bind", "/", "/"),
    *("--dev", "/dev", "--proc", "/proc", "--bind"),
]


def works(*command: str) -> bool:
    try:
        return subprocess.run([*command, "true"], capture_output=True, timeout=30, check=False).returncode == 0
    except OSError:
        return False


needs_own_pids = pytest.mark.skipif(not works(*OWN_PIDS), reason="no namespace of process ids can be made here")
needs_bwrap = pytest.mark.skipif(not works(*BWRAP, "/tmp", "/tmp"), reason="there is no bubblewrap that works here")


class Wrapped:
    """An attempt's folder, and its wrapper in it."""

    def __init__(self, folder: Path, command: str, **changes) -> None:
        self.folder = folder
        (folder / "work").mkdir(parents=True, exist_ok=True)
        request = replace(REQUEST, command=command, folder=str(folder), **changes)
        (folder / "command.sh").write_text(command)
        self.script = folder / "run.sh"
        self.script.write_text(run_script(request))

    def where(self, **changed: str) -> Wrapped:
        """The same with other paths of the kernel's files: ``proc="/nowhere"``, say."""
        text = self.script.read_text()
        for name, path in changed.items():
            old = {"proc": "/proc/", "groups": "/sys/fs/cgroup${path%/}", "old_groups": "/sys/fs/cgroup/memory"}[name]
            assert old in text
            text = text.replace(old, path)
        self.script.write_text(text)
        return self

    def run(self, *before: str, **more) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], **more.pop("environment", {})}
        return subprocess.run(
            [*before, "/bin/bash", str(self.script)],
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
            env=environment,
            **more,
        )

    @property
    def noted(self) -> str:
        return (self.folder / "usage").read_text()

    @property
    def usage(self) -> Usage:
        found = read_usage(self.noted.replace("\n", ";"))
        assert found is not None
        return found


@pytest.fixture
def wrapped(tmp_path):
    return lambda command, **changes: Wrapped(tmp_path / "an attempt's", command, **changes)


LOOKED = """
import re, time
began = time.monotonic()
while time.monotonic() - began < {most}:
    try:
        seen = [int(number) for number in re.findall(r"^(?:group|processes) ([0-9]+)$", open("../usage").read(), re.M)]
    except OSError:
        seen = []
    if max(seen, default=0) >= {mib} << 20:
        break
    time.sleep(0.05)
"""


def python(text: str, seen: int, most: float = 30) -> str:
    """A command that runs Python, and then waits until so many MiB were seen, or for so many seconds."""
    return f"{PYTHON} - <<'END'\n{text}\n{LOOKED.format(mib=seen, most=most)}\nEND"


def holding(mib: int, most: float = 30) -> str:
    """A command that holds so many MiB until they were seen."""
    return python(f"held = bytearray({mib} << 20)", mib, most)


def test_the_memory_of_a_process_is_seen(wrapped):
    made = wrapped(holding(200))
    assert made.run().returncode == 0
    assert made.usage.way == "processes"
    assert 200 <= made.usage.memory / MIB < 260


def test_the_memory_of_processes_is_added_up_also_of_those_in_sessions_of_their_own(wrapped):
    own = python("import os; os.setsid(); held = bytearray(60 << 20)", 120)
    made = wrapped(f"(\n{python('held = bytearray(60 << 20)', 120)}\n) & (\n{own}\n) & wait")
    assert made.run().returncode == 0
    assert 120 <= made.usage.memory / MIB < 200


def test_what_was_more_between_two_looks_is_known_of_a_process_that_is_still_there(wrapped):
    made = wrapped(python("held = bytearray(150 << 20)\ndel held\nimport gc; gc.collect()", 140))
    assert made.run().returncode == 0
    # To a few MiB: the kernel counts its files' pages with it, of which more may have come since.
    assert 140 <= made.usage.memory / MIB < 210


def test_files_that_are_mapped_are_not_counted(wrapped, tmp_path):
    """They can be dropped, and would make every command that reads large files look as if it needed all of them."""
    (tmp_path / "large").write_bytes(b"x" * (120 << 20))
    code = f"""import mmap
large = open("{tmp_path}/large", "rb")
mapped = mmap.mmap(large.fileno(), 0, prot=mmap.PROT_READ)
sum(mapped[at] for at in range(0, len(mapped), 4096))"""
    made = wrapped(python(code, 80, most=3))
    assert made.run().returncode == 0
    assert 0 < made.usage.memory / MIB < 80


def test_cpu_time_is_that_of_all_processes(wrapped):
    spin = f"{PYTHON} -c 'import time; [None for _ in iter(lambda: time.process_time() < 0.8, False)]'"
    made = wrapped(f"{spin} & {spin} & wait")
    began = time.monotonic()
    assert made.run().returncode == 0
    assert 1.6 <= made.usage.cpu < 2 * (time.monotonic() - began) + 0.5
    assert made.usage.cpu < 4, "and not that of the machine"


@pytest.mark.parametrize(
    ("command", "code", "out", "err"),
    [
        ("echo out; echo err >&2; exit 3", 3, "out\n", "err\n"),
        ("exec <&- >&- 2>&-; sleep 0.3; exit 4", 4, "", ""),
        ("sleep 0.3; kill -TERM $$", 143, "", ""),
        ("sleep 600 & sleep 0.3; exit 5", 5, "", ""),
        ("set -euo pipefail; sleep 0.3; false; echo never", 1, "", ""),
        ("trap '' TERM INT HUP; (exec 0<&- 1>&- 2>&-; sleep 0.3); exit 6", 6, "", ""),
        ("jobs; wait; echo ${!:-no} processes", 0, "no processes\n", ""),
        ("ulimit -v 400000; ulimit -n 20; sleep 0.3; exit 7", 7, "", ""),
    ],
)
def test_the_command_does_not_notice(wrapped, command, code, out, err):
    said = {}
    for measure in (False, True):
        made = wrapped(command, measure=measure)
        began = time.monotonic()
        done = made.run()
        assert time.monotonic() - began < 100
        said[measure] = (done.returncode, done.stdout, (made.folder / "exit_code").read_text())
        assert ((made.folder / "stdout").read_text(), (made.folder / "stderr").read_text()) == (out, err)
    assert said[True] == said[False] == (code, out, f"{code}\n")
    assert made.usage.cpu is not None


def test_a_killed_command_says_so_and_what_was_seen_is_kept(wrapped):
    made = wrapped(f"{holding(100)}\nkill -KILL $$")
    assert made.run().returncode == 137
    assert made.usage.memory >= 100 * MIB


def test_what_was_seen_is_kept_when_everything_is_killed(wrapped):
    """As where the container runs out of memory: nobody is left to write anything at the end."""
    made = wrapped(f"{holding(100)}\nsleep 60")
    process = subprocess.Popen(["/bin/bash", str(made.script)], start_new_session=True)
    until(lambda: (made.folder / "usage").exists() and "\n" in made.noted and made.usage.memory >= 100 * MIB)
    left = children_of(process, 2)
    process.kill()
    process.wait()
    end(left)
    assert made.usage.cpu is None


def test_nothing_is_left_behind(wrapped):
    made = wrapped("echo ready >started; sleep 60")
    process = subprocess.Popen(["/bin/bash", str(made.script)], start_new_session=True)
    until((made.folder / "work/started").exists)
    own = children_of(process, 2)
    assert len(own) >= 3, "the command, who tells, and who looks"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 143
    _, alive = psutil.wait_procs(own, timeout=20)
    assert alive == [] or all(one.status() == psutil.STATUS_ZOMBIE for one in alive)


def test_who_looks_ends_by_itself_if_its_shell_is_killed(wrapped):
    made = wrapped("sleep 60")
    process = subprocess.Popen(["/bin/bash", str(made.script)], start_new_session=True)
    until((made.folder / "usage").exists)
    every = children_of(process, 3)
    # Copies of the wrapper's shell: who tells waits for a word, as ever, and who looks asks whether it is still there.
    shells = [one for one in every if one.is_running() and one.cmdline()[-1:] == [str(made.script)]]
    process.kill()
    process.wait()
    until(lambda: sum(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in shells) == len(shells) - 1)
    end(every)
    assert len(shells) == 2


def test_nothing_is_measured_if_nobody_wants_it(wrapped):
    made = wrapped("sleep 0.3", measure=False)
    assert made.run().returncode == 0
    assert not (made.folder / "usage").exists()


def test_without_proc_there_is_cpu_time_alone(wrapped):
    made = wrapped("sleep 0.3; exit 3").where(proc="/nowhere/")
    done = made.run()
    assert (done.returncode, done.stderr) == (3, "")
    assert (made.usage.memory, made.usage.way) == (0, "")
    assert made.usage.cpu is not None


def test_nothing_but_bash_is_needed(wrapped, tmp_path):
    bare = tmp_path / "bin"
    bare.mkdir()
    (bare / "bash").symlink_to("/bin/bash")
    made = wrapped("until [[ -s ../usage ]]; do :; done; exit 7")
    done = made.run(environment={"PATH": str(bare), "LC_ALL": "de_DE.UTF-8", "TMPDIR": "/nowhere"})
    assert (done.returncode, done.stdout) == (7, "")
    assert made.usage.memory > 0


def test_a_folder_that_cannot_be_written_does_not_fail_the_command(wrapped):
    made = wrapped("mkdir ../usage; sleep 0.3; exit 3")
    done = made.run()
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_any_user_will_do(wrapped, tmp_path):
    made = wrapped("until [[ -s ../usage ]]; do sleep 0.1; done; exit 3")
    for folder in (made.folder, made.folder / "work"):
        folder.chmod(0o777)
    for folder in tmp_path.parents:
        if folder.stat().st_uid == 0 and folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    tmp_path.chmod(0o755)
    assert made.run(user=65534, group=65534, extra_groups=[]).returncode == 3
    assert made.usage.memory > 0


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(OWN_PIDS, marks=needs_own_pids, id="own-pids"),
        pytest.param(BWRAP, marks=needs_bwrap, id="bwrap-read-only"),
    ],
)
def test_the_first_process_of_a_namespace_in_a_group_of_others_counts_processes(wrapped, before):
    made = wrapped(holding(100))
    words = (*before, str(made.folder), str(made.folder)) if before is BWRAP else before
    assert made.run(*words).returncode == 0
    assert made.usage.way == "processes"
    assert 100 <= made.usage.memory / MIB < 160


# The container's own control group, as the kernel would show it.

V2 = {
    "cgroup.procs": "1\n7\n",
    "memory.stat": "anon 50000000\nfile 900000000\nkernel 1000\nshmem 7000000\nfile_mapped 5000\n",
    "memory.current": "1",
    "memory.peak": "987654321\n",
    "cpu.stat": "usage_usec 12345678\nuser_usec 1\n",
}
V1 = {
    "cgroup.procs": "1\n7\n",
    "memory.stat": "cache 900000000\nrss 50000000\nrss_huge 0\nshmem 7000000\ntotal_rss 99\n",
    "memory.usage_in_bytes": "1",
    "memory.max_usage_in_bytes": "987654321\n",
    "../cpuacct/cpuacct.usage": "12345678000\n",
}
ON_ECS = {"ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/x"}
NOTHING: dict[str, str] = {}


@pytest.fixture
def in_group(wrapped, tmp_path):
    """A wrapper that is the first process of its namespace, and sees such files as its group."""

    def in_group(files: dict[str, str], listed: str, environment: dict[str, str]) -> Wrapped:
        group = tmp_path / "groups/memory"
        for name, text in files.items():
            (group / name).parent.mkdir(parents=True, exist_ok=True)
            (group / "../cpuacct").resolve().mkdir(parents=True, exist_ok=True)
            (group / name).write_text(text)
        (group / "listed").write_text(listed)
        made = wrapped("until [[ -s ../usage ]]; do sleep 0.1; done; exit 3").where(
            groups=str(group), old_groups=str(group)
        )
        made.script.write_text(made.script.read_text().replace("/proc/self/cgroup", str(group / "listed")))
        assert made.run(*OWN_PIDS, environment=environment).returncode == 3
        return made

    return in_group


@needs_own_pids
@pytest.mark.parametrize(
    ("files", "listed", "environment"),
    [
        (V2, "0::/\n", NOTHING),
        ({**V2, "cgroup.procs": "7\n1\n"}, "0::/ecs/x\n", ON_ECS),
        (V1, "9:cpu:/x\n4:memory:/ecs/x/y\n0::/\n", ON_ECS),
    ],
)
def test_a_containers_own_group_is_measured_without_the_pages_of_files(in_group, files, listed, environment):
    usage = in_group(files, listed, environment).usage
    assert usage == Usage(57_000_000, "group", 987654321, pytest.approx(12.345678))


@needs_own_pids
@pytest.mark.parametrize("missing", ["memory.peak", "cpu.stat"])
def test_what_an_older_kernel_does_not_say_is_left_out(in_group, missing):
    made = in_group({name: text for name, text in V2.items() if name != missing}, "0::/\n", NOTHING)
    assert (made.usage.memory, made.usage.way) == (57_000_000, "group")
    assert (made.usage.with_cache == 0) == (missing == "memory.peak")
    assert made.usage.cpu < 5 if missing == "cpu.stat" else made.usage.cpu > 12


@needs_own_pids
@pytest.mark.parametrize(
    ("files", "listed", "environment"),
    [
        # Processes outside of the container are in it.
        ({**V2, "cgroup.procs": "1\n0\n0\n"}, "0::/\n", ON_ECS),
        # The wrapper is not in it.
        ({**V2, "cgroup.procs": "7\n"}, "0::/\n", ON_ECS),
        # The machine's root has no such files.
        ({name: text for name, text in V2.items() if name != "memory.current"}, "0::/\n", ON_ECS),
        # Of the first version nobody can tell, unless ECS says that it has started the container.
        (V1, "4:memory:/ecs/x/y\n", NOTHING),
        (V2, "rubbish\n", ON_ECS),
    ],
)
def test_a_group_that_is_not_the_containers_own_is_left_alone(in_group, files, listed, environment):
    usage = in_group(files, listed, environment).usage
    assert (usage.way, usage.with_cache) == ("processes", 0)
    assert usage.memory < 50_000_000
    assert usage.cpu is not None
    assert usage.cpu < 5


def test_a_group_is_no_containers_where_the_wrapper_is_not_its_first_process(wrapped, tmp_path):
    group = tmp_path / "group"
    group.mkdir()
    for name, text in V2.items():
        (group / name).write_text(text)
    (group / "listed").write_text("0::/\n")
    made = wrapped("until [[ -s ../usage ]]; do sleep 0.1; done").where(groups=str(group))
    made.script.write_text(made.script.read_text().replace("/proc/self/cgroup", str(group / "listed")))
    assert made.run().returncode == 0
    assert made.usage.way == "processes"


def until(true) -> None:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < 200
        time.sleep(0.02)


def children_of(process: subprocess.Popen, least: int) -> list[psutil.Process]:
    """All processes below one, when there are so many."""
    found: list[psutil.Process] = []

    def enough() -> bool:
        found[:] = psutil.Process(process.pid).children(recursive=True)
        return len(found) >= least

    until(enough)
    return found


def end(processes: list[psutil.Process]) -> None:
    for one in processes:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
