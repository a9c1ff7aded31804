#!lua
-- The commands that this user may not run, of all that the cache runs.
-- KEYS: some key of each kind: meta, lease, entry.
local meta, lease, entry = KEYS[1], KEYS[2], KEYS[3]
local commands = {
  { 'mget', lease, entry }, { 'unlink', entry }, { 'pexpire', entry, 1, 'GT' }, { 'pttl', lease }, { 'time' },
  { 'info', 'server' }, { 'get', entry }, { 'getrange', entry, 0, 24 }, { 'set', entry, '' }, { 'del', lease },
  { 'hget', meta, 'epoch' }, { 'hmget', meta, 'epoch' }, { 'hset', meta, 'epoch', '' }, { 'hincrby', meta, 'seq', 1 },
}
local refused = {}
for _, command in ipairs(commands) do
  if not redis.acl_check_cmd(unpack(command)) then
    refused[#refused + 1] = command[1]
  end
end
return refused
