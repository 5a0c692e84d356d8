"""Accelerators: which operators of a file a delegate takes, in how many partitions, and why not.

`table.measure` gives the figures, in a child; `judge.judge` compares them with a target's limits,
in the parent. So nothing is imported here: the parent must not pay for reading flatbuffers.
docs/DELEGATES.md says what the figures mean.
"""
