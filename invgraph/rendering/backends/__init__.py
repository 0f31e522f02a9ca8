"""Other people's renderers behind our signature; their packages are imported on first use."""
