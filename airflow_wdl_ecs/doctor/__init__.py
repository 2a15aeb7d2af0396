"""What ``airflow-wdl-ecs doctor`` looks at in AWS: one module per part of an installation, and a real task."""
