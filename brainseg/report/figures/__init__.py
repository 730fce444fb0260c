"""Figures of the report, one per file: finished runs to pictures, without a model or a display."""
