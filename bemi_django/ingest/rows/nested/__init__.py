"""Values that are nested in others, or are printed as pairs, of any size."""
