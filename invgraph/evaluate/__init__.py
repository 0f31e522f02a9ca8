"""How good results are, by published protocols, against truth that nothing learns from."""
