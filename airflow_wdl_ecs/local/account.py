"""The one account of the embedded AWS, and the names that are there from the start."""

ACCOUNT = "123456789012"
"""moto's default account, to which every access key belongs."""

NAME = "wdl"
"""The bucket and the cluster."""

LOG_GROUP = "/wdl"
