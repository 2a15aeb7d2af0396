"""A backend of miniwdl that runs a task's command as a plain process: no image, container path = host path.

miniwdl finds it by an entry point, which `installed` writes into a folder for PYTHONPATH.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from WDL.runtime.backend.cli_subprocess import SubprocessBase

ENTRY_POINTS = "[miniwdl.plugin.container_backend]\nplain = miniwdl_plain:PlainProcess\n"
METADATA = "Metadata-Version: 2.1\nName: miniwdl-plain\nVersion: 0\n"


class PlainProcess(SubprocessBase):
    """Runs the command in the work directory on the host."""

    def __init__(self, cfg: Any, run_id: str, host_dir: str) -> None:
        super().__init__(cfg, run_id, host_dir)
        self.container_dir = host_dir

    @classmethod
    def global_init(cls, cfg: Any, logger: logging.Logger) -> None:
        """Ask what the machine has before there are tasks at once: two that ask together lose count of what is taken,
        and the run fails.
        """
        cls.detect_resource_limits(cfg, logger)

    @property
    def cli_name(self) -> str:
        """As the log names it."""
        return "plain"

    def _pull(self, logger: logging.Logger, cleanup: ExitStack) -> str:
        return ""

    def _run_invocation(self, logger: logging.Logger, cleanup: ExitStack, image: str) -> list[str]:
        for host_path, container_path in self.input_path_map.items():
            there = Path(self.host_work_path(container_path.rstrip("/")))
            there.parent.mkdir(parents=True, exist_ok=True)
            if not there.exists():
                there.symlink_to(host_path.rstrip("/"))
        return ["env", "-C", self.host_work_dir()]


def installed(folder: Path) -> dict[str, str]:
    """Let miniwdl find the backend; gives the environment that a ``miniwdl run`` needs.

    :param folder: an empty one, for PYTHONPATH.
    """
    about = folder / "miniwdl_plain-0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(METADATA)
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    return {
        "PYTHONPATH": f"{folder}:{Path(__file__).parent}",
        "MINIWDL__SCHEDULER__CONTAINER_BACKEND": "plain",
    }
