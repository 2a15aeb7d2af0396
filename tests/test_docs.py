"""What the documentation says is what the code does."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
from pathlib import Path

import pytest

import airflow_wdl_ecs
from airflow_wdl_ecs.cli import COMMANDS, PROGRAM, build_parser
from airflow_wdl_ecs.ecs.attributes import UNDERSTOOD
from airflow_wdl_ecs.ecs.resources import FARGATE, GPU_TYPES
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.scatter import WIDEST
from airflow_wdl_ecs.task import MAX_READ
from airflow_wdl_ecs.wdl import archives, limits, nesting
from airflow_wdl_ecs.wdl.beside import LARGEST
from airflow_wdl_ecs.wdl.check import problems
from airflow_wdl_ecs.wdl.source_files import LARGEST_TOGETHER
from airflow_wdl_ecs.wdl.task_evaluation import LARGEST_COMMAND
from airflow_wdl_ecs.workflow_operators import MOST_EXTRA

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
GENERATORS = sorted(DOCS.glob("generate_*.py"))
PACKAGE = "".join(path.read_text() for path in sorted((ROOT / "airflow_wdl_ecs").rglob("*.[ps][yh]")))


def _blocks(language: str) -> list[pytest.param]:
    """The fenced code blocks in a language, each with its page, and a name for the test."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.DOTALL | re.MULTILINE)
    return [
        pytest.param(page, block, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, block in enumerate(pattern.findall(page.read_text()), 1)
    ]


def _commands() -> list[pytest.param]:
    """The lines of code blocks that call our command line."""
    line = re.compile(rf"^ {{4,}}(?:\.venv/bin/)?({PROGRAM} [a-z].*)$", re.MULTILINE)
    return [
        pytest.param(found, id=f"{page.stem}: {found}")
        for page in PAGES
        if page.name != "command-line.md"
        for found in line.findall(page.read_text())
    ]


def _file_name(block: str) -> str | None:
    """The name of the file that a block is, if its first line is a comment with one: ``# dags/align.py``."""
    found = re.match(r"# ([\w./-]+\.(?:py|wdl))\n", block)
    return found[1] if found else None


@pytest.mark.parametrize("generator", GENERATORS, ids=lambda path: path.name)
def test_a_generated_page_is_what_the_code_says(generator):
    run = runpy.run_path(str(generator))
    assert run["PAGE"].read_text() == run["page"](), f"run: python docs/{generator.name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_page_is_in_the_table_of_contents():
    contents = (DOCS / "index.md").read_text()
    for page in [*DOCS.glob("*.md"), *DOCS.glob("*.rst")]:
        assert page.stem == "index" or re.search(rf"^(?:.*<)?{page.stem}>?$", contents, re.MULTILINE), page.name


@pytest.mark.parametrize(("page", "block"), _blocks("wdl"))
def test_wdl_is_without_errors(page, block, tmp_path):
    source = tmp_path / (_file_name(block) or "source.wdl")
    source.write_text(block)
    assert [problem for problem in problems(str(source)) if problem.severity == "error"] == []


@pytest.mark.parametrize(("page", "block"), _blocks("python"))
def test_a_dag_file_makes_a_dag(page, block, tmp_path, monkeypatch):
    shutil.copytree(ROOT / "dags", tmp_path / "dags")
    for _, other in _values("wdl"):
        if name := _file_name(other):
            (tmp_path / "dags" / name).write_text(other)
    monkeypatch.chdir(tmp_path / "dags")
    file = tmp_path / "dags" / (_file_name(block) or "block.py")
    made = runpy.run_path(str(_written(file, block)))
    if "dag" in made:
        assert made["dag"].dag_id
        assert made["dag"].tasks


def _written(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


@pytest.mark.parametrize("command", _commands())
def test_a_command_line_is_one(command):
    words = [word for word in shlex.split(command, comments=True)[1:] if word != "..."]
    assert words[0] in COMMANDS
    options, rest = build_parser(words[0]).parse_known_args(words)
    assert not [word for word in rest if word.startswith("-")]
    assert words[0] == options.module.NAME


def _said(page: Path) -> list[str]:
    """The messages of the first column of a page's tables, as code."""
    return re.findall(r"^\| `([^`]+)` \|", page.read_text(), re.MULTILINE)


@pytest.mark.parametrize("message", _said(DOCS / "troubleshooting.md"))
def test_a_message_that_is_explained_is_one_of_ours(message):
    said = re.sub(r"\"\n\s*f?\"", "", PACKAGE)
    fragments = [piece.strip() for piece in message.split("…") if len(piece.strip()) > 2]
    assert fragments
    for fragment in fragments:
        assert fragment in said, fragment


def test_every_public_name_is_documented():
    documented = re.findall(r"^\.\. auto(?:function|class):: (\w+)", (DOCS / "api.rst").read_text(), re.MULTILINE)
    assert sorted(documented) == [name for name in sorted(airflow_wdl_ecs.__all__) if name != "__version__"]


def test_the_limits_are_those_of_the_code():
    rows = dict(re.findall(r"^\| (.*) \| ([\d,]+(?: [KM]iB)?(?:; [\d,]+(?: MiB)?)?) \|$", _limits(), re.MULTILINE))
    of_code = [
        f"{MAX_READ >> 20} MiB",
        f"{limits.MOST_ITEMS:,}",
        f"{limits.LARGEST_VALUE:,}",
        f"{limits.MOST_PARTS_HELD:,}",
        f"{limits.MOST_CHARACTERS_HELD:,}",
        f"{EcsSettings().max_shards:,}",
        f"{WIDEST}",
        f"{LARGEST_COMMAND >> 20} MiB",
        f"{nesting.LONGEST_ID}",
        "1,024",
        f"{LARGEST >> 20} MiB; {LARGEST_TOGETHER >> 20} MiB",
        f"{MOST_EXTRA >> 10} KiB",
        f"{nesting.LARGEST_DOCUMENT >> 20} MiB; {nesting.MOST_DOCUMENTS:,}",
        f"{archives.MOST_MEMBERS:,}; {nesting.LARGEST_SOURCE >> 20} MiB",
        f"{nesting.MOST_MEMBERS:,}",
        f"{nesting.LONGEST_IMPORTS}",
        f"{nesting.MOST_NODES:,}",
        f"{nesting.MOST_INPUTS:,}",
        f"{nesting.DEEPEST_EXPRESSION}",
        f"{nesting.DEEPEST_LITERAL}",
        f"{nesting.DEEPEST_SECTION}",
    ]
    assert list(rows.values()) == of_code


def _limits() -> str:
    return (DOCS / "writing-wdl.md").read_text().partition("## Limits")[2]


def _values(language: str) -> list[tuple[Path, str]]:
    return [parameter.values for parameter in _blocks(language)]


def test_every_setting_that_a_page_names_with_its_section_exists():
    names = set(EcsSettings.__dataclass_fields__)
    for page in PAGES:
        text = page.read_text()
        for found in re.findall(r"AIRFLOW__WDL_ECS__([A-Z_]+)", text):
            assert found.lower() in names, f"{page.name}: {found}"
        for block in re.findall(r"\[wdl_ecs\]\n((?:\s+[a-z_]+ = .*\n)+)", text):
            for found in re.findall(r"^\s+([a-z_]+) =", block, re.MULTILINE):
                assert found in names, f"{page.name}: {found}"


def _section(page: str, title: str) -> str:
    return (DOCS / page).read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]


def _code_of_columns(text: str, column: int) -> list[set[str]]:
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return [set(re.findall(r"`([^`]+)`", row[column])) for row in rows]


def test_every_runtime_attribute_is_in_the_table_and_those_that_do_nothing_are_not():
    described = _code_of_columns(_section("resources.md", "Every attribute that means something"), 0)
    assert set().union(*described) == UNDERSTOOD
    ignored = _code_of_columns(_section("resources.md", "Attributes that do nothing"), 0)
    assert len(ignored) == 4
    assert not set().union(*ignored) & UNDERSTOOD


def test_the_types_of_gpu_are_those_of_the_code():
    text = _section("resources.md", "GPUs")
    rows = zip(_code_of_columns(text, 0), _code_of_columns(text, 1), strict=True)
    assert {name: instances for (name,), instances in rows} == {k: set(v.split("|")) for k, v in GPU_TYPES.items()}


def test_fargates_sizes_are_those_of_the_code():
    rows = re.findall(
        r"^\| ([\d.]+) \| ([\d.]+)(?:, \d)*(?: to|,) (\d+) \|", _section("resources.md", "Fargate's sizes"), re.M
    )
    said = [(float(cpu) * 1024, float(least) * 1024, float(most) * 1024) for cpu, least, most in rows]
    assert said == [(cpu, sizes[0], sizes[-1]) for cpu, sizes in FARGATE]
