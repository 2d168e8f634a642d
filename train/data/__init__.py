"""Data preparation: download, decoding, splits, duplicates, audits and masks."""
