"""How good results are, by published protocols."""
