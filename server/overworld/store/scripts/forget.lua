#!lua flags=allow-oom
-- Remove a dead member of the directory, unless it has announced itself again.
-- KEYS  1 members  2 counts
-- ARGV  1 name  2 the count it was last seen with
-- Returns 1 removed, 0 not.
if (redis.call('HGET', KEYS[2], ARGV[1]) or '0') ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[2], ARGV[1])
return redis.call('HDEL', KEYS[1], ARGV[1])
