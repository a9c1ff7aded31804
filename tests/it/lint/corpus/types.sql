-- M08: to a wider number
ALTER TABLE users ALTER COLUMN age TYPE bigint;
-- M08: in the words of the standard
ALTER TABLE users ALTER COLUMN age SET DATA TYPE bigint;
-- M08: without the noise word
ALTER TABLE users ALTER age TYPE numeric(12, 2);
-- M08: with an expression
ALTER TABLE users ALTER COLUMN age TYPE bigint USING age::bigint;
-- M08: quoted, in a schema
ALTER TABLE "app"."users" ALTER COLUMN "Age" TYPE bigint;
-- M08: IF EXISTS, ONLY
ALTER TABLE IF EXISTS ONLY users ALTER COLUMN age SET DATA TYPE bigint;
-- M08: small letters
alter table users alter column age type bigint using (age::bigint);
-- M08: text to a UUID
ALTER TABLE users ALTER COLUMN token TYPE uuid USING token::uuid;
-- M08: to jsonb
ALTER TABLE users ALTER COLUMN profile TYPE jsonb USING profile::jsonb;
-- M08: to an enumeration
ALTER TABLE users ALTER COLUMN status TYPE user_status USING status::text::user_status;
-- M08: several
ALTER TABLE users ALTER COLUMN age TYPE bigint, ALTER COLUMN height TYPE double precision;
-- M08: among others
ALTER TABLE users ADD COLUMN bio text, ALTER COLUMN age TYPE bigint;
-- M08: another collation
ALTER TABLE users ALTER COLUMN name TYPE text COLLATE "C";
-- M08: an array
ALTER TABLE users ALTER COLUMN tags TYPE text[] USING string_to_array(tags, ',');
-- M08: in a block
DO $$ BEGIN ALTER TABLE users ALTER COLUMN age TYPE bigint; END $$;
-- M08 M37: shorter
-- given
CREATE TABLE people (id uuid PRIMARY KEY, name text);
-- then
ALTER TABLE people ALTER COLUMN name TYPE varchar(50);
-- M08 M37: a shorter limit
-- given
CREATE TABLE people (id uuid PRIMARY KEY, name varchar(100));
-- then
ALTER TABLE people ALTER COLUMN name TYPE varchar(50);
-- M08: a wider integer, known
-- given
CREATE TABLE people (id uuid PRIMARY KEY, age integer);
-- then
ALTER TABLE people ALTER COLUMN age TYPE bigint;
-- M08: another scale
-- given
CREATE TABLE prices (id uuid PRIMARY KEY, amount numeric(10, 2));
-- then
ALTER TABLE prices ALTER COLUMN amount TYPE numeric(12, 4);
-- M08: less precise
-- given
CREATE TABLE prices (id uuid PRIMARY KEY, amount numeric(10, 2));
-- then
ALTER TABLE prices ALTER COLUMN amount TYPE numeric(8, 2);
-- M08: a time zone, of a session whose zone is not known
-- given
CREATE TABLE events (id uuid PRIMARY KEY, at timestamp);
-- then
ALTER TABLE events ALTER COLUMN at TYPE timestamptz;
-- M08 M38: and back
-- given
CREATE TABLE events (id uuid PRIMARY KEY, at timestamptz);
-- then
ALTER TABLE events ALTER COLUMN at TYPE timestamp;
-- M08: padded text
-- given
CREATE TABLE countries (id uuid PRIMARY KEY, code char(2));
-- then
ALTER TABLE countries ALTER COLUMN code TYPE text;
-- M08: an expression makes a rewrite of what would be none
-- given
CREATE TABLE people (id uuid PRIMARY KEY, name varchar(50));
-- then
ALTER TABLE people ALTER COLUMN name TYPE text USING lower(name);
-- safe: without a limit
-- given
CREATE TABLE people (id uuid PRIMARY KEY, name varchar(50));
-- then
ALTER TABLE people ALTER COLUMN name TYPE text;
-- safe: without a limit, in other words
-- given
CREATE TABLE people (id uuid PRIMARY KEY, name character varying(50));
-- then
ALTER TABLE "people" ALTER "name" SET DATA TYPE varchar;
-- M37: a longer limit is no rewrite, but still a limit
-- given
CREATE TABLE people (id uuid PRIMARY KEY, name varchar(50));
-- then
ALTER TABLE people ALTER COLUMN name TYPE varchar(100);
-- safe: more precise
-- given
CREATE TABLE prices (id uuid PRIMARY KEY, amount numeric(10, 2));
-- then
ALTER TABLE prices ALTER COLUMN amount TYPE numeric(14, 2);
-- safe: as precise as can be
-- given
CREATE TABLE prices (id uuid PRIMARY KEY, amount decimal(10, 2));
-- then
ALTER TABLE prices ALTER COLUMN amount TYPE numeric;
-- safe: networks become addresses
-- given
CREATE TABLE hosts (id uuid PRIMARY KEY, net cidr);
-- then
ALTER TABLE hosts ALTER COLUMN net TYPE inet;
-- safe: a finer time
-- given
CREATE TABLE events (id uuid PRIMARY KEY, at timestamptz(3));
-- then
ALTER TABLE events ALTER COLUMN at TYPE timestamptz(6);
-- safe: a time zone, in UTC
-- given
CREATE TABLE events (id uuid PRIMARY KEY, at timestamp);
-- then
SET LOCAL timezone = 'UTC';
ALTER TABLE events ALTER COLUMN at TYPE timestamptz;
-- safe: a time zone, in UTC, in the words of the standard
-- given
CREATE TABLE events (id uuid PRIMARY KEY, at timestamp without time zone);
-- then
SET TIME ZONE 'UTC';
ALTER TABLE events ALTER COLUMN at TYPE timestamp with time zone;
-- safe: the table is made here
CREATE TABLE people (id uuid PRIMARY KEY, age bigint);
ALTER TABLE people ALTER COLUMN age TYPE numeric;
-- safe: the same type
-- given
CREATE TABLE people (id uuid PRIMARY KEY, age bigint);
-- then
ALTER TABLE people ALTER COLUMN age TYPE int8;

