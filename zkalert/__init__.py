"""Rule-engine alerting on Apache ZooKeeper."""

__version__ = "0.1.0"
