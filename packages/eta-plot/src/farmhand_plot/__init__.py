"""Plots of farmhand runs: this module only says so; what draws is imported once it is wanted."""

from __future__ import annotations
