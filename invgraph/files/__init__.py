"""Files written whole or not at all, tensors among them."""
