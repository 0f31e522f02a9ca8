"""Where things are and how points become pixels: rigid motions, cameras, meshes."""
