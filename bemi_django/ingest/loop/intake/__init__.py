"""Messages of the stream are taken, and become rows for the sink."""
