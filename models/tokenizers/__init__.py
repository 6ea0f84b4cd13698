"""Audio tokenizers behind one interface."""
