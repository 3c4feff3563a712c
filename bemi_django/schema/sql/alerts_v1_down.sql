DROP TABLE IF EXISTS _bemi.alert_rules;
