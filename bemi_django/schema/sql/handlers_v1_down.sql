DROP TABLE _bemi_undelivered;
DROP TABLE _bemi_handlers;
