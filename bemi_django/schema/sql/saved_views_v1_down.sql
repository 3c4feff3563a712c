DROP TABLE IF EXISTS _bemi.saved_views;
