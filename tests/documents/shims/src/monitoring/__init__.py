"""The document's import path; the names live in agenthive.facades."""
