"""The teacher: how far an image is from its re-synthesis; view synthesis from depth."""
