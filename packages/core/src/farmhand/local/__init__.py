"""Processes of this machine: how they start, what they are told, what they say, how they end."""
