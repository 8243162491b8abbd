"""Samples become windows, scores, and then segments or answers."""
