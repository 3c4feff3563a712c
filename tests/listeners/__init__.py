"""An app whose handlers write down what they hear, and do what the name of a category says."""