-- M08 M09: with an index
-- given
CREATE TABLE people (id uuid PRIMARY KEY, age integer);
CREATE INDEX ix_people_age ON people (age);
-- then
ALTER TABLE people ALTER COLUMN age TYPE bigint;
-- M08 M09: with a check
-- given
CREATE TABLE people (id uuid PRIMARY KEY, age integer CHECK (age > 0));
-- then
ALTER TABLE people ALTER COLUMN age TYPE bigint;
-- M09: with a check, though nothing is written anew
-- given
CREATE TABLE people (id uuid PRIMARY KEY, name varchar(50), CONSTRAINT named CHECK (name <> ''));
-- then
ALTER TABLE people ALTER COLUMN name TYPE text;
-- M08 M09: a reference
-- given
CREATE TABLE parents (id bigint PRIMARY KEY);
CREATE TABLE children (id uuid PRIMARY KEY, parent_id integer REFERENCES parents (id));
-- then
ALTER TABLE children ALTER COLUMN parent_id TYPE bigint;
-- M08 M09: unique
-- given
CREATE TABLE people (id uuid PRIMARY KEY, number integer UNIQUE);
-- then
ALTER TABLE people ALTER COLUMN number TYPE bigint;
-- M08 M09: the key itself
-- given
CREATE TABLE people (id integer PRIMARY KEY, name text);
-- then
ALTER TABLE people ALTER COLUMN id TYPE bigint;
-- M08 M09: what another column is made of
-- given
CREATE TABLE boxes (id uuid PRIMARY KEY, width integer, area integer GENERATED ALWAYS AS (width * width) STORED);
-- then
ALTER TABLE boxes ALTER COLUMN width TYPE bigint;
-- M08 M09: an index of a later migration
-- given
CREATE TABLE people (id uuid PRIMARY KEY, age integer);
ALTER TABLE people ADD CONSTRAINT people_age_check CHECK (age < 200);
-- then
ALTER TABLE people ALTER COLUMN age TYPE numeric;
-- M08: the check is on another column
-- given
CREATE TABLE people (id uuid PRIMARY KEY, age integer, name text CHECK (name <> ''));
-- then
ALTER TABLE people ALTER COLUMN age TYPE bigint;

-- M27: a new table
CREATE TABLE events (id uuid PRIMARY KEY, body json NOT NULL);
-- M27: a new column
ALTER TABLE events ADD COLUMN body json;
-- M27: in capitals
ALTER TABLE events ADD COLUMN body JSON;
-- M27: an array of them
CREATE TABLE events (id uuid PRIMARY KEY, bodies json[]);
-- M08 M27: another type
ALTER TABLE events ALTER COLUMN body TYPE json USING body::json;
-- M27: with a default
ALTER TABLE events ADD COLUMN body json DEFAULT '{}'::json;
-- M27: quoted
CREATE TABLE "Events" ("id" uuid PRIMARY KEY, "body" json);
-- M27: in a block
DO $$ BEGIN ALTER TABLE events ADD COLUMN body json; END $$;
-- safe: with an equality
CREATE TABLE events (id uuid PRIMARY KEY, body jsonb NOT NULL);
-- safe: a column that is called so
CREATE TABLE events (id uuid PRIMARY KEY, json text);
-- safe: a cast in a query
SELECT '{}'::json;

