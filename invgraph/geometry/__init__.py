"""Rigid motions, cameras, meshes; conventions of other programs."""
