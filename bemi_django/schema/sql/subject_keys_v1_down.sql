DROP TABLE _bemi.subject_keys;