-- M35: an integer
CREATE TABLE users (id integer PRIMARY KEY);
-- M35: in short
CREATE TABLE users (id int PRIMARY KEY, name text);
-- M35: in shorter
CREATE TABLE users (id int4 NOT NULL, PRIMARY KEY (id));
-- M35: small
CREATE TABLE users (id smallint PRIMARY KEY);
-- M35: with an identity
CREATE TABLE users (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
-- M35: named
CREATE TABLE users (id integer, CONSTRAINT pk_users PRIMARY KEY (id));
-- M35: one of several
CREATE TABLE memberships (user_id uuid, number integer, PRIMARY KEY (user_id, number));
-- M35: a reference
CREATE TABLE orders (id uuid PRIMARY KEY, user_id integer REFERENCES users (id));
CREATE INDEX ix_orders_user_id ON orders (user_id);
-- M35 M19: a reference that is added
ALTER TABLE orders ADD COLUMN user_id integer REFERENCES users (id);
-- M35: in capitals
CREATE TABLE "Users" ("Id" INTEGER NOT NULL PRIMARY KEY);
-- M35: a sequence
CREATE SEQUENCE order_numbers AS integer;
-- M35 M36: serial
CREATE TABLE users (id serial PRIMARY KEY);
-- M35 M36: serial in other words
CREATE TABLE users (id SERIAL4 NOT NULL, CONSTRAINT pk PRIMARY KEY (id));
-- M35 M36: small serial
CREATE TABLE users (id smallserial PRIMARY KEY);
-- safe: large
CREATE TABLE users (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY);
-- safe: no key
CREATE TABLE users (id uuid PRIMARY KEY, age integer);
-- safe: a large sequence
CREATE SEQUENCE order_numbers AS bigint;
-- safe: a sequence, large by default
CREATE SEQUENCE IF NOT EXISTS order_numbers START WITH 1000 INCREMENT BY 10;

-- M36: large
CREATE TABLE users (id bigserial PRIMARY KEY);
-- M36: in capitals
CREATE TABLE users (id BIGSERIAL NOT NULL, PRIMARY KEY (id));
-- M36: in other words
CREATE TABLE users (id serial8 PRIMARY KEY);
-- M25 M36: a column
ALTER TABLE users ADD COLUMN number bigserial;
-- M36: quoted
CREATE TABLE "users" ("id" bigserial NOT NULL PRIMARY KEY);
-- safe: an identity
CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
-- safe: an identity with options
CREATE TABLE users (id bigint GENERATED BY DEFAULT AS IDENTITY (START WITH 100 CACHE 20) PRIMARY KEY);

-- M37: a new table
CREATE TABLE users (id uuid PRIMARY KEY, name varchar(255) NOT NULL);
-- M37: a new column
ALTER TABLE users ADD COLUMN name varchar(50);
-- M37: in full
ALTER TABLE users ADD COLUMN name character varying(50);
-- M37: padded
CREATE TABLE countries (id uuid PRIMARY KEY, code char(2));
-- M37: padded, in full
CREATE TABLE countries (id uuid PRIMARY KEY, code CHARACTER(2) NOT NULL);
-- M37: padded to one
CREATE TABLE flags (id uuid PRIMARY KEY, flag char);
-- M37: in capitals
CREATE TABLE users (id uuid PRIMARY KEY, name VARCHAR (100));
-- M37: an array of them
CREATE TABLE users (id uuid PRIMARY KEY, names varchar(20)[]);
-- M37: padded, in its own name
CREATE TABLE users (id uuid PRIMARY KEY, code bpchar(3));
-- M37 M08: another type
ALTER TABLE users ALTER COLUMN name TYPE varchar(100);
-- safe: without a limit
CREATE TABLE users (id uuid PRIMARY KEY, name varchar, title character varying, body text);
-- safe: a check in its place
CREATE TABLE users (id uuid PRIMARY KEY, name text, CONSTRAINT ck_users_name CHECK (length(name) <= 50));
-- safe: in a cast
CREATE VIEW short_names AS SELECT name::varchar(10) AS name FROM users;

-- M38: a new table
CREATE TABLE events (id uuid PRIMARY KEY, at timestamp NOT NULL);
-- M38: in full
CREATE TABLE events (id uuid PRIMARY KEY, at timestamp without time zone);
-- M38: with a precision
CREATE TABLE events (id uuid PRIMARY KEY, at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP);
-- M38: with a precision, in full
CREATE TABLE events (id uuid PRIMARY KEY, at timestamp(6) without time zone);
-- M38: a new column
ALTER TABLE events ADD COLUMN at timestamp;
-- M38: IF NOT EXISTS
ALTER TABLE events ADD COLUMN IF NOT EXISTS at timestamp DEFAULT now();
-- M38: in a block
DO $$ BEGIN ALTER TABLE events ADD COLUMN at timestamp; END $$;
-- M38: quoted
ALTER TABLE "Events" ADD COLUMN "At" timestamp;
-- safe: with one
CREATE TABLE events (id uuid PRIMARY KEY, at timestamptz NOT NULL);
-- safe: with one, in full
CREATE TABLE events (id uuid PRIMARY KEY, at timestamp with time zone DEFAULT now());
-- safe: with one and a precision
CREATE TABLE events (id uuid PRIMARY KEY, at timestamp(3) with time zone);
-- safe: a day
ALTER TABLE events ADD COLUMN day date;
-- safe: a column that is called so
CREATE TABLE events (id uuid PRIMARY KEY, timestamp timestamptz);

-- M39: with a check
CREATE DOMAIN email_address AS text CHECK (value LIKE '%@%');
-- M39: with NOT NULL
CREATE DOMAIN name AS text NOT NULL;
-- M39: named
CREATE DOMAIN app.positive AS bigint CONSTRAINT positive_check CHECK (VALUE > 0);
-- M39: changed
ALTER DOMAIN email_address ADD CONSTRAINT has_at CHECK (value LIKE '%@%');
-- M39: changed, without a name
ALTER DOMAIN email_address ADD CHECK (length(value) < 255);
-- M39: NOT NULL
ALTER DOMAIN email_address SET NOT NULL;
-- M39: small letters, quoted
alter domain "app"."email" add constraint "has_at" check (value like '%@%');
-- M39: with a default
CREATE DOMAIN year AS bigint DEFAULT 2000 CHECK (VALUE BETWEEN 1900 AND 2200);
-- safe: without
CREATE DOMAIN email_address AS text;
-- safe: with a default only
CREATE DOMAIN year AS bigint DEFAULT 2000;
-- safe: less strict
ALTER DOMAIN email_address DROP CONSTRAINT has_at;
-- safe: NULL is fine
ALTER DOMAIN email_address DROP NOT NULL;

-- M40: the usual form
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
-- M40: in a schema, quoted
CREATE TYPE "app"."Mood" AS ENUM ('sad', 'ok');
-- M40: small letters
create type mood as enum ('sad', 'ok');
-- M40: in a block
DO $$ BEGIN CREATE TYPE mood AS ENUM ('sad', 'ok'); EXCEPTION WHEN duplicate_object THEN NULL; END $$;
-- M40: none yet
CREATE TYPE mood AS ENUM ();
-- safe: of several parts
CREATE TYPE address AS (street text, city text);
-- safe: a range
CREATE TYPE float_range AS RANGE (subtype = float8, subtype_diff = float8mi);
-- safe: a check in its place
CREATE TABLE people (id uuid PRIMARY KEY, mood text NOT NULL CHECK (mood IN ('sad', 'ok', 'happy')));

-- M41: at the end, wherever that is
ALTER TYPE mood ADD VALUE 'great';
-- M41: IF NOT EXISTS
ALTER TYPE mood ADD VALUE IF NOT EXISTS 'great';
-- M41: small letters, quoted
alter type "app"."Mood" add value 'great';
-- M41: used in the same transaction
ALTER TYPE mood ADD VALUE 'great' AFTER 'happy';
INSERT INTO people (mood) VALUES ('great');
-- M41: used as a default in the same transaction
ALTER TYPE mood ADD VALUE IF NOT EXISTS 'great' BEFORE 'ok';
ALTER TABLE people ALTER COLUMN mood SET DEFAULT 'great';
-- M41: in a block
DO $$ BEGIN ALTER TYPE mood ADD VALUE 'great'; END $$;
-- safe: behind another
ALTER TYPE mood ADD VALUE 'great' AFTER 'happy';
-- safe: before another
ALTER TYPE mood ADD VALUE IF NOT EXISTS 'great' BEFORE 'happy';
