"""How compiled CPU code is written and run here: threads, lanes, buffers."""
