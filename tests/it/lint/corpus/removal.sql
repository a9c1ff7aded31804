-- M01: the usual form
ALTER TABLE users DROP COLUMN nickname;
-- M01: without the noise word
ALTER TABLE users DROP nickname;
-- M01: IF EXISTS
ALTER TABLE users DROP COLUMN IF EXISTS nickname;
-- M01: twice IF EXISTS, with CASCADE
ALTER TABLE IF EXISTS users DROP COLUMN IF EXISTS nickname CASCADE;
-- M01: quoted
ALTER TABLE "users" DROP COLUMN "nickname";
-- M01: quoted, in capitals
ALTER TABLE "Users" DROP COLUMN "NickName" RESTRICT;
-- M01: in a schema
ALTER TABLE public.users DROP COLUMN nickname;
-- M01: in a quoted schema
ALTER TABLE "app"."users" DROP COLUMN "nickname";
-- M01: ONLY
ALTER TABLE ONLY public.users DROP COLUMN nickname;
-- M01: small letters
alter table users drop column nickname;
-- M01: mixed letters and white space
Alter   Table
    users
	Drop Column nickname ;
-- M01: comments in between
ALTER TABLE users /* the people */ DROP -- the name
  COLUMN nickname;
-- M01: several actions
ALTER TABLE users ADD COLUMN bio text, DROP COLUMN nickname;
-- M01: several drops
ALTER TABLE users DROP COLUMN nickname, DROP COLUMN bio, DROP age;
-- M01: a column that is called like a word of the language
ALTER TABLE orders DROP COLUMN "order";
-- M01: a name that is no reserved word
ALTER TABLE orders DROP COLUMN comment;
-- M01: in a block
DO $$ BEGIN ALTER TABLE users DROP COLUMN nickname; END $$;
-- M01: in a block with a condition
DO $body$
BEGIN
    IF EXISTS (SELECT 1 FROM information_schema.columns WHERE table_name = 'users' AND column_name = 'nickname') THEN
        ALTER TABLE users DROP COLUMN nickname;
    END IF;
END
$body$;
-- M01: in a block, said dynamically
DO $$ BEGIN EXECUTE 'ALTER TABLE users DROP COLUMN nickname'; END $$ LANGUAGE plpgsql;
-- M01: a type takes its columns along
DROP TYPE mood CASCADE;
-- M01: so does a domain
DROP DOMAIN IF EXISTS email_address CASCADE;
-- M01: and an extension
DROP EXTENSION IF EXISTS citext CASCADE;
-- M01: a foreign table's
ALTER FOREIGN TABLE remote_users DROP COLUMN nickname;
-- M01: the star of old
ALTER TABLE users * DROP COLUMN nickname;
-- safe: added by the same migration
ALTER TABLE users ADD COLUMN draft text;
-- safe: a column of a table that is made here
CREATE TABLE drafts (id uuid PRIMARY KEY, body text, note text);
ALTER TABLE drafts DROP COLUMN note;
-- safe: a default goes, not the column
ALTER TABLE users ALTER COLUMN nickname DROP DEFAULT;
-- safe: the words stand in a text
COMMENT ON COLUMN users.nickname IS 'ALTER TABLE users DROP COLUMN nickname; one day';
-- safe: the words stand in a comment
/* ALTER TABLE users DROP COLUMN nickname; */ SELECT 1;
-- safe: the words stand in a nested comment
/* a /* b */ DROP TABLE users; */ SELECT 1;
-- safe: a type without what uses it
DROP TYPE IF EXISTS mood;

-- M02: the usual form
DROP TABLE invoices;
-- M02: IF EXISTS
DROP TABLE IF EXISTS invoices;
-- M02: several
DROP TABLE invoices, invoice_lines;
-- M02: CASCADE
DROP TABLE invoices CASCADE;
-- M02: in a schema, quoted
DROP TABLE IF EXISTS "billing"."Invoices" RESTRICT;
-- M02: small letters
drop table invoices;
-- M02: a comment first
-- no longer used
DROP TABLE invoices;
-- M02: in a block
DO $$ BEGIN DROP TABLE IF EXISTS invoices; END $$;
-- M02: a view, which is read like a table
DROP VIEW active_users;
-- M02: IF EXISTS, CASCADE
DROP VIEW IF EXISTS reporting.active_users CASCADE;
-- M02: a materialized view
DROP MATERIALIZED VIEW IF EXISTS daily_totals;
-- M02: a foreign table
DROP FOREIGN TABLE remote_users;
-- M02: another than the one that is made here
CREATE TABLE receipts (id uuid PRIMARY KEY);
DROP TABLE invoices;
-- safe: made by the same migration
CREATE TABLE scratch_rows (id bigint);
DROP TABLE scratch_rows;
-- safe: temporary
CREATE TEMPORARY TABLE staged (id bigint);
DROP TABLE staged;
-- safe: temporary, of a query
CREATE TEMP TABLE staged AS SELECT 1 AS id;
DROP TABLE IF EXISTS staged;

