"""How long a page waits for an index, in milliseconds."""

from __future__ import annotations

#: There is no index to wait for.
NO_INDEX = 0
#: An index finds few changes at once; nobody waits for it to sort a great many.
FILTER = 100
#: Of a key there are few, wherever they are: that is worth a wait for a cold disk.
LOOKUP = 2000
#: Counts that are kept afterwards.
COUNT = 5000
