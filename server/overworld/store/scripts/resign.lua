#!lua flags=allow-oom
-- Do a task no longer.
-- KEYS  1 lead
-- ARGV  1 name
-- Returns 1 where it was this member's, else 0.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
