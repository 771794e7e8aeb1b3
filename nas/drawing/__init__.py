"""Genotypes as pictures and as text."""
