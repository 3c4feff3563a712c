"""Time limits for the queries of a page, in milliseconds."""

from __future__ import annotations

#: No index answers the condition, so none is waited for.
NO_INDEX = 0
#: A filter with an index. It finds few changes at once; a great many are not worth sorting.
FILTER = 100
#: A key. Few changes have it, wherever they are, which is worth waiting for a cold disk.
LOOKUP = 2000
#: Counts, which are cached.
COUNT = 5000
