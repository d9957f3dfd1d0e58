"""Engines that are killed, servers that restart, receivers that fail: what is told must be right all the same."""
