"""Run folders: what a run leaves on disk, and how far it is."""
