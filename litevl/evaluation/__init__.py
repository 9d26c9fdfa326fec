"""Scoring, metrics with their protocol, and tables."""
