"""How good models are: metrics, predictions files, comparison, operating points, errors, subgroups. May import
`skinapp.demographics`, `skinapp.inference` and what these may import.
"""
