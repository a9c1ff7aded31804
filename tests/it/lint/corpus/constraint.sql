-- M15: the usual form
ALTER TABLE users ADD CONSTRAINT users_email_key UNIQUE (email);
-- M15: without a name
ALTER TABLE users ADD UNIQUE (email);
-- M15: several columns
ALTER TABLE users ADD CONSTRAINT uq_users_tenant_email UNIQUE (tenant_id, email);
-- M15: quoted, in a schema
ALTER TABLE ONLY "app"."users" ADD CONSTRAINT "users_email_key" UNIQUE ("email");
-- M15: small letters
alter table users add constraint users_email_key unique (email);
-- M15: checked at the end
ALTER TABLE users ADD CONSTRAINT users_email_key UNIQUE (email) DEFERRABLE INITIALLY DEFERRED;
-- M15: NULLs are alike
ALTER TABLE users ADD CONSTRAINT users_email_key UNIQUE NULLS NOT DISTINCT (email);
-- M15: of a new column
ALTER TABLE users ADD COLUMN slug text UNIQUE;
-- M15: of a new column, named
ALTER TABLE users ADD COLUMN slug text CONSTRAINT users_slug_key UNIQUE;
-- M15: among others
ALTER TABLE users ADD COLUMN bio text, ADD CONSTRAINT users_email_key UNIQUE (email);
-- M15: in a block
DO $$ BEGIN ALTER TABLE users ADD CONSTRAINT users_email_key UNIQUE (email); EXCEPTION WHEN duplicate_table THEN NULL; END $$;
-- safe: by an index that is there
ALTER TABLE users ADD CONSTRAINT users_email_key UNIQUE USING INDEX uq_users_email;
-- safe: on a table that is made here
CREATE TABLE people (id uuid PRIMARY KEY, email text);
ALTER TABLE people ADD CONSTRAINT people_email_key UNIQUE (email);
-- safe: in a new table
CREATE TABLE people (id uuid PRIMARY KEY, email text UNIQUE, CONSTRAINT one UNIQUE (id, email));

-- M17: the usual form
ALTER TABLE users ADD PRIMARY KEY (id);
-- M17: named
ALTER TABLE users ADD CONSTRAINT users_pkey PRIMARY KEY (id);
-- M17: several columns
ALTER TABLE ONLY public.memberships ADD CONSTRAINT memberships_pkey PRIMARY KEY (user_id, group_id);
-- M17: quoted
alter table "users" add primary key ("id");
-- M17 M25: a new column
ALTER TABLE users ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;
-- M17 M25 M35 M36: a serial one
ALTER TABLE users ADD COLUMN id serial PRIMARY KEY;
-- M17 M25 M36: a large serial one
ALTER TABLE users ADD COLUMN id bigserial PRIMARY KEY;
-- M17 M24: a random one
ALTER TABLE users ADD COLUMN id uuid DEFAULT gen_random_uuid() PRIMARY KEY;
-- M17: in a block
DO $$ BEGIN ALTER TABLE users ADD PRIMARY KEY (id); END $$;
-- safe: by an index that is there
ALTER TABLE users ADD CONSTRAINT users_pkey PRIMARY KEY USING INDEX uq_users_id;
-- safe: as a dump has it
CREATE TABLE public.people (id bigint NOT NULL, name text);
ALTER TABLE ONLY public.people ADD CONSTRAINT people_pkey PRIMARY KEY (id);

