"""What things are: plain values of the standard library, known to every other part of the house."""
