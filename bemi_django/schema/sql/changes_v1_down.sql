DROP FUNCTION _bemi_partition_v1(regclass, timestamptz);
DROP TABLE bemi_dead_letters;
DROP TABLE _bemi_checkpoint;
DROP TABLE changes;
