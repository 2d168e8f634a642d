"""Measurements reported in docs/ and in model folders: ablation, search, artefacts, attention."""
