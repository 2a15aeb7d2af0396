"""The links on a task instance's page in Airflow: its ECS task, its log in CloudWatch, its folder in S3, its run.

Airflow reads a link from the XCom under the link's key, whoever has put it there: a worker pushes what `get_link` says
when it has executed or deferred the operator, a trigger puts them while the call runs and when it ends (see
``shown``). What a link leads to is not decided here. A DAG file imports this module, so it imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlencode, urlsplit

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

PAGE = "/wdl-runs/page"
"""The path of this package's own page about a run, below Airflow's base URL."""


def run_page(
    dag_id: str, run_id: str, *, call: str | None = None, shard: str | None = None, scope: str | None = None
) -> str:
    """The address of this package's own page about a run, a call or a shard; relative, so that any host will do.

    :param shard: as `layout.shard_key` writes it. :param scope: see ``run.begin_run``.
    """
    from airflow.configuration import conf

    base = urlsplit(conf.get("api", "base_url", fallback=None) or "").path.rstrip("/")
    about = {"dag_id": dag_id, "run_id": run_id, "call": call, "shard": shard, "scope": scope}
    query = urlencode({name: value for name, value in about.items() if value is not None}, quote_via=quote)
    return f"{base}{PAGE}?{query}"


class _ShownLink(BaseOperatorLink):
    """A link whose address the operator knows once it has executed: its attribute ``shown_links``, by XCom key."""

    name: ClassVar[str]
    key: ClassVar[str]

    @property
    def xcom_key(self) -> str:
        """The XCom that has the address."""
        return self.key

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The address, or nothing where there is none (yet); Airflow shows no button then."""
        known: dict[str, Any] = getattr(operator, "shown_links", {})
        return str(known.get(self.key) or "")


class EcsTaskLink(_ShownLink):
    """The ECS task of the last attempt in the AWS console; of several shards, that of the first that failed.

    Where there is no such task, or no console, it leads to this package's own page about the call.
    """

    name = "ECS task"
    key = "_link_EcsTaskLink"


class CommandLogLink(_ShownLink):
    """The CloudWatch log stream of that ECS task's command."""

    name = "CloudWatch log"
    key = "_link_CommandLogLink"


class S3FolderLink(_ShownLink):
    """The folder in S3: of the shard, of the call where the instance runs several shards, or of the run."""

    name = "S3 folder"
    key = "_link_S3FolderLink"


class WdlRunLink(_ShownLink):
    """This package's own page about the run."""

    name = "WDL run"
    key = "_link_WdlRunLink"


CALL_LINKS = (EcsTaskLink(), CommandLogLink(), S3FolderLink())
RUN_LINKS = (WdlRunLink(), S3FolderLink())
