"""The paper's method, on torch alone. Equation numbers are those of docs/method.md.

`editing` is the loop: one step of `distillation` (masked V-DDS) and `similarity` (S-SSM and T-SSM on `keys`).
`prior` says what it asks of a model, and `baselines` holds the methods to compare with.
"""
