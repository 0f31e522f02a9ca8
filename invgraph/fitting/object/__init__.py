"""One object from photos with masks: shape, appearance and light, coarse to fine."""