-- M03: a schema
DROP SCHEMA reporting;
-- M03: with everything
DROP SCHEMA IF EXISTS reporting CASCADE;
-- M03: several, quoted
DROP SCHEMA "reporting", "archive" CASCADE;
-- M03: small letters
drop schema public cascade;
-- M03: what a role owns
DROP OWNED BY former_app CASCADE;
-- M03: a database, outside a transaction
-- no transaction
DROP DATABASE IF EXISTS old_app;
-- M03 M11: a database, and in a transaction that is no statement
DROP DATABASE old_app;
-- M03: in a block
DO $$ BEGIN DROP SCHEMA reporting CASCADE; END $$;
-- safe: a schema is made
CREATE SCHEMA IF NOT EXISTS reporting;
-- safe: a schema is made for a role
CREATE SCHEMA reporting AUTHORIZATION reporter;
-- safe: made here, and gone
CREATE SCHEMA scratch;
DROP SCHEMA scratch;

-- M42: with everything that refers to it
TRUNCATE TABLE users CASCADE;
-- M42: several tables
TRUNCATE users, orders CASCADE;
-- M42: numbers from the start
truncate table only public.users restart identity cascade;
-- M42: in a block
DO $$ BEGIN TRUNCATE users CASCADE; END $$;
-- M42: also without CASCADE everything is gone
TRUNCATE TABLE sessions;
-- M42: quoted
TRUNCATE "Sessions" RESTART IDENTITY;
-- safe: made by the same migration
CREATE TABLE staged (id bigint);
TRUNCATE staged;

-- M02 M52: made anew
DROP TABLE IF EXISTS invoices;
CREATE TABLE invoices (id uuid PRIMARY KEY);
-- M02 M52: made anew, in a schema
DROP TABLE IF EXISTS billing.invoices CASCADE;
CREATE TABLE IF NOT EXISTS billing.invoices (id uuid PRIMARY KEY);
-- M02 M52: quoted once, and once not
DROP TABLE IF EXISTS "invoices";
create table invoices (id uuid primary key);
-- M02 M52: with the schema once, and once without
DROP TABLE IF EXISTS invoices;
CREATE TABLE public.invoices (id uuid PRIMARY KEY);
-- M02 M52: of a query
DROP TABLE IF EXISTS totals;
CREATE TABLE totals AS SELECT 1 AS id;
-- safe: made if it is not there
CREATE TABLE IF NOT EXISTS invoices (id uuid PRIMARY KEY);
-- safe: a view is replaced
CREATE OR REPLACE VIEW active_users AS SELECT id FROM users WHERE active;

-- M53: a foreign key
ALTER TABLE orders DROP CONSTRAINT orders_user_id_fkey;
-- M53: IF EXISTS
ALTER TABLE orders DROP CONSTRAINT IF EXISTS fk_orders_user_id;
-- M53: a unique one
ALTER TABLE ONLY public.users DROP CONSTRAINT users_email_key;
-- M53: quoted, CASCADE
alter table "users" drop constraint "uq_users_email" cascade;
-- M53: a primary key
ALTER TABLE users DROP CONSTRAINT users_pkey;
-- M53: among others
ALTER TABLE users ADD COLUMN bio text, DROP CONSTRAINT users_email_key;
-- M53: in a block
DO $$ BEGIN ALTER TABLE users DROP CONSTRAINT IF EXISTS users_email_key; END $$;
-- M53: known to be a foreign key, whatever it is called
-- given
CREATE TABLE parents (id uuid PRIMARY KEY);
CREATE TABLE children (id uuid PRIMARY KEY, parent_id uuid, CONSTRAINT belongs FOREIGN KEY (parent_id) REFERENCES parents (id));
CREATE INDEX ON children (parent_id);
-- then
ALTER TABLE children DROP CONSTRAINT belongs;
-- M53: known to be unique
-- given
CREATE TABLE people (id uuid PRIMARY KEY, email text CONSTRAINT one_each UNIQUE);
-- then
ALTER TABLE people DROP CONSTRAINT one_each;
-- safe: a check
ALTER TABLE users DROP CONSTRAINT users_age_check;
-- safe: the check that stood in for NOT NULL
ALTER TABLE users DROP CONSTRAINT users_name_not_null;
-- safe: known to be a check
-- given
CREATE TABLE people (id uuid PRIMARY KEY, age bigint CONSTRAINT grown CHECK (age >= 18));
-- then
ALTER TABLE people DROP CONSTRAINT grown;
-- safe: made by the same migration
CREATE TABLE people (id uuid PRIMARY KEY, email text, CONSTRAINT people_email_key UNIQUE (email));
ALTER TABLE people DROP CONSTRAINT people_email_key;
