DROP TABLE _bemi.baseline_rows;
DROP TABLE _bemi.baselines;
