"""Images before training: download, prepare, splits, duplicates, audits and masks."""
