"""The raster operations as compiled kernels for the CPU."""
