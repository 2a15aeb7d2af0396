"""Which inputs one process fetches, and by which patterns."""

from __future__ import annotations

import fnmatch
import itertools

from hypothesis import given
from hypothesis import strategies as st

from airflow_wdl_ecs.ecs.fetching import MANY, folders, patterns
from airflow_wdl_ecs.task import StageIn


def staged(*uris: str) -> list[StageIn]:
    """Inputs as they are localized: those of one folder beside each other."""
    return [StageIn(uri, f"/wdl/x/inputs/{hash(uri.rpartition('/')[0])}/{uri.rpartition('/')[2]}") for uri in uris]


def told(inputs: list[StageIn]) -> tuple[dict[str, list[str]], list[str]]:
    found, alone = folders(inputs)
    return {folder.uri: folder.names() for folder in found}, [item.uri for item in alone]


def matched(names: list[str], among: list[str]) -> set[str]:
    found = patterns(names)
    return {name for name in among if any(fnmatch.fnmatch(name, pattern) for pattern in found)}


def test_names_with_numbers_are_few_patterns():
    digits = "[0123456789]"
    assert patterns(f"sample-{number:04}.txt" for number in range(1000)) == [f"sample-0{digits * 3}.txt"]
    assert patterns(f"{number}/work/out" for number in range(1000)) == [
        f"{digits}/work/out",
        f"[123456789]{digits}/work/out",
        f"[123456789]{digits * 2}/work/out",
    ]
    assert len(patterns(f"SRR{number}_{end}.fastq.gz" for number in range(8123, 9456) for end in (1, 2))) < 12


@given(st.lists(st.text("ab1*[]?!-\\^é\n", max_size=5), unique=True))
def test_patterns_match_what_is_wanted_and_nothing_else(names):
    others = ["".join(chars) for chars in itertools.product("ab1*[-", repeat=3)]
    assert matched(names, [*names, *others]) == set(names)


def test_names_are_patterns_only_where_it_is_said():
    names = ["*.txt", "[ab].txt", "a?.txt", "[!a]", "a-z"]
    assert matched(names, [*names, "x.txt", "a.txt", "ab.txt", "b", "b-z"]) == set(names)


def test_files_of_one_folder_are_fetched_by_it_if_they_are_many():
    many = [f"s3://b/in/{number}" for number in range(MANY)]
    few = [f"s3://b/few/{number}" for number in range(MANY - 1)]
    assert told(staged(*few, *many)) == ({"s3://b/in/": [str(number) for number in range(MANY)]}, few)


def test_files_of_many_folders_are_fetched_by_the_one_above_them_but_not_by_a_bucket():
    calls = [f"s3://b/run/{call}/{shard}/work/out" for call in ("one", "two") for shard in range(MANY)]
    roots = [f"s3://b/{number}/out" for number in range(MANY)]
    found, alone = told(staged(*calls, *roots))
    assert found == {f"s3://b/run/{call}/": [f"{s}/work/out" for s in range(MANY)] for call in ("one", "two")}
    assert alone == roots
    direct = [f"s3://b/{number}" for number in range(MANY)]
    assert told(staged(*direct, *roots)) == ({"s3://b/": [str(number) for number in range(MANY)]}, roots)


def test_what_the_aws_cli_would_put_elsewhere_goes_by_itself():
    odd = ["s3://b/in//x", "s3://b/in/./x", "s3://b/in/[a]/x", "s3://b/" + "a/" * 400 + "x"]
    many = [f"s3://b/in/{number}" for number in range(MANY)]
    renamed = StageIn("s3://b/in/x", "/wdl/x/inputs/0/y")
    folder = StageIn("s3://b/in/x/", "/wdl/x/inputs/0/x", directory=True)
    found, alone = told([*staged(*odd, *many), renamed, folder])
    assert list(found) == ["s3://b/in/"]
    assert alone == [*odd, renamed.uri, folder.uri]
