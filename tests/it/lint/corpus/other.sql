-- M43: the usual form
-- no transaction
VACUUM FULL users;
-- M43: options in parentheses
-- no transaction
VACUUM (FULL, ANALYZE) users;
-- M43: quoted, in a schema
-- no transaction
VACUUM FULL VERBOSE "app"."users";
-- M43: small letters
-- no transaction
vacuum full;
-- M43: sorted
CLUSTER users USING ix_users_email;
-- M43: sorted as before
CLUSTER VERBOSE users;
-- M43: everything that was sorted
CLUSTER;
-- M43: of old
CLUSTER ix_users_email ON users;
-- M43: another place
ALTER TABLE users SET TABLESPACE fast;
-- M43: no longer logged
ALTER TABLE users SET UNLOGGED;
-- M43: logged
alter table only users set logged;
-- M43: readers of the view wait
REFRESH MATERIALIZED VIEW daily_totals;
-- M43: readers of the view wait, quoted
REFRESH MATERIALIZED VIEW "reports"."daily_totals" WITH DATA;
-- M43 M11: in a transaction that is no statement
VACUUM FULL users;
-- safe: not full
-- no transaction
VACUUM (VERBOSE, ANALYZE) users;
-- safe: switched off
-- no transaction
VACUUM (FULL FALSE) users;
-- safe: only noted
ALTER TABLE users CLUSTER ON ix_users_email;
-- safe: emptied
REFRESH MATERIALIZED VIEW daily_totals WITH NO DATA;

-- M44: detached
ALTER TABLE events DETACH PARTITION events_2020;
-- M44: quoted, in a schema
ALTER TABLE "app"."events" DETACH PARTITION "app"."events_2020";
-- M44: small letters
alter table if exists events detach partition events_2020;
-- M44: attached
ALTER TABLE events ATTACH PARTITION events_2026 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
-- M44: attached by a list
ALTER TABLE events ATTACH PARTITION events_de FOR VALUES IN ('de', 'at');
-- M44: attached by a hash
ALTER TABLE public.events ATTACH PARTITION public.events_0 FOR VALUES WITH (MODULUS 4, REMAINDER 0);
-- M44: attached for the rest
ALTER TABLE events ATTACH PARTITION events_rest DEFAULT;
-- M44: in a block
DO $$ BEGIN ALTER TABLE events DETACH PARTITION events_2020; END $$;
-- safe: detached without a lock
-- no transaction
ALTER TABLE events DETACH PARTITION events_2020 CONCURRENTLY;
-- safe: what was begun is ended
ALTER TABLE events DETACH PARTITION events_2020 FINALIZE;
-- safe: attached, made here
CREATE TABLE events_2027 (id uuid, at timestamptz);
ALTER TABLE events ATTACH PARTITION events_2027 FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
-- safe: attached, after a check
-- given
ALTER TABLE events_2026 ADD CONSTRAINT in_2026 CHECK (at >= '2026-01-01' AND at < '2027-01-01') NOT VALID;
ALTER TABLE events_2026 VALIDATE CONSTRAINT in_2026;
-- then
ALTER TABLE events ATTACH PARTITION events_2026 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
-- safe: made as a part
CREATE TABLE events_2028 PARTITION OF events FOR VALUES FROM ('2028-01-01') TO ('2029-01-01');
-- safe: made of parts
CREATE TABLE measurements (id uuid, at timestamptz NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);

