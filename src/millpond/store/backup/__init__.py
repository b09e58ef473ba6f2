"""Backups of streams: what nats-server sends for a snapshot and takes for a restore, read and written in steps."""
