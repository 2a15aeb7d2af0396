"""The subcommands of the command line, one module each: its ``NAME``, ``HELP``, ``OPTIONS`` and ``execute``.

None imports Airflow or an AWS library, and each is imported only when it is the one that runs: a warm local run takes
little longer than its imports.
"""
