"""Runs a KFP pipeline on this machine: one process a stage, a live view, resumable after any kill."""
