"""The embedded default: ECS, S3 and CloudWatch Logs on loopback that really run containers' commands."""
