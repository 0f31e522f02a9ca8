"""The teacher: images re-synthesised from others, and how far two images are apart."""
