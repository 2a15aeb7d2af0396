"""Makes the project's environment: a venv with the pinned requirements and this package, editable, with bytecode.

Needs nothing but Python. Does nothing if the files that say what to install have not changed since the last time. uv
installs, since it is many times faster; pip does where uv cannot be had.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# ``install.py oldest`` makes the environment with the oldest Airflow, ``install.py bench`` that of the benchmarks,
# ``install.py infrastructure`` that of what checks the template of AWS's resources.
KIND = sys.argv[1] if sys.argv[1:] else "dev"
VENV = ROOT / (".venv" if KIND == "dev" else f".venv-{KIND}")
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed.sha256"
SOURCES = (*sorted((ROOT / "requirements").glob("*.txt")), ROOT / "pyproject.toml", Path(__file__))
# What the benchmarks compare with needs nothing of this package, nor does what checks the template.
WHAT = ("-r", f"requirements/{KIND}.txt", *(() if KIND in ("others", "infrastructure") else ("-e", ".")))


def main() -> int:
    """Bring the environment up to date."""
    if sys.version_info < (3, 10):  # noqa: UP036 -- this runs before anything has been checked
        print(f"Python 3.10 or later is needed, and {sys.executable} is {sys.version.split()[0]}.", file=sys.stderr)
        return 2
    wanted = digest()
    if STAMP.exists() and STAMP.read_text() == wanted and PYTHON.exists():
        return 0
    if not works():
        shutil.rmtree(VENV, ignore_errors=True)
        print(f"making {VENV.name} with Python {sys.version.split()[0]}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    print("installing what requirements/ names", file=sys.stderr)
    install()
    STAMP.write_text(wanted)
    return 0


def digest() -> str:
    """What the environment depends on."""
    found = hashlib.sha256(sys.version.encode())
    for path in SOURCES:
        found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def works() -> bool:
    """Whether there is an environment with a working pip, of this Python's version."""
    if not PYTHON.exists():
        return False
    same = f"import sys, pip; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    return succeeds([str(PYTHON), "-c", same], stderr=subprocess.DEVNULL)


def succeeds(command: list[str], **options: Any) -> bool:
    """Run a command in the project's folder; whether it succeeded."""
    return subprocess.run(command, cwd=ROOT, check=False, **options).returncode == 0


def install() -> None:
    """Install with uv, else with pip, and compile bytecode even where Python is told not to write it."""
    if succeeds([str(PYTHON), "-m", "pip", "install", "-q", "uv"]):
        uv = [str(VENV / "bin" / "uv"), "pip", "install", "-q", "--python", str(PYTHON), "--compile-bytecode"]
        if succeeds([*uv, *WHAT], env={**os.environ, **uv_environment()}):
            return
        print("uv could not install; trying pip", file=sys.stderr)
    subprocess.run([str(PYTHON), "-m", "pip", "install", "-q", *WHAT], cwd=ROOT, check=True)
    # Some packages hold files for other Pythons, which do not compile; that is no failure.
    succeeds([str(PYTHON), "-m", "compileall", "-q", "-j", "0", str(VENV / "lib")], stdout=subprocess.DEVNULL)


def uv_environment() -> dict[str, str]:
    """Where pip looks for packages, told to uv, which does not read pip's settings."""
    listed = subprocess.run([str(PYTHON), "-m", "pip", "config", "list"], check=False, capture_output=True, text=True)
    settings: dict[str, str] = {}
    for line in listed.stdout.splitlines():
        name, found, value = line.partition("=")
        if found:
            settings[name.rpartition(".")[2]] = value.strip("'\"").replace("\\n", " ")
    names = {
        "index-url": "UV_DEFAULT_INDEX",
        "extra-index-url": "UV_INDEX",
        "find-links": "UV_FIND_LINKS",
        "constraint": "UV_CONSTRAINT",
        "cert": "SSL_CERT_FILE",
    }
    told = {uv: settings[pip] for pip, uv in names.items() if settings.get(pip) and uv not in os.environ}
    # pip takes the best version of all indexes; uv, unless told so, that of the first index that has the package.
    return {"UV_INDEX_STRATEGY": "unsafe-best-match", "UV_LINK_MODE": "copy", **told}


if __name__ == "__main__":
    sys.exit(main())
