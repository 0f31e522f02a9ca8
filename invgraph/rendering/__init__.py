"""``render(scene, camera)``: from a scene to an image whose gradients reach the scene."""
