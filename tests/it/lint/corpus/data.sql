-- M28: all rows
UPDATE users SET active = true;
-- M28: many rows
UPDATE users SET active = true WHERE active IS NULL;
-- M28: all rows go
DELETE FROM sessions;
-- M28: many rows go
DELETE FROM sessions WHERE expires_at < now();
-- M28: quoted, in a schema
UPDATE "app"."users" SET "active" = true WHERE "active" IS NULL;
-- M28: small letters
update users set name = trim(name);
-- M28: from another table
UPDATE orders o SET total = s.total FROM sums s WHERE s.order_id = o.id;
-- M28: by another table
DELETE FROM orders USING users WHERE users.id = orders.user_id AND users.banned;
-- M28: of a query
UPDATE users SET rank = (SELECT count(*) FROM posts WHERE posts.user_id = users.id);
-- M28: of some that a query finds
DELETE FROM users WHERE id IN (SELECT user_id FROM banned);
-- M28: in a WITH
WITH gone AS (DELETE FROM sessions WHERE expires_at < now() RETURNING *) INSERT INTO archive SELECT * FROM gone;
-- M28: behind a WITH
WITH last AS (SELECT user_id, max(at) AS at FROM visits GROUP BY user_id) UPDATE users SET seen_at = last.at FROM last WHERE last.user_id = users.id;
-- M28: ONLY
DELETE FROM ONLY sessions WHERE user_id IS NULL;
-- M28: a comment in between
UPDATE /* everybody */ users SET active = true;
-- M28: merged
MERGE INTO users u USING imports i ON u.id = i.id WHEN MATCHED THEN UPDATE SET name = i.name;
-- M28: in a block
DO $$ BEGIN UPDATE users SET active = true WHERE active IS NULL; END $$;
-- M28: in a loop over everything
DO $$ DECLARE r record; BEGIN FOR r IN SELECT id FROM users LOOP UPDATE users SET name = upper(name) WHERE name IS NOT NULL; END LOOP; END $$;
-- M28 M29: with a change of the schema
ALTER TABLE users ADD COLUMN active boolean;
UPDATE users SET active = true;
-- M28 M29: a batch, but with a change of the schema
ALTER TABLE users ADD COLUMN active boolean;
UPDATE users SET active = true WHERE id IN (SELECT id FROM users WHERE active IS NULL LIMIT 1000);
-- M28: before a change of the schema
UPDATE users SET name = '' WHERE name IS NULL;
ALTER TABLE users ALTER COLUMN name SET DEFAULT '';
-- M28: a limit that is none of this statement's rows
UPDATE users SET plan = (SELECT id FROM plans ORDER BY price LIMIT 1);
-- safe: a batch
UPDATE users SET active = true WHERE id IN (SELECT id FROM users WHERE active IS NULL ORDER BY id LIMIT 1000);
-- safe: a batch that nobody waits for
UPDATE users SET active = true WHERE id IN (SELECT id FROM users WHERE active IS NULL LIMIT 5000 FOR UPDATE SKIP LOCKED);
-- safe: a batch that goes
DELETE FROM sessions WHERE ctid = ANY (ARRAY(SELECT ctid FROM sessions WHERE expires_at < now() LIMIT 1000));
-- safe: a batch, said before
WITH batch AS (SELECT id FROM users WHERE active IS NULL LIMIT 1000) UPDATE users SET active = true FROM batch WHERE users.id = batch.id;
-- safe: a range of ids
UPDATE users SET active = true WHERE id BETWEEN 1 AND 10000 AND active IS NULL;
-- safe: a range of ids, open at its end
UPDATE users SET active = true WHERE id >= 1 AND id < 10001;
-- safe: a single row
UPDATE settings SET value = 'dark' WHERE id = 1;
-- safe: some rows by name
DELETE FROM plans WHERE id IN (1, 2, 3);
-- safe: a single row, quoted
UPDATE "settings" SET "value" = 'dark' WHERE "id" = '6f1c1f0e-0000-7000-8000-000000000001';
-- safe: on a table that is made here
CREATE TABLE plans (id uuid PRIMARY KEY, name text, price bigint);
INSERT INTO plans VALUES ('6f1c1f0e-0000-7000-8000-000000000001', 'free', 0);
UPDATE plans SET price = 1;
-- safe: rows are added
INSERT INTO plans (name, price) VALUES ('free', 0), ('pro', 900) ON CONFLICT DO NOTHING;
-- safe: rows are added or changed, one by one
INSERT INTO plans (name, price) VALUES ('free', 0) ON CONFLICT (name) DO UPDATE SET price = EXCLUDED.price;
-- safe: rows are read
SELECT count(*) FROM users WHERE active IS NULL;
-- safe: rows are locked
SELECT id FROM users WHERE id = 1 FOR UPDATE;
-- safe: batches, each its own transaction
-- no transaction
DO $$
DECLARE changed bigint;
BEGIN
    LOOP
        UPDATE users SET active = true WHERE id IN (SELECT id FROM users WHERE active IS NULL LIMIT 1000);
        GET DIAGNOSTICS changed = ROW_COUNT;
        EXIT WHEN changed = 0;
        COMMIT;
    END LOOP;
