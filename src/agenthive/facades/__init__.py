"""OTHER NAMES FOR THE SAME HOUSE: one file for each document whose class names we honour.

Where a document and the house mean the same thing the facade re-exports ours; where they differ it
translates, in methods of about five lines with the document's exact signatures.

A facade never decides, never keeps a second copy of a fact, and is never imported by another room.

To add one: a file here, a lazy line in `agenthive/__init__.py` if the name belongs on the top
level, and the document's own examples as a test in `tests/documents/`.
"""
