"""Converter profiles, by the classes of ops that they take: `builtin`, `select`, `custom` and
`custom_select`. Light: the parent imports it."""

from __future__ import annotations

FLEX = "Flex"  # what the names of select TF ops begin with
SELECT = ("select", "custom_select")  # the profiles with select TF ops
CUSTOM = ("custom", "custom_select")  # with custom ops
