"""Where a task's files are."""

from __future__ import annotations

import time

import pytest
from memory_files import MemoryFiles

from airflow_wdl_ecs.errors import EvaluationError
from airflow_wdl_ecs.task import OutputFile, TaskResult
from airflow_wdl_ecs.wdl.localization import OutputLocations, TaskLocations


def outputs(*paths: str, directories=()) -> OutputLocations:
    result = TaskResult(0, tuple(OutputFile(path, 1) for path in paths), directories)
    return OutputLocations(TaskLocations("/f/", MemoryFiles()), result, "s3://b/p")


class TestInputs:
    def test_a_path_leads_back_to_its_uri(self):
        locations = TaskLocations("/f", MemoryFiles())
        path = locations.localize("s3://b/x/a.txt", directory=False)
        assert locations.uri(path, directory=False) == "s3://b/x/a.txt"
        assert locations.uri(f"/f/work/..{path.removeprefix('/f')}", directory=False) == "s3://b/x/a.txt"

    def test_the_same_file_twice_is_staged_once(self):
        locations = TaskLocations("/f", MemoryFiles())
        paths = {locations.localize("s3://b/x/d" + slash, directory=True) for slash in ("", "/")}
        assert len(paths) == 1
        assert len(locations.staged) == 1

    def test_what_is_in_a_staged_directory_is_there(self):
        locations = TaskLocations("/f", MemoryFiles({"s3://b/x/d/e/f.txt": "1"}))
        outer = locations.localize("s3://b/x/d/", directory=True)
        file = locations.localize("s3://b/x/d/e/f.txt", directory=False)
        assert locations.localize("s3://b/x/d/e", directory=True) == f"{outer}/e"
        assert file == f"{outer}/e/f.txt"
        assert len(locations.staged) == 1
        assert locations.uri(file, directory=False) == "s3://b/x/d/e/f.txt"
        locations.localize("s3://b/x/dd", directory=False)
        assert len(locations.staged) == 2

    def test_one_name_cannot_be_a_file_and_a_directory(self):
        locations = TaskLocations("/f", MemoryFiles())
        locations.localize("s3://b/x/d", directory=False)
        with pytest.raises(EvaluationError, match="both a file and a directory"):
            locations.localize("s3://b/x/d/", directory=True)

    def test_a_file_is_not_read_as_a_directory(self):
        locations = TaskLocations("/f", MemoryFiles())
        path = locations.localize("s3://b/x/d", directory=False)
        with pytest.raises(EvaluationError, match="is a file"):
            locations.uri(path, directory=True)

    def test_a_copy_stages_nothing_here(self):
        locations = TaskLocations("/f", MemoryFiles())
        locations.copy().localize("s3://b/x/d", directory=False)
        assert locations.staged == ()

    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("x", "x"),
            ("./a//b/", "a/b"),
            ("/f/work/x", "x"),
            ("/f/work", "."),
            (".", "."),
            ("/f/workx", None),
            ("../x", None),
            ("/f/inputs/x", None),
            ("s3://b/x", None),
        ],
    )
    def test_what_is_in_the_work_directory(self, path, expected):
        assert TaskLocations("/f", MemoryFiles()).in_work(path) == expected


class TestOutputs:
    def test_files_and_the_directories_around_them(self):
        found = outputs("a/b/c.txt", directories=("empty/",))
        assert found.locate("a/b/c.txt", directory=False) == "s3://b/p/work/a/b/c.txt"
        assert found.locate("a", directory=True) == "s3://b/p/work/a/"
        assert found.locate("empty", directory=True) == "s3://b/p/work/empty/"
        assert found.locate(".", directory=True) == "s3://b/p/work/"
        assert found.locate("a/b/d.txt", directory=False) is None
        assert found.locate("/f/stderr", directory=False) == "s3://b/p/stderr"

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("*", ["a.txt", "b.TXT"]),
            ("*.txt", ["a.txt"]),
            ("./?.txt", ["a.txt"]),
            ("[!b].*", ["a.txt"]),
            ("[^b].*", ["a.txt"]),
            ("d/*", ["d/a.txt"]),
            ("*/*.txt", ["d/a.txt"]),
            (".*", [".hidden"]),
            ("a+.txt", []),
            ("*a*t*t", ["a.txt"]),
            ("a**t", ["a.txt"]),
            ("*t*[xy]*t", ["a.txt"]),
            ("*.txt*.txt", []),
        ],
    )
    def test_a_pattern_that_bash_was_not_asked(self, pattern, expected):
        found = outputs("b.TXT", "a.txt", ".hidden", "d/a.txt", "d/.b.txt")
        assert found.expand(pattern) == [f"/f/work/{path}" for path in expected]

    @pytest.mark.parametrize("pattern", ["*a" * 60 + "b", "[a-b]*" * 60 + "c", "*" * 4000 + "b", "*?" * 120 + "b"])
    def test_a_pattern_of_many_stars_takes_no_time(self, pattern):
        names = [f"{'a' * 200}{n}" for n in range(20)]
        started = time.process_time()
        assert outputs(*names).expand(pattern) == []
        assert time.process_time() - started < 5

    @pytest.mark.parametrize("pattern", ["[z-a]", "*" * 5000])
    def test_what_is_no_pattern(self, pattern):
        with pytest.raises(EvaluationError, match="pattern"):
            outputs("a").expand(pattern)
