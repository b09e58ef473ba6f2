"""`make prove`: everything that shows "nothing acknowledged is lost", in a form for a laptop (docs/durability.md)."""
