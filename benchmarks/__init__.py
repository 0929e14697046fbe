"""The figures that this project reports: ``python -m benchmarks.NAME`` for each command.

Commands are the modules on top, beside what they share (`arguments`, `results`, `sheets`, `world_cases`).
Larger ones keep their parts in a folder: `study` for `paper_tables`, `toybox` for `toybox_quality`, `davis`
for `segmentation`, `cost` for the costs of a step.
"""