-- M18: the usual form
ALTER TABLE orders ADD CONSTRAINT orders_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id);
-- M18: without a name
ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users;
-- M18: what becomes of the children
ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE ON UPDATE NO ACTION;
-- M18: quoted, in a schema
ALTER TABLE ONLY "app"."orders" ADD CONSTRAINT "fk" FOREIGN KEY ("user_id") REFERENCES "app"."users" ("id");
-- M18: small letters
alter table orders add constraint fk foreign key (user_id) references users (id);
-- M18: checked at the end
ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED;
-- M18: two columns
ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) MATCH FULL;
-- M18: among others
ALTER TABLE orders ADD COLUMN note text, ADD CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES users (id);
-- M18: two of them
ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users (id), ADD FOREIGN KEY (shop_id) REFERENCES shops (id) NOT VALID;
-- M18: to a table that is made here, of one that is not
CREATE TABLE shops (id uuid PRIMARY KEY);
ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (shop_id) REFERENCES shops (id);
-- M18: in a block
DO $$ BEGIN ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES users (id); END $$;
-- M18 M19: of a new column that is not empty
ALTER TABLE orders ADD COLUMN shop_id bigint DEFAULT 1 REFERENCES shops (id);
-- safe: not validated
ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES users (id) NOT VALID;
-- safe: not validated, with actions
ALTER TABLE "orders" ADD CONSTRAINT "fk" FOREIGN KEY ("user_id") REFERENCES "users" ("id") ON DELETE SET NULL ON UPDATE CASCADE NOT VALID;
-- safe: validated later
ALTER TABLE orders VALIDATE CONSTRAINT fk;
-- safe: in a new table
CREATE TABLE orders (id uuid PRIMARY KEY, user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE);
CREATE INDEX ix_orders_user_id ON orders (user_id);
-- safe: of a table that is made here
CREATE TABLE orders (id uuid PRIMARY KEY, user_id uuid NOT NULL);
CREATE INDEX ix_orders_user_id ON orders (user_id);
ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES users (id);

-- M19: in a new table
CREATE TABLE orders (id uuid PRIMARY KEY, user_id uuid NOT NULL REFERENCES users (id));
-- M19: in a new table, named
CREATE TABLE orders (id uuid PRIMARY KEY, user_id uuid, CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES users (id));
-- M19: quoted
CREATE TABLE "orders" ("id" uuid PRIMARY KEY, "user_id" uuid REFERENCES "users" ("id"));
-- M19: a new column
ALTER TABLE orders ADD COLUMN user_id uuid REFERENCES users (id);
-- M19: an index that begins with another column
CREATE TABLE orders (id uuid PRIMARY KEY, user_id uuid REFERENCES users (id), at timestamptz);
CREATE INDEX ix ON orders (at, user_id);
-- M19: the second column of the key
CREATE TABLE memberships (group_id uuid, user_id uuid REFERENCES users (id), PRIMARY KEY (group_id, user_id));
-- M19: an index of some rows only
CREATE TABLE orders (id uuid PRIMARY KEY, user_id uuid REFERENCES users (id), done boolean);
CREATE INDEX ix ON orders (user_id) WHERE done;
-- M19 M18: of a table that is known
-- given
CREATE TABLE orders (id uuid PRIMARY KEY, user_id uuid);
-- then
ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES users (id);
-- M19: of a table that is known, not validated
-- given
CREATE TABLE orders (id uuid PRIMARY KEY, user_id uuid);
-- then
ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES users (id) NOT VALID;
-- M19: one of two
CREATE TABLE links (id uuid PRIMARY KEY, a_id uuid REFERENCES a (id), b_id uuid REFERENCES b (id));
CREATE INDEX ix ON links (a_id);
-- safe: an index that begins with it
CREATE TABLE orders (id uuid PRIMARY KEY, user_id uuid REFERENCES users (id), at timestamptz);
CREATE INDEX ix ON orders (user_id, at);
-- safe: an index of all rows that refer to any
CREATE TABLE orders (id uuid PRIMARY KEY, user_id uuid REFERENCES users (id), at timestamptz);
CREATE UNIQUE INDEX uq ON orders (user_id, at) WHERE (user_id IS NOT NULL);
-- safe: unique
CREATE TABLE profiles (id uuid PRIMARY KEY, user_id uuid UNIQUE REFERENCES users (id));
-- safe: the key itself
CREATE TABLE profiles (user_id uuid PRIMARY KEY REFERENCES users (id), bio text);
-- safe: the first column of the key
CREATE TABLE memberships (user_id uuid REFERENCES users (id), role text, PRIMARY KEY (user_id, role));
-- safe: an index of earlier times
-- given
CREATE TABLE orders (id uuid PRIMARY KEY, user_id uuid);
CREATE INDEX ix_orders_user_id ON orders (user_id);
-- then
ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES users (id) NOT VALID;
-- safe: two columns, in any order
CREATE TABLE orders (id uuid PRIMARY KEY, tenant_id uuid, user_id uuid, FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id));
CREATE INDEX ix ON orders (user_id, tenant_id, id);

