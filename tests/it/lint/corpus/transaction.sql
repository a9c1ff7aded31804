-- M29: another table afterwards
ALTER TABLE users ADD COLUMN bio text;
ALTER TABLE orders ADD COLUMN note text;
-- M29: a look at everything afterwards
ALTER TABLE users ADD COLUMN bio text;
SELECT count(*) FROM orders;
-- M29 M10: an index afterwards
ALTER TABLE users ADD COLUMN bio text;
CREATE INDEX ix_users_name ON users (name);
-- M29: rows afterwards
ALTER TABLE plans ADD COLUMN price bigint;
INSERT INTO plans (name, price) VALUES ('free', 0);
-- M29 M01: two columns go
ALTER TABLE users DROP COLUMN bio;
ALTER TABLE orders DROP COLUMN note;
-- M29: a trigger goes, and another table changes
DROP TRIGGER touch ON users;
ALTER TABLE orders ADD COLUMN note text;
-- M29: small letters
alter table users add column bio text;
alter table orders add column note text;
-- M29: a lock is taken by hand
LOCK TABLE users IN ACCESS EXCLUSIVE MODE;
SELECT count(*) FROM users;
-- M29: a lock is taken by hand, which is the strongest by default
LOCK users;
SELECT count(*) FROM users;
-- M29: a new table afterwards, with rows
ALTER TABLE users ADD COLUMN plan_id uuid;
CREATE TABLE plans (id uuid PRIMARY KEY, name text);
INSERT INTO plans SELECT gen_random_uuid(), name FROM old_plans;
-- safe: only what belongs to it
ALTER TABLE users ADD COLUMN bio text;
COMMENT ON COLUMN users.bio IS 'what they tell';
-- safe: the weak lock first, the strong one last
INSERT INTO plans (name) VALUES ('free');
ALTER TABLE users ADD COLUMN bio text;
-- safe: outside a transaction each statement is its own
-- no transaction
ALTER TABLE users ADD COLUMN IF NOT EXISTS bio text;
ALTER TABLE orders ADD COLUMN IF NOT EXISTS note text;
-- safe: a new table locks nobody out
CREATE TABLE plans (id uuid PRIMARY KEY, name text);
INSERT INTO plans (id, name) VALUES (gen_random_uuid(), 'free');
CREATE INDEX ix_plans_name ON plans (name);
-- safe: a new table, and then a change
CREATE TABLE plans (id uuid PRIMARY KEY, name text);
ALTER TABLE users ADD COLUMN plan_id uuid;
-- safe: a weaker lock by hand
LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE;
SELECT count(*) FROM users;

-- M30: without end
SET lock_timeout = 0;
-- M30: without end, as a text
SET lock_timeout TO '0';
-- M30: without end, for this transaction
SET LOCAL lock_timeout = '0s';
-- M30: back to what it was, which is without end
RESET lock_timeout;
-- M30: the default
SET SESSION lock_timeout TO DEFAULT;
-- M30: small letters
set local lock_timeout to 0;
-- M30: by a function
SELECT set_config('lock_timeout', '0', true);
-- M30 M31: everything
RESET ALL;
-- safe: two seconds
SET lock_timeout = '2s';
-- safe: in milliseconds
SET LOCAL lock_timeout = 2000;

-- M31: without end
SET statement_timeout = 0;
-- M31: without end, as a text
SET LOCAL statement_timeout TO '0';
-- M31: back to what it was
RESET statement_timeout;
-- M31: the default
SET statement_timeout = DEFAULT;
-- M31: small letters
set session statement_timeout to 0;
-- M31: by a function, as a dump has it
SELECT pg_catalog.set_config('statement_timeout', '0', false);
-- safe: a minute
SET statement_timeout = '60s';
-- safe: another setting
SET client_min_messages = warning;
-- safe: another setting goes back
RESET client_min_messages;

