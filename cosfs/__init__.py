"""cosfs."""
