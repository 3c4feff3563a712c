"""Tell what a transaction or a request did in a sentence, and step by step."""
