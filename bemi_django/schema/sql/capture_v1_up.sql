-- The function of the capture triggers. It writes the context of a statement to the WAL, as a logical message in
-- front of the statement's rows.

-- Every statement that writes calls this function. SET search_path would take a third of its time, so every name has
-- its schema instead. PL/pgSQL prepares each expression again in every transaction, so the usual path has few
-- expressions.
CREATE FUNCTION _bemi.capture_v1() RETURNS trigger
LANGUAGE plpgsql
AS $function$
DECLARE
    -- The last context, behind the tables that messages named for it: '16385 16384{"user_id": 7,"SQL": "UPDATE ..."}'.
    -- Rolling back to a savepoint restores it together with the messages.
    last pg_catalog.text := pg_catalog.current_setting('_bemi.last', true);
    -- The comment of the application's hook is at the start of the statement, where no value can be.
    content pg_catalog.text := CASE WHEN pg_catalog.starts_with(pg_catalog.current_query(), '/*Bemi {')
        THEN pg_catalog.substr(pg_catalog.split_part(pg_catalog.current_query(), ' Bemi*/', 1), 8) END;
    -- The query from the comment of the hook on, if those of others are before it.
    query pg_catalog.text;
    statement pg_catalog.text;
    -- A setting of the transaction, for statements that cannot carry a comment.
    context pg_catalog.text;
    -- Who is connected, in the encoding of the database and in UTF-8.
    connected pg_catalog.text;
    converted pg_catalog.bytea;
    is_done pg_catalog.bool;
