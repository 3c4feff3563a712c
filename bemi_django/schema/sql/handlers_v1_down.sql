DROP TABLE _bemi.undelivered;
DROP TABLE _bemi.handlers;