-- M32: two columns
ALTER TABLE users ADD COLUMN bio text;
ALTER TABLE users ADD COLUMN age bigint;
-- M32: quoted once, and once not
ALTER TABLE "users" ADD COLUMN bio text;
alter table users alter column bio set default '';
-- M32: with the schema once, and once without
ALTER TABLE public.users ADD COLUMN bio text;
ALTER TABLE users ADD COLUMN age bigint;
-- M32: three
ALTER TABLE users ADD COLUMN a text;
ALTER TABLE users ADD COLUMN b text;
ALTER TABLE users ADD COLUMN c text;
-- M32 M33: a column changes twice
ALTER TABLE users ALTER COLUMN name DROP DEFAULT;
ALTER TABLE users ALTER COLUMN name DROP NOT NULL;
-- M32: outside a transaction
-- no transaction
ALTER TABLE users ADD COLUMN IF NOT EXISTS bio text;
ALTER TABLE users ADD COLUMN IF NOT EXISTS age bigint;
-- M32: in a block
DO $$ BEGIN
    ALTER TABLE users ADD COLUMN bio text;
    ALTER TABLE users ADD COLUMN age bigint;
END $$;
-- safe: in one
ALTER TABLE users ADD COLUMN bio text, ADD COLUMN age bigint;
-- safe: on a table that is made here
CREATE TABLE people (id uuid PRIMARY KEY);
ALTER TABLE people ADD COLUMN a text;
ALTER TABLE people ADD COLUMN b text;

-- M46: begun again
BEGIN;
ALTER TABLE users ADD COLUMN bio text;
COMMIT;
-- M46: in the words of the standard
START TRANSACTION;
ALTER TABLE users ADD COLUMN bio text;
COMMIT WORK;
-- M46: ended early
ALTER TABLE users ADD COLUMN bio text;
COMMIT;
-- M46: taken back
SELECT 1;
ROLLBACK;
-- M46: never ended
BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE;
SELECT 1;
-- M46: small letters
begin;
select 1;
end;
-- M46: taken back, in other words
SELECT 1;
ABORT;
-- safe: a block has words like these
DO $$ BEGIN NULL; END $$;
-- safe: a function has words like these
CREATE FUNCTION one() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END; $$;
-- safe: a part may be taken back
SAVEPOINT before;
SELECT 1;
RELEASE SAVEPOINT before;

-- M47: two tables
-- no transaction
CREATE TABLE a (id uuid PRIMARY KEY);
CREATE TABLE b (id uuid PRIMARY KEY);
-- M47: two columns
-- no transaction
ALTER TABLE users ADD COLUMN bio text;
ALTER TABLE orders ADD COLUMN note text;
-- M47: rows would be there twice
-- no transaction
CREATE TABLE IF NOT EXISTS plans (id uuid PRIMARY KEY, name text);
INSERT INTO plans (id, name) VALUES ('6f1c1f0e-0000-7000-8000-000000000001', 'free');
-- M47: a constraint
-- no transaction
ALTER TABLE users ADD CONSTRAINT ck CHECK (age > 0) NOT VALID;
ALTER TABLE orders ADD CONSTRAINT ck CHECK (total > 0) NOT VALID;
-- M47: a trigger
-- no transaction
CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch();
-- M47: an enumeration's value
-- no transaction
ALTER TYPE mood ADD VALUE 'great' AFTER 'happy';
ALTER TYPE mood ADD VALUE IF NOT EXISTS 'greater' AFTER 'great';
-- safe: one statement
-- no transaction
ALTER TABLE users ADD COLUMN bio text;
-- safe: one statement and its settings
-- no transaction
SET lock_timeout = '2s';
ALTER TABLE users ADD COLUMN bio text;
-- safe: again and again
-- no transaction
CREATE TABLE IF NOT EXISTS a (id uuid PRIMARY KEY);
CREATE TABLE IF NOT EXISTS b (id uuid PRIMARY KEY);
-- safe: rows only once
-- no transaction
CREATE TABLE IF NOT EXISTS plans (id uuid PRIMARY KEY, name text);
INSERT INTO plans (id, name) VALUES ('6f1c1f0e-0000-7000-8000-000000000001', 'free') ON CONFLICT DO NOTHING;
