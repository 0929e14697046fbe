"""The figures that this project reports: ``python -m benchmarks.NAME`` for each command.

Most modules on top are commands. They share `arguments`, `results`, `sheets`, `world_cases`, `toybox` and
`cost`; `paper_tables` keeps its parts in `study`, `segmentation` in `davis`.
"""
