#!lua
-- Keeps each value whose token is still there, if what it depends on is as it was; returns how many.
-- KEYS: meta, the entries, the distinct stamps. ARGV: number of entries; for each its token, its value, the life of that,
-- and the place of its stamp, 0 for none.
local epoch = redis.call('HGET', KEYS[1], 'epoch')
local entries = tonumber(ARGV[1])
local kept = 0
for number = 1, entries do
  local entry, place = KEYS[1 + number], tonumber(ARGV[1 + 4 * number])
  local token, value, life = ARGV[4 * number - 2], ARGV[4 * number - 1], ARGV[4 * number]
  local stamp = place > 0 and KEYS[1 + entries + place]
  local holds = epoch == string.sub(token, 2, 9) and redis.call('GETRANGE', entry, 0, 24) == token
  if holds and (not stamp or redis.call('GET', stamp) == string.sub(value, 10, 25)) then
    redis.call('SET', entry, value, 'PX', life)
    if stamp then
      redis.call('PEXPIRE', stamp, life, 'GT')
    end
    kept = kept + 1
  end
end
return kept
