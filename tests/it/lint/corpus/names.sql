-- M04: the usual form
ALTER TABLE users RENAME COLUMN name TO full_name;
-- M04: without the noise word
ALTER TABLE users RENAME name TO full_name;
-- M04: quoted, in a schema
ALTER TABLE "app"."users" RENAME COLUMN "name" TO "fullName";
-- M04: IF EXISTS, ONLY
ALTER TABLE IF EXISTS ONLY users RENAME COLUMN name TO full_name;
-- M04: small letters
alter table users rename column name to full_name;
-- M04: comments in between
ALTER TABLE users RENAME /* old */ COLUMN name /* new */ TO full_name;
-- M04: in a block
DO $$ BEGIN ALTER TABLE users RENAME COLUMN name TO full_name; END $$;
-- M04: in a block that does not mind if it was done
DO $$
BEGIN
  ALTER TABLE users RENAME COLUMN name TO full_name;
EXCEPTION WHEN undefined_column THEN NULL;
END $$;
-- M04: of a view
ALTER VIEW active_users RENAME COLUMN name TO full_name;
-- M04: of a materialized view
ALTER MATERIALIZED VIEW daily_totals RENAME COLUMN sum TO total;
-- M04: a name that is a word of the language
ALTER TABLE orders RENAME COLUMN type TO kind;
-- M04: an attribute of a type
ALTER TYPE address RENAME ATTRIBUTE zip TO postal_code;
-- safe: a constraint is renamed
ALTER TABLE users RENAME CONSTRAINT users_name_check TO ck_users_name;
-- safe: a table that is made here
CREATE TABLE drafts (id uuid PRIMARY KEY, name text);
ALTER TABLE drafts RENAME COLUMN name TO title;
-- safe: an index is renamed
ALTER INDEX users_email_idx RENAME TO ix_users_email;

-- M05: the usual form
ALTER TABLE users RENAME TO people;
-- M05: IF EXISTS
ALTER TABLE IF EXISTS users RENAME TO people;
-- M05: quoted, in a schema
ALTER TABLE "app"."users" RENAME TO "People";
-- M05: small letters
alter table users rename to people;
-- M05: a view
ALTER VIEW active_users RENAME TO current_users;
-- M05: a materialized view
ALTER MATERIALIZED VIEW IF EXISTS daily_totals RENAME TO totals_by_day;
-- M05: to another schema
ALTER TABLE users SET SCHEMA app;
-- M05: to another schema, IF EXISTS
ALTER TABLE IF EXISTS public.users SET SCHEMA archive;
-- M05: in a block
DO $$ BEGIN ALTER TABLE users RENAME TO people; END $$;
-- M05: said dynamically
DO $$ BEGIN EXECUTE 'ALTER TABLE users RENAME TO people'; END $$;
-- safe: a table that is made here
CREATE TABLE users_new (id uuid PRIMARY KEY);
ALTER TABLE users_new RENAME TO accounts_of_users;
-- safe: a sequence
ALTER SEQUENCE users_id_seq RENAME TO people_id_seq;
-- safe: a view with the new name
CREATE VIEW people AS SELECT id, name FROM users;

-- M06: a schema
ALTER SCHEMA app RENAME TO application;
-- M06: quoted
alter schema "App" rename to "Application";
-- M06: a database
ALTER DATABASE app RENAME TO application;
-- M06: in a block
DO $$ BEGIN ALTER SCHEMA app RENAME TO application; END $$;
-- M06: a comment in between
ALTER SCHEMA app /* at last */ RENAME TO application;
-- safe: its owner only
ALTER SCHEMA app OWNER TO migrator;

-- M07: a value is renamed
ALTER TYPE mood RENAME VALUE 'ok' TO 'fine';
-- M07: quoted, in a schema
ALTER TYPE "app"."Mood" RENAME VALUE 'ok' TO 'fine';
-- M07: small letters
alter type mood rename value 'sad' to 'unhappy';
-- M07: in a block
DO $$ BEGIN ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'; END $$;
-- M07: the type itself, to make another in its place
ALTER TYPE mood RENAME TO mood_old;
-- M07: by hand in the catalog
UPDATE pg_enum SET enumlabel = 'fine' WHERE enumlabel = 'ok';
-- M07: another order by hand
UPDATE pg_catalog.pg_enum SET enumsortorder = 1 WHERE enumlabel = 'ok';
-- M07: a value removed by hand
DELETE FROM pg_enum WHERE enumlabel = 'ok';
-- safe: a type that is no enumeration gets an attribute
ALTER TYPE address ADD ATTRIBUTE country text;
-- safe: its owner
ALTER TYPE mood OWNER TO migrator;

-- M45: an index
CREATE TABLE subscription_renewals (id uuid PRIMARY KEY, provider_reference text);
CREATE INDEX ix_subscription_renewals_provider_reference_and_something_more_than_is_wise ON subscription_renewals (provider_reference);
-- M45: a constraint
ALTER TABLE users ADD CONSTRAINT ck_users_name_is_neither_empty_nor_longer_than_what_the_screen_can_show CHECK (name <> '') NOT VALID;
-- M45: a table
CREATE TABLE a_table_whose_name_tells_its_whole_story_from_the_beginning_to_the_very_end (id uuid PRIMARY KEY);
-- M45: a column
ALTER TABLE users ADD COLUMN the_last_time_that_this_person_was_seen_by_anybody_in_any_of_the_shops timestamptz;
-- M45: quoted
CREATE TABLE "the quite long and winding name of a table that nobody can ever remember" (id uuid PRIMARY KEY);
-- M45: more bytes than letters
CREATE TABLE "überlängeüberlängeüberlängeüberlängeüberlängeüberlänge" (id uuid PRIMARY KEY);
-- M45: a function
CREATE FUNCTION refuse_whatever_anybody_may_want_to_do_to_the_rows_of_this_table_ever() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
-- M45: in a block
DO $$ BEGIN ALTER TABLE users ADD COLUMN the_last_time_that_this_person_was_seen_by_anybody_in_any_of_the_shops date; END $$;
-- safe: exactly 63
CREATE TABLE aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg (id uuid PRIMARY KEY);
-- safe: a long text
COMMENT ON TABLE users IS 'a_text_may_be_as_long_as_it_likes_because_it_is_not_an_identifier_and_is_never_cut';
