"""How good models are: scores and their intervals, predictions files, comparison, calibration, operating points,
errors, subgroups. docs/comparing.md says which file to open. May import `skinapp.demographics`, `skinapp.inference` and
what those may import.
"""
