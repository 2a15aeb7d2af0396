"""Run WDL workflows on Amazon ECS from Apache Airflow."""
