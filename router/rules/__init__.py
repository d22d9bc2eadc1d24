"""What should happen: pure functions over plain values. No clock, no chance, no I/O."""