BEGIN
    -- The usual path skips this: the first write of a transaction, with a context of the application.
    -- Hooks of ours send ASCII only, but those of others need not, and UTF-8 alone is sent as it is.
    IF content IS NULL OR last OPERATOR(pg_catalog.<>) '' OR pg_catalog.starts_with(content, '{"SQL"')
        OR pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
        IF content IS NULL OR pg_catalog.starts_with(content, '{"SQL"') THEN
            <<described>>
            BEGIN
                -- A tracer that writes into what the driver sends puts its own comments in front. In these are no others,
                -- and the first of ours counts: a value in a comment could be taken for ours.
                IF content IS NULL AND pg_catalog.starts_with(pg_catalog.current_query(), '/*') THEN
                    query := pg_catalog.substr(pg_catalog.current_query(), 1 OPERATOR(pg_catalog.+) pg_catalog.length(
                        pg_catalog.substring(pg_catalog.left(pg_catalog.current_query(), 8192),
                            '^(?:/[*](?:[^*/]|[*](?!/)|/(?![*]))*[*]/[[:space:]]*)+?(?=/[*]Bemi [{])')));
                    content := pg_catalog.substr(pg_catalog.split_part(query, ' Bemi*/', 1), 8);
                    EXIT described WHEN content IS NOT NULL AND NOT pg_catalog.starts_with(content, '{"SQL"');
                END IF;
                -- Statements that a driver prepares have the same comment, whatever their text and context.
                IF content IS NULL OR content OPERATOR(pg_catalog.=) '{"SQL": ""}' THEN
                    statement := pg_catalog.substr(coalesce(query, pg_catalog.current_query()), CASE WHEN content IS NULL THEN 1
                        ELSE pg_catalog.length('/*Bemi {"SQL": ""} Bemi*/ ') OPERATOR(pg_catalog.+) 1 END);
                    -- Deferred triggers write at SET CONSTRAINTS, or when their transaction ends, for which some drivers
                    -- send no statement. Their rows get its last context. What else stands behind SET CONSTRAINTS in the
                    -- same text is a statement of its own.
                    IF last OPERATOR(pg_catalog.<>) '' THEN
                        IF content IS NULL AND (statement IS NULL
                            OR pg_catalog.left(statement, 64) OPERATOR(pg_catalog.~*)
                                E'^\\s*(commit|end|prepare\\s+transaction|set\\s+constraints)\\M'
                            AND pg_catalog.left(statement, 8192) OPERATOR(pg_catalog.~*)
                                E'^\\s*(set\\s+constraints\\M[^;]*(;\\s*|$))*((commit|end|prepare\\s+transaction)\\M|$)') THEN
                            IF pg_catalog.split_part(last, '{', 1)
                                OPERATOR(pg_catalog.!~) pg_catalog.concat('(^| )', TG_RELID, '( |$)') THEN
                                is_done := pg_catalog.pg_logical_emit_message(true, '_bemi', TG_RELID::pg_catalog.text) IS NULL
                                    OR pg_catalog.set_config(
                                        '_bemi.last', pg_catalog.concat(TG_RELID, ' ', last), true) IS NULL;
                            END IF;
                            RETURN NULL;
                        END IF;
                    END IF;
                    context := CASE WHEN content IS NULL
                        OR pg_catalog.starts_with(pg_catalog.btrim(pg_catalog.current_setting('bemi.context', true)), '{')
                        THEN coalesce(pg_catalog.btrim(pg_catalog.current_setting('bemi.context', true)), '') ELSE '{}' END;
                    -- No hook saw the statement: record what the database knows of the writer.
                    IF context OPERATOR(pg_catalog.=) '' THEN
                        content := pg_catalog.concat(
                            '{"db_user": ', pg_catalog.to_json(session_user::pg_catalog.text), ', "application_name": ',
                            pg_catalog.to_json(pg_catalog.current_setting('application_name')), ',"SQL": ',
                            pg_catalog.to_json(CASE WHEN pg_catalog.length(statement) OPERATOR(pg_catalog.>) 8192
                                THEN pg_catalog.concat(pg_catalog.left(statement, 8192), '... (cut)')
                                ELSE coalesce(statement, '') END), '}');
                        EXIT described;
                    END IF;
                    -- Others may not use the names of ours. A letter of them may be an escape.
                    IF context OPERATOR(pg_catalog.~) E'"(SQL|db_user|application_name|connection)"|\\\\u00([46][1-9a-fA-F]|[57][0-9aA]|5[fF])' THEN
                        BEGIN
                            -- Any other text stays as it is: an application may have signed it.
                            IF EXISTS (SELECT FROM pg_catalog.json_object_keys(context::pg_catalog.json) key WHERE key
                                OPERATOR(pg_catalog.=) ANY ('{SQL,db_user,application_name,connection}'::pg_catalog.text[])) THEN
                                context := pg_catalog.json_object_agg(CASE
                                    WHEN key OPERATOR(pg_catalog.=) ANY ('{SQL,db_user,application_name,connection}'::pg_catalog.text[])
                                        THEN (SELECT pg_catalog.concat(pg_catalog.repeat('app_', number), key)
                                            FROM pg_catalog.generate_series(1, 100) number
                                            WHERE pg_catalog.concat(pg_catalog.repeat('app_', number), key) OPERATOR(pg_catalog.<>)
                                                ALL (SELECT pg_catalog.json_object_keys(context::pg_catalog.json))
                                            LIMIT 1)
                                    ELSE key END, value)
                                    FROM pg_catalog.json_each(context::pg_catalog.json);
                            END IF;
                        EXCEPTION WHEN OTHERS THEN
                            context := pg_catalog.concat('{"_bemi_invalid": ', pg_catalog.to_json(context), '}');
                        END;
                    END IF;
                    content := pg_catalog.concat(
                        '{"SQL": ', pg_catalog.to_json(CASE WHEN pg_catalog.length(statement) OPERATOR(pg_catalog.>) 8192
                            THEN pg_catalog.concat(pg_catalog.left(statement, 8192), '... (cut)')
                            ELSE coalesce(statement, '') END), '}');
                END IF;
                IF pg_catalog.starts_with(context, '{')
                    AND pg_catalog.ltrim(pg_catalog.substr(context, 2)) OPERATOR(pg_catalog.<>) '}' THEN
                    content := pg_catalog.concat(pg_catalog.left(context, -1), ',', pg_catalog.substr(content, 2));
                ELSE
                    -- The application's context is empty, or no JSON object. Only without a hook, which makes the change
                    -- one from outside the application, that includes the role.
                    content := pg_catalog.concat('{', CASE WHEN NOT pg_catalog.starts_with(context, '{') THEN pg_catalog.concat(
                        '"db_user": ', pg_catalog.to_json(session_user::pg_catalog.text), ', ') END, '"application_name": ',
                        pg_catalog.to_json(pg_catalog.current_setting('application_name')), ',',
                        pg_catalog.substr(content, 2));
                END IF;
            END described;
        END IF;
        IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
            BEGIN
                PERFORM pg_catalog.convert_to(content, 'UTF8');
            EXCEPTION WHEN OTHERS THEN
                -- Some bytes are not characters, or not characters of Unicode. No write may fail because of them.
                content := pg_catalog.string_agg(CASE
                    WHEN pg_catalog.octet_length(c) OPERATOR(pg_catalog.>) 1 THEN E'\\ufffd'
                    WHEN pg_catalog.ascii(c) OPERATOR(pg_catalog.<) 128 THEN c
                    ELSE E'\\u00' OPERATOR(pg_catalog.||) pg_catalog.encode(pg_catalog.convert_to(
                        c, pg_catalog.getdatabaseencoding()), 'hex') END, '' ORDER BY n)
                    FROM pg_catalog.unnest(pg_catalog.string_to_array(content, NULL)) WITH ORDINALITY u (c, n);
            END;
            IF last IS NULL OR last OPERATOR(pg_catalog.=) '' THEN
                -- As at the end of this function, but for characters that have other bytes in UTF-8.
                connected := pg_catalog.format('%L %L%s %s %L', session_user, current_user, pg_catalog.pg_backend_pid(),
                    pg_catalog.inet_client_addr(), pg_catalog.current_setting('application_name'));
                BEGIN
                    converted := pg_catalog.convert_to(connected, 'UTF8');
                EXCEPTION WHEN OTHERS THEN
                    converted := pg_catalog.decode(pg_catalog.replace(connected, E'\\', E'\\\\'), 'escape');
                END;
                is_done := pg_catalog.pg_logical_emit_message(true, '_bemi', converted OPERATOR(pg_catalog.||) pg_catalog.convert_to(
                    pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
                        pg_catalog.set_config('_bemi.last', TG_RELID::pg_catalog.text OPERATOR(pg_catalog.||) content, true),
                        E'\\\\', E'\\u005c'), E'\\u0022', E'\\"'), E'\\u0025', '%'), 'UTF8')) IS NULL;
                RETURN NULL;
            END IF;
        END IF;
        IF last OPERATOR(pg_catalog.<>) '' THEN
            IF pg_catalog.split_part(pg_catalog.ltrim(last, ' 0123456789'), ',"SQL": ', 1)
                OPERATOR(pg_catalog.=) pg_catalog.split_part(content, ',"SQL": ', 1) THEN
                IF pg_catalog.ltrim(last, ' 0123456789') OPERATOR(pg_catalog.=) content THEN
                    -- The context applies to the tables that were named until the next one, so only another table is
                    -- sent.
                    IF pg_catalog.split_part(last, '{', 1)
                        OPERATOR(pg_catalog.!~) pg_catalog.concat('(^| )', TG_RELID, '( |$)') THEN
                        is_done := pg_catalog.pg_logical_emit_message(true, '_bemi', TG_RELID::pg_catalog.text) IS NULL
                            OR pg_catalog.set_config('_bemi.last', pg_catalog.concat(TG_RELID, ' ', last), true) IS NULL;
                    END IF;
                ELSE
                    -- If only the statement differs from the previous message, send only the statement.
                    is_done := pg_catalog.pg_logical_emit_message(true, '_bemi', pg_catalog.convert_to(
                        pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
                            TG_RELID::pg_catalog.text OPERATOR(pg_catalog.||) '+' OPERATOR(pg_catalog.||) pg_catalog.substr(
                                content, pg_catalog.strpos(content, ',"SQL": ') OPERATOR(pg_catalog.+) 8),
                            E'\\\\', E'\\u005c'), E'\\u0022', E'\\"'), E'\\u0025', '%'), 'UTF8')) IS NULL
                        OR pg_catalog.set_config('_bemi.last', TG_RELID::pg_catalog.text OPERATOR(pg_catalog.||) content, true) IS NULL;
                END IF;
            ELSE
                is_done := pg_catalog.pg_logical_emit_message(true, '_bemi', pg_catalog.convert_to(
                    pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
                        pg_catalog.set_config('_bemi.last', TG_RELID::pg_catalog.text OPERATOR(pg_catalog.||) content, true),
                        E'\\\\', E'\\u005c'), E'\\u0022', E'\\"'), E'\\u0025', '%'), 'UTF8')) IS NULL;
            END IF;
            RETURN NULL;
        END IF;
    END IF;
    -- The first message of a transaction begins with who is connected: 'role' 'current role'4711 10.0.0.1 'program'16384{...}.
    -- Rolling back to a savepoint takes back the message and what is remembered of it.
    --
    -- Quotes and percent signs are escaped in a comment, but may be plain in the WAL. Of two backslashes, the second
    -- could seem to begin an escape. The result is assigned because an expression takes a tenth of the time of a
    -- query. It is one expression, with as few functions as can be, because each is prepared again in every transaction:
    -- set_config() returns what it has set, and format() looks up the type of a value that has that of the one before
    -- only once. The message is a text, which is sent as it is: names of roles may have any bytes, and the comment of a
    -- hook has ASCII only.
    is_done := pg_catalog.pg_logical_emit_message(true, '_bemi', pg_catalog.format('%L %L%s %s %L%s',
        session_user, current_user, pg_catalog.pg_backend_pid(), pg_catalog.inet_client_addr(),
        pg_catalog.current_setting('application_name'), pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
            pg_catalog.set_config('_bemi.last', TG_RELID::pg_catalog.text OPERATOR(pg_catalog.||) content, true),
            E'\\\\', E'\\u005c'), E'\\u0022', E'\\"'), E'\\u0025', '%'))) IS NULL;
    RETURN NULL;
END
$function$;
