"""Runs to what people read: tables, figures, one page, model cards."""
