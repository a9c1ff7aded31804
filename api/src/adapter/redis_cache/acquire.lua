#!lua
-- Takes the right to fill each entry, unless somebody has it or has just used it.
-- KEYS: meta, the entries, the distinct stamps. ARGV: life of a token, number of entries; for each entry the id of its
-- token and the place of its stamp, 0 for none; for each stamp what it becomes if it is not there.
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch then
  return false
end
local life, entries = ARGV[1], tonumber(ARGV[2])
local stamps, acquired = {}, {}
for number = 1, entries do
  local id, place = ARGV[1 + 2 * number], tonumber(ARGV[2 + 2 * number])
  local stamp = string.rep('\0', 16)
  if place > 0 then
    if not stamps[place] then
      local key = KEYS[1 + entries + place]
      stamps[place] = redis.call('GET', key)
      if stamps[place] then
        redis.call('PEXPIRE', key, life, 'GT')
      else
        stamps[place] = ARGV[2 + 2 * entries + place]
        redis.call('SET', key, stamps[place], 'PX', life)
      end
    end
    stamp = stamps[place]
  end
  local entry = KEYS[1 + number]
  local head = redis.call('GETRANGE', entry, 0, 24)
  if head == '=' .. epoch .. stamp or string.sub(head, 1, 9) == '?' .. epoch then
    acquired[number] = 0
  else
    redis.call('SET', entry, '?' .. epoch .. id, 'PX', life)
    acquired[number] = 1
  end
end
return { epoch, acquired, stamps }