-- M48: another's rights
CREATE FUNCTION who() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT current_user::text $$;
-- M48: another's rights, said later
CREATE OR REPLACE FUNCTION app.who() RETURNS text AS $$ SELECT current_user::text $$ LANGUAGE sql SECURITY DEFINER;
-- M48: small letters
create function who() returns text language plpgsql security definer as $$ begin return current_user; end $$;
-- M48: a procedure
CREATE PROCEDURE tidy() LANGUAGE sql SECURITY DEFINER AS $$ DELETE FROM sessions $$;
-- M48: in the words of the standard
CREATE FUNCTION who() RETURNS text LANGUAGE sql EXTERNAL SECURITY DEFINER AS 'SELECT current_user::text';
-- M48: afterwards
ALTER FUNCTION who() SECURITY DEFINER;
-- M48: names mean something else from here on
SET search_path = app, public;
-- M48: in this transaction
SET LOCAL search_path TO app;
-- M48: by a function
SELECT set_config('search_path', 'app', false);
-- M48: a schema is a path
SET SCHEMA 'app';
-- safe: with a path of its own
CREATE FUNCTION who() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ SELECT current_user::text $$;
-- safe: with an empty path
CREATE FUNCTION who() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path TO '' AS $$ SELECT current_user::text $$;
-- safe: the caller's rights
CREATE FUNCTION who() RETURNS text LANGUAGE sql STABLE AS $$ SELECT current_user::text $$;
-- safe: the caller's rights, said so
CREATE OR REPLACE FUNCTION who() RETURNS text LANGUAGE sql SECURITY INVOKER AS $$ SELECT current_user::text $$;
-- safe: as a dump has it
SELECT pg_catalog.set_config('search_path', '', false);
-- safe: a function's own path
ALTER FUNCTION who() SET search_path = pg_catalog, pg_temp;

-- M51: a statement put together as it runs
DO $$ BEGIN EXECUTE format('ALTER TABLE %I DROP COLUMN nickname', 'users'); END $$;
-- M51: put together of parts
DO $$ DECLARE t text := 'users'; BEGIN EXECUTE 'DROP TABLE ' || t; END $$;
-- M51: in another language
DO LANGUAGE plpython3u $$ plpy.execute("DROP TABLE users") $$;
-- M51: for a client
\connect other
-- M51: for a client, with rows
\copy users FROM 'users.csv' CSV
-- M51: no such words behind ALTER TABLE
ALTER TABLE users FROBNICATE COLUMN name;
-- M51: no such words behind CREATE
CREATE FROBNICATOR f ON users;
-- M51: no such words in the middle
ALTER TABLE users ADD COLUMN bio text, FROBNICATE name;
-- M51: words that are left over
DROP TABLE users AND EVERYTHING ELSE;
-- M51: in a loop over what is there
DO $$
DECLARE r record;
BEGIN
    FOR r IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE 'DROP TABLE ' || quote_ident(r.tablename) || ' CASCADE';
    END LOOP;
END $$;

