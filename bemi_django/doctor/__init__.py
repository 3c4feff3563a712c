"""What could keep changes from being recorded, and what recording will cost.

Findings of the system checks have the ids of these. The others are:

bemi.D001  the server is a standby
bemi.D002  all replication slots of the server are in use
bemi.D003  all WAL senders of the server are in use
bemi.D004  the worker cannot open a replication connection
bemi.D005  a pooler is between the application and the server
bemi.D006  the server keeps WAL for a slot without limit
bemi.D007  the server gives up slots that nobody reads for a time
bemi.D008  slots of this package are left that nobody reads
bemi.D009  the package is not installed yet, or cannot be installed by this role
bemi.D010  UPDATE and DELETE of published tables fail
bemi.D011  changes of tables have no complete "before"
bemi.D012  tables of other packages are better left out
bemi.D013  columns hold secrets and are not masked
bemi.D014  standbys are not set up to take over the slot
bemi.D015  roles lack rights
bemi.D016  the server does not accept the wal_sender_timeout of the worker
bemi.D017  the log can be changed, although it is to be append-only
bemi.D018  the queue of BEMI_SINK cannot be reached
bemi.D019  the stream of the queue would lose changes
bemi.D020  what the queue has acknowledged may be lost with a machine
bemi.D021  partitions of tracked tables are foreign tables, whose changes are not recorded
bemi.D022  changes were published that are neither in the queue nor in the log
bemi.D023  a destination cannot be asked what it has of the queue
bemi.D024  the version of the server has an error that concerns logical decoding or the log
bemi.D025  what writes a log of a queue does not get on
"""
