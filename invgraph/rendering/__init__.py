"""From a scene and a camera to an image."""
