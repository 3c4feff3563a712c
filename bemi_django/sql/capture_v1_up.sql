-- One statement-level trigger function: it carries the statement's context into the WAL.
CREATE FUNCTION _bemi_capture_v1() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $function$
DECLARE
    statement text := current_query();
    -- Transaction-local: for statements that cannot carry a comment.
    context text := coalesce(current_setting('bemi.context', true), '');
    content text;
BEGIN
    IF starts_with(statement, '/*Bemi {') THEN
        -- Only here, at the very start, stands what the application's hook wrote: a value never can.
        content := substr(split_part(statement, ' Bemi*/', 1), 8);
    ELSE
        IF length(statement) > 8192 THEN
            statement := left(statement, 8192) || '… (cut)';
        END IF;
        content := '{"SQL": ' || to_json(statement)::text || '}';
        IF starts_with(ltrim(context), '{') AND ltrim(substr(ltrim(context), 2)) <> '}' THEN
            content := left(content, -1) || ', ' || substr(ltrim(context), 2);
            context := NULL;
        END IF;
    END IF;
    IF context IS NOT NULL AND starts_with(content, '{"SQL"') THEN
        -- No application context: what the database itself knows of the writer.
        content := '{"db_user": ' || to_json(session_user::text)::text
            || ', "application_name": ' || to_json(current_setting('application_name'))::text
            || ', ' || substr(content, 2);
    END IF;
    -- A message holds for all rows until the next one, so an equal one need not be repeated. The
    -- setting goes back with a savepoint exactly as the message does.
    IF content IS DISTINCT FROM current_setting('_bemi.last', true) THEN
        PERFORM pg_logical_emit_message(true, '_bemi', convert_to(content, 'UTF8'));
        PERFORM set_config('_bemi.last', content, true);
    END IF;
    RETURN NULL;
END
$function$;

-- Puts the triggers on one table, whatever its name is made of.
CREATE FUNCTION _bemi_track_v1(target regclass) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $function$
DECLARE
    home text := (SELECT format('%I', nspname) FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace
                  WHERE proname = '_bemi_capture_v1' AND pronargs = 0 ORDER BY pg_proc.oid LIMIT 1);
    name text := (SELECT format('%I.%I', nspname, relname) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
                  WHERE pg_class.oid = target);
BEGIN
    EXECUTE format(
        'CREATE OR REPLACE TRIGGER _bemi_capture BEFORE INSERT OR UPDATE OR DELETE ON %s '
        'FOR EACH STATEMENT EXECUTE FUNCTION %s._bemi_capture_v1()', name, home);
    EXECUTE format(
        'CREATE OR REPLACE TRIGGER _bemi_capture_truncate BEFORE TRUNCATE ON %s '
        'FOR EACH STATEMENT EXECUTE FUNCTION %s._bemi_capture_v1()', name, home);
END
$function$;
