"""How Sphinx builds these pages: ``make docs``, with warnings as errors, into docs/_build."""

import os
import sys
from importlib.metadata import version as installed
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
# autodoc imports the package, which imports Airflow, which makes its folder where this says.
os.environ.setdefault("AIRFLOW_HOME", str(HERE / "_build" / "airflow"))
sys.path.insert(0, str(HERE))

project = "airflow-wdl-ecs"
version = release = installed(project)
copyright = "the authors of airflow-wdl-ecs, Apache-2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = project
html_copy_source = False
pygments_style = "default"

myst_heading_anchors = 3
"""``page.md#a-heading`` works here as on GitHub."""

default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80

nitpicky = True
# Types of others; the build asks no network where their pages are.
nitpick_ignore = [
    ("py:class", name)
    for name in (
        "Any",
        "BaseOperator",
        "CallArgs",
        "Context",
        "DAG",
        "Iterable",
        "Iterator",
        "Mapping",
        "Path",
        "XComArg",
    )
]
nitpick_ignore_regex = [("py:.*", r"(airflow|collections|pathlib|typing|msgspec|datetime)\..*")]


def setup(app: Sphinx) -> None:
    """Let code blocks be WDL."""
    from wdl_lexer import WdlLexer

    app.add_lexer("wdl", WdlLexer)
