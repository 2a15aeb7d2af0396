"""The page "WDL runs": its server, what it asks Airflow's database, and in ``static/`` what runs in the browser."""
