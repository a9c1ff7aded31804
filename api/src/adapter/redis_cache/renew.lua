#!lua flags=allow-oom
-- Lets the lease run until a deadline; 0 if that has passed, or if this is another memory than was observed.
-- KEYS: meta, lease. ARGV: run, timeline, deadline in milliseconds, longest life of a lease,
-- the epoch if a new one begins.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local time = redis.call('TIME')
local left = tonumber(ARGV[3]) - tonumber(time[1]) * 1000 - math.ceil(tonumber(time[2]) / 1000)
if run ~= ARGV[1] or left <= 0 then
  return 0
end
local meta = redis.call('HMGET', KEYS[1], 'run', 'timeline', 'epoch')
local epoch = meta[3]
if meta[1] ~= run or meta[2] ~= ARGV[2] or not epoch then
  epoch = ARGV[5]
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'run', run, 'timeline', ARGV[2], 'epoch', epoch)
end
-- A lease that runs longer stays, unless it runs for longer than any may: then the clock was set back.
local life = redis.call('PTTL', KEYS[2])
if life < left or life > tonumber(ARGV[4]) then
  local counter = redis.call('HINCRBY', KEYS[1], 'seq', 1)
  redis.call('SET', KEYS[2], epoch .. string.format('%.0f', counter), 'PXAT', ARGV[3])
end
return 1
