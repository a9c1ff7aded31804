#!lua flags=allow-oom
-- Forgets everything: what is of another epoch is neither looked up nor filled, and nothing is fresh until it is renewed.
-- KEYS: meta, lease. ARGV: the new epoch.
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