-- M57: its triggers go
-- given
CREATE TABLE people (id uuid PRIMARY KEY, version bigint, email text);
CREATE FUNCTION public.cache_people() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.cache_outbox (tx, keys) SELECT txid_current(), 'people:email:' || lower(after."email") FROM new_rows AS after; RETURN NULL; END $$;
CREATE TRIGGER cache_people_update AFTER UPDATE ON people REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.cache_people();
-- then
DROP TRIGGER cache_people_update ON people;
-- M57: its triggers are switched off
-- given
CREATE TABLE people (id uuid PRIMARY KEY, version bigint, email text);
CREATE FUNCTION public.cache_people() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.cache_outbox (tx, keys) SELECT txid_current(), 'people:email:' || lower(after."email") FROM new_rows AS after; RETURN NULL; END $$;
CREATE TRIGGER cache_people_update AFTER UPDATE ON people REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.cache_people();
-- then
ALTER TABLE people DISABLE TRIGGER ALL;
-- M57: one of them is
-- given
CREATE TABLE people (id uuid PRIMARY KEY, version bigint, email text);
CREATE FUNCTION public.cache_people() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.cache_outbox (tx, keys) SELECT txid_current(), 'people:email:' || lower(after."email") FROM new_rows AS after; RETURN NULL; END $$;
CREATE TRIGGER cache_people_update AFTER UPDATE ON people REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.cache_people();
-- then
ALTER TABLE "people" DISABLE TRIGGER cache_people_update;
-- M57 M04: a key is called otherwise
-- given
CREATE TABLE people (id uuid PRIMARY KEY, version bigint, email text);
CREATE FUNCTION public.cache_people() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.cache_outbox (tx, keys) SELECT txid_current(), 'people:email:' || lower(after."email") FROM new_rows AS after; RETURN NULL; END $$;
CREATE TRIGGER cache_people_update AFTER UPDATE ON people REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.cache_people();
-- then
ALTER TABLE people RENAME COLUMN email TO address;
-- M57 M01: a key goes
-- given
CREATE TABLE people (id uuid PRIMARY KEY, version bigint, email text);
CREATE FUNCTION public.cache_people() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.cache_outbox (tx, keys) SELECT txid_current(), 'people:email:' || lower(after."email") FROM new_rows AS after; RETURN NULL; END $$;
CREATE TRIGGER cache_people_update AFTER UPDATE ON people REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.cache_people();
-- then
ALTER TABLE people DROP COLUMN email;
-- M57 M05: the table is called otherwise
-- given
CREATE TABLE people (id uuid PRIMARY KEY, version bigint, email text);
CREATE FUNCTION public.cache_people() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.cache_outbox (tx, keys) SELECT txid_current(), 'people:email:' || lower(after."email") FROM new_rows AS after; RETURN NULL; END $$;
CREATE TRIGGER cache_people_update AFTER UPDATE ON people REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.cache_people();
-- then
ALTER TABLE people RENAME TO persons;
-- M01: what is no key
-- given
CREATE TABLE people (id uuid PRIMARY KEY, version bigint, email text, bio text);
CREATE FUNCTION public.cache_people() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.cache_outbox (tx, keys) SELECT txid_current(), 'people:email:' || lower(after."email") FROM new_rows AS after; RETURN NULL; END $$;
CREATE TRIGGER cache_people_update AFTER UPDATE ON people REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.cache_people();
-- then
ALTER TABLE people DROP COLUMN bio;
-- safe: its triggers are made anew
-- given
CREATE TABLE people (id uuid PRIMARY KEY, version bigint, email text);
CREATE FUNCTION public.cache_people() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.cache_outbox (tx, keys) SELECT txid_current(), 'people:email:' || lower(after."email") FROM new_rows AS after; RETURN NULL; END $$;
CREATE TRIGGER cache_people_update AFTER UPDATE ON people REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.cache_people();
-- then
DROP TRIGGER cache_people_update ON people;
CREATE TRIGGER cache_people_update AFTER UPDATE ON people REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.cache_people();
-- safe: another trigger goes
DROP TRIGGER IF EXISTS touch_updated_at ON users;

-- M59: everybody
GRANT SELECT ON users TO PUBLIC;
-- M59: everything to everybody
GRANT ALL PRIVILEGES ON ALL TABLES IN SCHEMA public TO public;
-- M59: small letters
grant select, insert on table app.users to public;
-- M59: rows are no longer kept apart
ALTER TABLE users DISABLE ROW LEVEL SECURITY;
-- M59: nor from their owner
ALTER TABLE users NO FORCE ROW LEVEL SECURITY;
-- M59: where tables are granted by hand, a new one is too
-- given
CREATE TABLE people (id uuid PRIMARY KEY);
GRANT SELECT, INSERT, UPDATE, DELETE ON people TO app;
-- then
CREATE TABLE pets (id uuid PRIMARY KEY);
-- M59: where rows are kept apart, those of a new table are too
-- given
CREATE TABLE people (id uuid PRIMARY KEY);
ALTER TABLE people ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON people USING (id::text = current_setting('app.user'));
-- then
CREATE TABLE pets (id uuid PRIMARY KEY, name text);
-- safe: granted
-- given
CREATE TABLE people (id uuid PRIMARY KEY);
GRANT SELECT, INSERT, UPDATE, DELETE ON people TO app;
-- then
CREATE TABLE pets (id uuid PRIMARY KEY);
GRANT SELECT, INSERT, UPDATE, DELETE ON pets TO app;
-- safe: a role
GRANT SELECT ON users TO reporter;
-- safe: for all tables to come
ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA public GRANT SELECT ON TABLES TO reporter;
-- safe: taken back
REVOKE ALL ON SCHEMA public FROM PUBLIC;
-- safe: rows are kept apart
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
-- safe: a policy
CREATE POLICY own ON users FOR SELECT TO app USING (id = current_setting('app.user')::uuid);
