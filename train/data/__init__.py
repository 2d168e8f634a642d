"""Images before training: download, decoding, splits, duplicates, audits and masks."""
