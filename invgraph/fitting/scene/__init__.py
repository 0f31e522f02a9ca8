"""Whole scenes from images: what is likely, how well it explains them, and descent on both."""
