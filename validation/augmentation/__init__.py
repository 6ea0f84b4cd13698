"""Augmentation: what a corpora file may ask for, and what is drawn for each training row; no audio here."""
