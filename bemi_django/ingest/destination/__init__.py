"""Write rows, dead letters and the checkpoint, in one transaction of the destination."""