-- M20: a reference
ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES users (id) NOT VALID;
ALTER TABLE orders VALIDATE CONSTRAINT fk;
-- M20: a check
ALTER TABLE users ADD CONSTRAINT ck_users_age CHECK (age > 0) NOT VALID;
ALTER TABLE users VALIDATE CONSTRAINT ck_users_age;
-- M20: quoted once, and once not
ALTER TABLE "users" ADD CONSTRAINT "ck_users_age" CHECK (age > 0) NOT VALID;
alter table users validate constraint ck_users_age;
-- M20: in one statement
ALTER TABLE users ADD CONSTRAINT ck_users_age CHECK (age > 0) NOT VALID, VALIDATE CONSTRAINT ck_users_age;
-- M20: in a block
DO $$ BEGIN
    ALTER TABLE users ADD CONSTRAINT ck_users_age CHECK (age > 0) NOT VALID;
    ALTER TABLE users VALIDATE CONSTRAINT ck_users_age;
END $$;
-- M20: in a schema
ALTER TABLE app.orders ADD CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES app.users (id) NOT VALID;
ALTER TABLE app.orders VALIDATE CONSTRAINT fk;
-- safe: on a table that is made here
CREATE TABLE people (id uuid PRIMARY KEY, age bigint);
ALTER TABLE people ADD CONSTRAINT ck CHECK (age > 0) NOT VALID;
ALTER TABLE people VALIDATE CONSTRAINT ck;
-- safe: of an earlier migration
-- given
ALTER TABLE users ADD CONSTRAINT ck_users_age CHECK (age > 0) NOT VALID;
-- then
ALTER TABLE users VALIDATE CONSTRAINT ck_users_age;

-- M21: the usual form
ALTER TABLE users ADD CONSTRAINT ck_users_age CHECK (age > 0);
-- M21: without a name
ALTER TABLE users ADD CHECK (age > 0);
-- M21: quoted, in a schema
ALTER TABLE "app"."users" ADD CONSTRAINT "ck" CHECK ("age" > 0);
-- M21: small letters
alter table users add constraint ck check (age > 0);
-- M21: not inherited
ALTER TABLE users ADD CONSTRAINT ck CHECK (age > 0) NO INHERIT;
-- M21: the words stand in the condition
ALTER TABLE users ADD CONSTRAINT ck CHECK (state <> 'NOT VALID');
-- M21: with parentheses
ALTER TABLE users ADD CONSTRAINT ck CHECK ((kind = 'a' AND (x > 1)) OR (kind IN ('b', 'c')));
-- M21: of a new column
ALTER TABLE users ADD COLUMN score bigint CHECK (score >= 0);
-- M21: among others
ALTER TABLE users ADD COLUMN bio text, ADD CONSTRAINT ck CHECK (age > 0);
-- M21: two of them
ALTER TABLE users ADD CONSTRAINT a CHECK (age > 0) NOT VALID, ADD CONSTRAINT b CHECK (age < 200);
-- M21: in a block
DO $$ BEGIN ALTER TABLE users ADD CONSTRAINT ck CHECK (age > 0); END $$;
-- safe: not validated
ALTER TABLE users ADD CONSTRAINT ck_users_age CHECK (age > 0) NOT VALID;
-- safe: not validated, not inherited
ALTER TABLE users ADD CONSTRAINT ck_users_age CHECK (age > 0) NO INHERIT NOT VALID;
-- safe: on a table that is made here
CREATE TABLE people (id uuid PRIMARY KEY, age bigint);
ALTER TABLE people ADD CONSTRAINT ck CHECK (age > 0);

