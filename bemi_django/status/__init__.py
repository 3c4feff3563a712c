"""How recording is doing: what ``bemi status``, the checks and the health page report."""
