"""Runs a KFP pipeline on this machine: one process per stage, a live view, resumable after any kill."""
