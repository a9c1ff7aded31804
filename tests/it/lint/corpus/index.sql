-- M10: the usual form
CREATE INDEX ix_users_email ON users (email);
-- M10: unique
CREATE UNIQUE INDEX uq_users_email ON users (email);
-- M10: IF NOT EXISTS
CREATE INDEX IF NOT EXISTS ix_users_email ON users (email);
-- M10: without a name
CREATE INDEX ON users (email);
-- M10: quoted, in a schema
CREATE INDEX "ix_users_email" ON "app"."users" ("email");
-- M10: small letters
create index ix_users_email on users (email);
-- M10: a method
CREATE INDEX ix_posts_body ON posts USING gin (to_tsvector('english', body));
-- M10: on an expression
CREATE UNIQUE INDEX uq_users_email ON users (lower(email));
-- M10: of some rows
CREATE INDEX ix_jobs_open ON jobs (created_at DESC NULLS LAST) WHERE done_at IS NULL;
-- M10: with more columns
CREATE INDEX ix_users_email ON users (email) INCLUDE (name, age);
-- M10: with an operator class and settings
CREATE INDEX ix_users_name ON users USING gin (name gin_trgm_ops) WITH (fastupdate = off);
-- M10: with a collation
CREATE INDEX ix_users_name ON users (name COLLATE "C" text_pattern_ops) TABLESPACE fast;
-- M10: comments in between
CREATE /* not unique */ INDEX ix_users_email -- for logins
  ON users (email);
-- M10: in a block
DO $$ BEGIN CREATE INDEX IF NOT EXISTS ix_users_email ON users (email); END $$;
-- M10: said dynamically
DO $$ BEGIN EXECUTE 'CREATE INDEX ix_users_email ON users (email)'; END $$;
-- M10: on another table than the one that is made here
CREATE TABLE posts (id uuid PRIMARY KEY);
CREATE INDEX ix_users_email ON users (email);
-- M10: on a materialized view
CREATE UNIQUE INDEX uq_daily_totals_day ON daily_totals (day);
-- M10: NULLs are alike
CREATE UNIQUE INDEX uq_users_email ON users (email) NULLS NOT DISTINCT;
-- safe: on a table that is made here
CREATE TABLE posts (id uuid PRIMARY KEY, title text);
CREATE INDEX ix_posts_title ON posts (title);
-- safe: on a table that is made here, spelled otherwise
CREATE TABLE "posts" (id uuid PRIMARY KEY, title text);
create unique index on PUBLIC.Posts (title);
-- safe: on the parent only
CREATE INDEX ix_events_at ON ONLY events (at);
-- safe: on a materialized view that is made here
CREATE MATERIALIZED VIEW totals AS SELECT day, sum(amount) AS amount FROM sales GROUP BY day;
CREATE UNIQUE INDEX uq_totals_day ON totals (day);
-- safe: on a temporary table
CREATE TEMP TABLE staged (id bigint);
CREATE INDEX ON staged (id);

