#!lua flags=allow-oom
-- Do a task for all, if nobody does or it is this member's already.
-- KEYS  1 lead
-- ARGV  1 name  2 time to live, ms
-- Returns who does it.
local now = redis.call('GET', KEYS[1])
if now and now ~= ARGV[1] then return now end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
