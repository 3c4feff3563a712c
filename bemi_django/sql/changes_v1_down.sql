DROP TABLE IF EXISTS _bemi_checkpoint;
DROP TABLE IF EXISTS changes;
