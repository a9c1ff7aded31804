-- safe: a record
CREATE TABLE "users" ( "id" uuid NOT NULL PRIMARY KEY, "version" bigint NOT NULL DEFAULT 1, "created_at" timestamp with time zone NOT NULL, "updated_at" timestamp with time zone NOT NULL, "email" text NOT NULL, CONSTRAINT "ck_users_email" CHECK (length("email") <= 254) );
-- safe: a record with all that belongs to it
CREATE TABLE "accounts" ( "id" uuid NOT NULL PRIMARY KEY, "owner_id" uuid NOT NULL, "balance" bigint NOT NULL, CONSTRAINT "ck_accounts_balance" CHECK ("balance" >= 0), CONSTRAINT "fk_accounts_owner_id" FOREIGN KEY ("owner_id") REFERENCES "users" ("id") ON DELETE RESTRICT );
CREATE INDEX "ix_accounts_owner_id" ON "accounts" ("owner_id");
-- safe: of another's making
CREATE TABLE copies (LIKE users INCLUDING ALL);
-- safe: unlogged, with a setting
CREATE UNLOGGED TABLE hits (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz) WITH (fillfactor = 70);
-- safe: inherited
CREATE TABLE admins (level bigint) INHERITS (users);
-- safe: of a query
CREATE TABLE totals AS SELECT day, sum(amount) AS amount FROM sales GROUP BY day WITH NO DATA;
-- safe: an extension
CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;
-- safe: an extension, quoted
CREATE EXTENSION IF NOT EXISTS "uuid-ossp";
-- safe: newer
ALTER EXTENSION pg_trgm UPDATE;
-- safe: a trigger's function
CREATE OR REPLACE FUNCTION set_updated_at() RETURNS trigger AS $$
BEGIN
    NEW.updated_at = now();
    RETURN NEW;