-- M11: an index
CREATE INDEX CONCURRENTLY ix_users_email ON users (email);
-- M11: IF NOT EXISTS
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS uq_users_email ON users (email);
-- M11: an index goes
DROP INDEX CONCURRENTLY ix_users_email;
-- M11: IF EXISTS, in a schema
DROP INDEX CONCURRENTLY IF EXISTS public.ix_users_email;
-- M11: made anew
REINDEX INDEX CONCURRENTLY ix_users_email;
-- M11: a partition
ALTER TABLE events DETACH PARTITION events_2020 CONCURRENTLY;
-- M11: small letters
create index concurrently ix_users_email on users (email);
-- M11: options in parentheses
REINDEX (CONCURRENTLY) TABLE users;
-- M11: VACUUM
VACUUM ANALYZE users;
-- M11: a setting of the server
ALTER SYSTEM SET work_mem = '64MB';
-- M11: a database
CREATE DATABASE reports;
-- M11: with others, even outside a transaction
-- no transaction
SET lock_timeout = '2s';
DROP INDEX CONCURRENTLY IF EXISTS ix_users_email;
CREATE INDEX CONCURRENTLY ix_users_email ON users (email);
ALTER TABLE users ADD COLUMN IF NOT EXISTS bio text;
-- M11: two indexes at once
-- no transaction
DROP INDEX CONCURRENTLY IF EXISTS ix_users_email;
CREATE INDEX CONCURRENTLY ix_users_email ON users (email);
DROP INDEX CONCURRENTLY IF EXISTS ix_users_name;
CREATE INDEX CONCURRENTLY ix_users_name ON users (name);
-- safe: alone, what is left of an earlier attempt removed first
-- no transaction
DROP INDEX CONCURRENTLY IF EXISTS ix_users_email;
CREATE INDEX CONCURRENTLY ix_users_email ON users (email);
-- safe: unique, in a schema
-- no transaction
DROP INDEX CONCURRENTLY IF EXISTS app.uq_users_email;
CREATE UNIQUE INDEX CONCURRENTLY uq_users_email ON app.users (email);
-- safe: an index goes
-- no transaction
DROP INDEX CONCURRENTLY IF EXISTS ix_users_email;
-- safe: made anew
-- no transaction
REINDEX INDEX CONCURRENTLY ix_users_email;
-- safe: made anew, options in parentheses
-- no transaction
REINDEX (VERBOSE, CONCURRENTLY) INDEX public.ix_users_email;
-- safe: VACUUM
-- no transaction
VACUUM (ANALYZE) users;
-- safe: statistics may be made anywhere
ANALYZE users;
-- safe: a materialized view may be refreshed anywhere
REFRESH MATERIALIZED VIEW CONCURRENTLY daily_totals;

-- M12: the usual form
DROP INDEX ix_users_email;
-- M12: IF EXISTS
DROP INDEX IF EXISTS ix_users_email;
-- M12: several
DROP INDEX ix_users_email, ix_users_name;
-- M12: quoted, in a schema
DROP INDEX IF EXISTS "app"."ix_users_email" CASCADE;
-- M12: small letters
drop index ix_users_email restrict;
-- M12: in a block
DO $$ BEGIN DROP INDEX IF EXISTS ix_users_email; END $$;
-- M12: a comment in between
DROP /* at last */ INDEX ix_users_email;
-- safe: made by the same migration
CREATE TABLE posts (id uuid PRIMARY KEY, title text);
CREATE INDEX ix_posts_title ON posts (title);
DROP INDEX ix_posts_title;

-- M13: an index
REINDEX INDEX ix_users_email;
-- M13: a table
REINDEX TABLE users;
-- M13: in a schema, quoted
REINDEX TABLE "app"."users";
-- M13: with a word
REINDEX (VERBOSE) TABLE users;
-- M13: switched off
REINDEX (CONCURRENTLY FALSE) TABLE users;
-- M13: small letters
reindex index ix_users_email;
-- M13 M11: a whole schema, which takes its own transactions
REINDEX SCHEMA public;
-- M13 M11: all of it
REINDEX DATABASE app;
-- M13: outside a transaction
-- no transaction
REINDEX SYSTEM app;

-- M14: an attempt that failed leaves it invalid, and IF NOT EXISTS takes it for made
-- no transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_users_email ON users (email);
-- M14: an attempt that failed keeps the next one from succeeding
-- no transaction
CREATE INDEX CONCURRENTLY ix_users_email ON users (email);
-- M14: unique
-- no transaction
CREATE UNIQUE INDEX CONCURRENTLY uq_users_email ON users (email);
-- M14: quoted, in a schema
-- no transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS "ix" ON "app"."users" USING btree ("email");
-- M14: small letters, of some rows
-- no transaction
create index concurrently if not exists ix_jobs_open on jobs (id) where done_at is null;
-- M14: without a name there is nothing to look for
-- no transaction
CREATE INDEX CONCURRENTLY ON users (email);
-- M11 M14: another one is removed
-- no transaction
DROP INDEX CONCURRENTLY IF EXISTS ix_users_name;
CREATE INDEX CONCURRENTLY ix_users_email ON users (email);

