"""The paper's method, on torch alone. Equation numbers are those of docs/method.md.

- `distillation`: masked V-DDS, the direction from the source prompt to the target prompt (equation 3).
- `similarity`: S-SSM and T-SSM, which keep structure and motion (equations 5 and 7); `keys` takes the keys.
- `editing`: one step of all three and the loop over steps (equation 8).

`prior` says what the method asks of a model, `parameterization` turns predictions into noise, `source_cache`
keeps the source branch for further edits, and `baselines` holds the methods to compare with.
"""