END;
$$ LANGUAGE plpgsql;
-- safe: a function that deletes when it is called
CREATE FUNCTION expire_sessions() RETURNS void LANGUAGE sql AS $$ DELETE FROM sessions WHERE expires_at < now() $$;
-- safe: a function in the words of the standard
CREATE FUNCTION add(a bigint, b bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN a + b;
-- safe: a function with a body in the words of the standard
CREATE FUNCTION tidy() RETURNS void LANGUAGE sql BEGIN ATOMIC DELETE FROM sessions WHERE expires_at < now(); DELETE FROM tokens; END;
-- safe: a function of a table
CREATE FUNCTION of_user(wanted uuid, OUT id uuid, OUT title text) RETURNS SETOF record LANGUAGE sql STABLE AS 'SELECT id, title FROM posts WHERE user_id = wanted';
-- safe: a function goes
DROP FUNCTION IF EXISTS set_updated_at() CASCADE;
-- safe: a trigger
CREATE TRIGGER set_updated_at BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION set_updated_at();
-- safe: a trigger with conditions
CREATE TRIGGER log_change AFTER UPDATE OF name, email OR INSERT ON users FOR EACH ROW WHEN (NEW.name IS NOT NULL) EXECUTE PROCEDURE log_change();
-- safe: a trigger that is replaced
CREATE OR REPLACE TRIGGER log_change AFTER DELETE ON users REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION log_change();
-- safe: a trigger that waits
CREATE CONSTRAINT TRIGGER at_the_end AFTER INSERT ON users DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION log_change();
-- safe: a trigger on a view
CREATE TRIGGER through INSTEAD OF INSERT ON active_users FOR EACH ROW EXECUTE FUNCTION through();
-- safe: a view
CREATE VIEW active_users AS SELECT id, name FROM users WHERE deleted_at IS NULL;
-- safe: a view that looks with the caller's eyes
CREATE OR REPLACE VIEW active_users WITH (security_invoker = true) AS SELECT id FROM users;
-- safe: a view of itself
CREATE RECURSIVE VIEW ancestors (id, parent_id) AS SELECT id, parent_id FROM nodes UNION ALL SELECT n.id, n.parent_id FROM nodes n JOIN ancestors a ON n.id = a.parent_id;
-- safe: a materialized view
CREATE MATERIALIZED VIEW IF NOT EXISTS daily_totals AS SELECT date_trunc('day', at) AS day, count(*) FROM visits GROUP BY 1 WITH NO DATA;
-- safe: a sequence
CREATE SEQUENCE invoice_numbers START 1000 OWNED BY NONE;
-- safe: a sequence goes on
ALTER SEQUENCE invoice_numbers RESTART WITH 2000;
-- safe: a sequence belongs to a column
ALTER SEQUENCE users_id_seq OWNED BY users.id;
-- safe: where a sequence stands
SELECT setval('users_id_seq', (SELECT max(id) FROM users));
-- safe: comments
COMMENT ON TABLE users IS 'people';
-- safe: a comment goes
COMMENT ON INDEX public.ix_users_email IS NULL;
-- safe: an owner
ALTER TABLE users OWNER TO migrator;
-- safe: rights
GRANT SELECT, INSERT ON users TO app;
-- safe: rights on a schema
GRANT USAGE ON SCHEMA reporting TO reporter;
-- safe: rights on columns
GRANT SELECT (id, name), UPDATE (name) ON users TO app;
-- safe: rights on functions
GRANT EXECUTE ON FUNCTION add(bigint, bigint) TO app;
-- safe: rights are taken back
REVOKE INSERT ON users FROM app;
-- safe: a role
CREATE ROLE reporter NOLOGIN;
-- safe: a role has a setting
ALTER ROLE reporter SET statement_timeout = '30s';
-- safe: a role in another
GRANT reporter TO analyst;
-- safe: how a table is tidied up
ALTER TABLE users SET (autovacuum_vacuum_scale_factor = 0.05, fillfactor = 90);
-- safe: how a table was tidied up
ALTER TABLE users RESET (fillfactor);
-- safe: what a replica is told
ALTER TABLE users REPLICA IDENTITY FULL;
-- safe: a publication
CREATE PUBLICATION changes FOR TABLE users, orders;
-- safe: statistics
CREATE STATISTICS IF NOT EXISTS st_users (dependencies) ON city, zip FROM users;
-- safe: an aggregate
CREATE AGGREGATE product(bigint) (SFUNC = int8mul, STYPE = bigint, INITCOND = '1');
-- safe: a cast
CREATE CAST (text AS mood) WITH INOUT AS IMPLICIT;
-- safe: a collation
CREATE COLLATION IF NOT EXISTS numeric_order (provider = icu, locale = 'en-u-kn-true');
-- safe: an operator
CREATE OPERATOR === (LEFTARG = box, RIGHTARG = box, FUNCTION = area_equal, COMMUTATOR = ===);
-- safe: a text search
CREATE TEXT SEARCH CONFIGURATION simple_english (COPY = pg_catalog.english);
-- safe: a rule
CREATE RULE no_delete AS ON DELETE TO plans DO INSTEAD NOTHING;
-- safe: another server
CREATE SERVER IF NOT EXISTS archive FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'archive', dbname 'app');
-- safe: an event
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION watch();
-- safe: a message
NOTIFY migrations, 'done';
-- safe: a query with windows
SELECT id, row_number() OVER (PARTITION BY user_id ORDER BY at DESC) AS n FROM visits WHERE at > now() - interval '1 day';
-- safe: a query with a lateral one
SELECT u.id, p.title FROM users u CROSS JOIN LATERAL (SELECT title FROM posts WHERE posts.user_id = u.id LIMIT 3) p;
-- safe: a query in JSON
SELECT body -> 'a' ->> 'b' AS b FROM events WHERE body @> '{"kind": "x"}' AND body ? 'a';
-- safe: values
VALUES (1, 'a'), (2, 'b');
-- safe: rows of a query
INSERT INTO totals (day, amount) SELECT day, sum(amount) FROM sales GROUP BY day;
-- safe: nothing but a comment
-- there is nothing to do
-- safe: nothing at all
;
-- safe: a block that only looks
DO $$ BEGIN ASSERT (SELECT count(*) FROM plans) > 0, 'no plans'; END $$;
-- safe: a block that tells
DO $$ BEGIN RAISE NOTICE 'it is %', now(); END $$;
-- safe: a block with a table of its own
DO $$ BEGIN CREATE TABLE IF NOT EXISTS logs (id uuid PRIMARY KEY, line text); END $$;
-- safe: a role, if it is not there
DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app') THEN CREATE ROLE app LOGIN; END IF; END $$;
-- safe: strings that look like comments
INSERT INTO settings (id, value) VALUES (1, '-- DROP TABLE users'), (2, '/* DROP TABLE users');
-- safe: a name that looks like a statement
CREATE TABLE "drop table users" (id uuid PRIMARY KEY);
-- safe: a column that is called like an action
ALTER TABLE users ADD COLUMN "drop" boolean DEFAULT false;
-- safe: a column of every kind
CREATE TABLE kinds (id uuid PRIMARY KEY, a boolean, b smallint, c integer, d bigint, e real, f double precision, g numeric(10, 2), h text, i bytea, j date, k time, l interval, m timestamptz, n jsonb, o inet, p tsvector, q int4range, r point, s text[], t interval day to second, u bit varying(5), v xml, w money);
-- safe: an index is attached
ALTER INDEX ix_events_at ATTACH PARTITION ix_events_2026_at;
-- safe: an index has a setting
ALTER INDEX ix_users_email SET (fillfactor = 80);
-- safe: constraints wait
SET CONSTRAINTS ALL DEFERRED;
-- safe: a constraint waits
ALTER TABLE orders ALTER CONSTRAINT fk DEFERRABLE INITIALLY DEFERRED;
-- safe: who it is
SET ROLE migrator;
-- safe: a view's column has a default
ALTER VIEW active_users ALTER COLUMN name SET DEFAULT '';
-- safe: a trigger is called otherwise
ALTER TRIGGER touch ON users RENAME TO touch_users;
-- safe: a policy changes
ALTER POLICY own ON users USING (id = current_setting('app.user')::uuid);
-- safe: rows from a file
COPY plans (id, name) FROM STDIN;
-- safe: how a query would run
EXPLAIN (ANALYZE, BUFFERS) SELECT * FROM users;
-- safe: a procedure is called
CALL tidy();
-- safe: rows are merged into a table that is made here
CREATE TABLE t (id bigint PRIMARY KEY, n text);
MERGE INTO t USING (VALUES (1::bigint, 'a')) AS s (id, n) ON t.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.n);