END $$;

-- M49: a column twice
CREATE TABLE users (id uuid PRIMARY KEY, name text, name text);
-- M49: a column twice, spelled otherwise
CREATE TABLE users (id uuid PRIMARY KEY, name text, "name" text);
-- M49: set twice
UPDATE settings SET value = 'a', value = 'b' WHERE id = 1;
-- M49: given twice
INSERT INTO settings (id, value, value) VALUES (1, 'a', 'b');
-- M49: added twice
ALTER TABLE users ADD COLUMN bio text, ADD COLUMN bio text;
-- M49: a text without an end
INSERT INTO settings (id, value) VALUES (1, 'dark);
-- M49: parentheses without an end
CREATE TABLE users (id uuid PRIMARY KEY, name text;
-- M49: no statement begins so
CRAETE TABLE users (id uuid PRIMARY KEY);
-- M49: nor so
ALTRE TABLE users ADD COLUMN bio text;
-- M49: an index on the same column twice
CREATE TABLE users (id uuid PRIMARY KEY, name text);
CREATE INDEX ix ON users (name, name);
-- M49: one too many
CREATE TABLE users (id uuid PRIMARY KEY, name text));
-- safe: names that differ in their letters
CREATE TABLE users (id uuid PRIMARY KEY, name text, "Name" text);
-- safe: parentheses in a text
INSERT INTO settings (id, value) VALUES (1, ':-)');
-- safe: an apostrophe
INSERT INTO settings (id, value) VALUES (1, 'it''s');
-- safe: an apostrophe after a backslash
INSERT INTO settings (id, value) VALUES (1, E'it\'s');
-- safe: dollars
INSERT INTO settings (id, value) VALUES (1, $x$it's; fine$x$);

-- M58: what was encrypted is put elsewhere in plain
UPDATE settings SET value = pgp_sym_decrypt(value_encrypted, 'key') WHERE id = 1;
-- M58 M28: of all rows
UPDATE users SET ssn = pgp_sym_decrypt(ssn_encrypted, 'key');
-- M58: in another table
INSERT INTO exports (ssn) SELECT pgp_sym_decrypt(ssn_encrypted, 'key') FROM users;
-- M58: with the key of a pair
INSERT INTO exports (ssn) SELECT pgp_pub_decrypt(ssn, dearmor('key')) FROM users;
-- M58: raw
INSERT INTO exports (ssn) SELECT convert_from(decrypt(ssn, 'key', 'aes'), 'UTF8') FROM users;
-- M58 M10: an index tells what is in it
CREATE INDEX ix_users_ssn ON users (pgp_sym_decrypt(ssn_encrypted, 'key'));
-- M58 M25: a column that is made of it
ALTER TABLE users ADD COLUMN ssn_plain text GENERATED ALWAYS AS (pgp_sym_decrypt(ssn_encrypted, 'key')) STORED;
-- M58: a view of it
CREATE VIEW plain_users AS SELECT id, pgp_sym_decrypt(ssn_encrypted, 'key') AS ssn FROM users;
-- safe: it is encrypted
INSERT INTO exports (ssn_encrypted) SELECT pgp_sym_encrypt(note, 'key') FROM notes WHERE id = 1;
