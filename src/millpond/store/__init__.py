"""Where streams keep their messages and their state: see FORMAT.md for the bytes on disk."""