-- M22: the usual form
ALTER TABLE users ALTER COLUMN name SET NOT NULL;
-- M22: without the noise word
ALTER TABLE users ALTER name SET NOT NULL;
-- M22: quoted, in a schema
ALTER TABLE "app"."users" ALTER COLUMN "name" SET NOT NULL;
-- M22: small letters
alter table only users alter column name set not null;
-- M22: several
ALTER TABLE users ALTER COLUMN name SET NOT NULL, ALTER COLUMN email SET NOT NULL;
-- M22: among others
ALTER TABLE users ALTER COLUMN name SET DEFAULT '', ALTER COLUMN name SET NOT NULL;
-- M22: in a block
DO $$ BEGIN ALTER TABLE users ALTER COLUMN name SET NOT NULL; END $$;
-- M22: a check that was not validated
-- given
ALTER TABLE users ADD CONSTRAINT name_there CHECK (name IS NOT NULL) NOT VALID;
-- then
ALTER TABLE users ALTER COLUMN name SET NOT NULL;
-- M22: a check of another column
-- given
ALTER TABLE users ADD CONSTRAINT email_there CHECK (email IS NOT NULL) NOT VALID;
ALTER TABLE users VALIDATE CONSTRAINT email_there;
-- then
ALTER TABLE users ALTER COLUMN name SET NOT NULL;
-- M22: a check that was dropped
-- given
ALTER TABLE users ADD CONSTRAINT name_there CHECK (name IS NOT NULL);
ALTER TABLE users DROP CONSTRAINT name_there;
-- then
ALTER TABLE users ALTER COLUMN name SET NOT NULL;
-- safe: a check that was validated
-- given
ALTER TABLE users ADD CONSTRAINT name_there CHECK (name IS NOT NULL) NOT VALID;
ALTER TABLE users VALIDATE CONSTRAINT name_there;
-- then
ALTER TABLE users ALTER COLUMN name SET NOT NULL;
-- safe: validated, quoted, in more parentheses
-- given
ALTER TABLE "users" ADD CONSTRAINT "name_there" CHECK (("name" IS NOT NULL)) NOT VALID;
ALTER TABLE "users" VALIDATE CONSTRAINT "name_there";
-- then
ALTER TABLE "users" ALTER COLUMN "name" SET NOT NULL;
-- safe: the check goes along
-- given
ALTER TABLE users ADD CONSTRAINT name_there CHECK (name IS NOT NULL) NOT VALID;
ALTER TABLE users VALIDATE CONSTRAINT name_there;
-- then
ALTER TABLE users ALTER COLUMN name SET NOT NULL, DROP CONSTRAINT name_there;
-- safe: validated just before
ALTER TABLE users VALIDATE CONSTRAINT ck_users_name_not_null;
ALTER TABLE users ALTER COLUMN name SET NOT NULL;
-- safe: on a table that is made here
CREATE TABLE people (id uuid PRIMARY KEY, name text);
ALTER TABLE people ALTER COLUMN name SET NOT NULL;

-- M26: the usual form
ALTER TABLE bookings ADD CONSTRAINT no_overlap EXCLUDE USING gist (room WITH =, during WITH &&);
-- M26: of some rows
ALTER TABLE bookings ADD CONSTRAINT no_overlap EXCLUDE USING gist (room WITH =, during WITH &&) WHERE (NOT cancelled);
-- M26: without a name
ALTER TABLE bookings ADD EXCLUDE USING gist (during WITH &&);
-- M26: quoted, in a schema
ALTER TABLE ONLY "app"."bookings" ADD CONSTRAINT "no_overlap" EXCLUDE USING gist ("room" WITH =, "during" WITH &&);
-- M26: small letters
alter table bookings add constraint no_overlap exclude using gist (room with =, during with &&) deferrable;
-- M26: on an expression
ALTER TABLE bookings ADD CONSTRAINT no_overlap EXCLUDE USING gist (room WITH =, tstzrange(starts, ends, '[)') WITH &&);
-- M26: in a block
DO $$ BEGIN ALTER TABLE bookings ADD CONSTRAINT no_overlap EXCLUDE USING gist (during WITH &&); END $$;
-- safe: in a new table
CREATE TABLE bookings (id uuid PRIMARY KEY, room uuid, during tstzrange, CONSTRAINT no_overlap EXCLUDE USING gist (room WITH =, during WITH &&));
-- safe: on a table that is made here
CREATE TABLE bookings (id uuid PRIMARY KEY, room uuid, during tstzrange);
ALTER TABLE bookings ADD CONSTRAINT no_overlap EXCLUDE USING gist (room WITH =, during WITH &&);