-- M10 M12 M16 M29: another one in its place
-- given
CREATE TABLE people (id uuid PRIMARY KEY, email text);
CREATE INDEX ix_people_email ON people (email);
-- then
DROP INDEX ix_people_email;
CREATE UNIQUE INDEX ix_people_email ON people (email);
-- M10 M16: on the same columns
-- given
CREATE TABLE people (id uuid PRIMARY KEY, email text);
CREATE INDEX ix_people_email ON people (email);
-- then
CREATE UNIQUE INDEX uq_people_email ON people (email);
-- M16 M10: on the same columns, quoted
-- given
CREATE TABLE people (id uuid PRIMARY KEY, tenant uuid, email text);
CREATE INDEX ix_people_email ON people (tenant, email);
-- then
CREATE UNIQUE INDEX "uq_people_email" ON "people" ("tenant", "email");
-- M16: without a lock
-- given
CREATE TABLE people (id uuid PRIMARY KEY, email text);
CREATE INDEX ix_people_email ON people (email);
-- then
-- no transaction
DROP INDEX CONCURRENTLY IF EXISTS uq_people_email;
CREATE UNIQUE INDEX CONCURRENTLY uq_people_email ON people (email);
-- M16 M10: after a look that looks at another table
-- given
CREATE TABLE people (id uuid PRIMARY KEY, email text);
CREATE INDEX ix_people_email ON people (email);
-- then
DO $$ BEGIN IF EXISTS (SELECT 1 FROM posts GROUP BY title HAVING count(*) > 1) THEN RAISE EXCEPTION 'twice'; END IF; END $$;
CREATE UNIQUE INDEX uq_people_email ON people (email);
-- M10: after a look that is in the same migration
-- given
CREATE TABLE people (id uuid PRIMARY KEY, email text);
CREATE INDEX ix_people_email ON people (email);
-- then
DO $$ BEGIN IF EXISTS (SELECT 1 FROM people GROUP BY email HAVING count(*) > 1) THEN RAISE EXCEPTION 'twice'; END IF; END $$;
CREATE UNIQUE INDEX uq_people_email ON people (email);
-- M10: on other columns
-- given
CREATE TABLE people (id uuid PRIMARY KEY, email text, name text);
CREATE INDEX ix_people_email ON people (email);
-- then
CREATE UNIQUE INDEX uq_people_name ON people (name);

-- M50 M10: four columns
CREATE INDEX ix_orders_all ON orders (a, b, c, d);
-- M50: on a new table
CREATE TABLE orders (id uuid PRIMARY KEY, a text, b text, c text, d text);
CREATE INDEX ix_orders_all ON orders (a, b, c, d);
-- M50 M14: without a lock
-- no transaction
CREATE INDEX CONCURRENTLY ix_orders_all ON orders (a, b, c, d, e);
-- M50 M10: quoted
CREATE INDEX "ix" ON "orders" ("a", "b", "c", "d");
-- M50: expressions count too
CREATE TABLE orders (id uuid PRIMARY KEY, a text, b text, c text, d text);
CREATE INDEX ON orders (lower(a), coalesce(b, c), d DESC, (a || b));
-- M50 M10: small letters
create index if not exists ix on orders using btree (a, b, c, d);
-- safe: three
CREATE TABLE orders (id uuid PRIMARY KEY, a text, b text, c text);
CREATE INDEX ix_orders_all ON orders (a, b, c);
-- safe: what is only carried along does not count
CREATE TABLE orders (id uuid PRIMARY KEY, a text, b text, c text);
CREATE INDEX ix_orders_a ON orders (a) INCLUDE (b, c, id);
-- safe: unique
CREATE TABLE orders (id uuid PRIMARY KEY, a text, b text, c text, d text);
CREATE UNIQUE INDEX uq_orders_all ON orders (a, b, c, d);
-- safe: one expression with commas
CREATE TABLE orders (id uuid PRIMARY KEY, a text, b text, c text, d text);
CREATE INDEX ix_orders_any ON orders (coalesce(a, b, c, d));
