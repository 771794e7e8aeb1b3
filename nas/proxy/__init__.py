"""The short training that scores a candidate."""
