"""Dockerfile text to steps. Pure: knows neither graphs nor file systems."""
