"""``python -m airflow_wdl_ecs`` is the command line ``airflow-wdl-ecs``."""

import sys

from .cli import main

sys.exit(main())
