#!lua flags=no-writes
-- Messages above a number, and up to which tick their sender has committed: as of one instant.
-- KEYS  1 own (the sender's)  2 out
-- ARGV  1 after this number  2 how many at most
-- Returns {committed, entries}.
local committed = redis.call('HGET', KEYS[1], 'committed') or '0'
local from = string.format('%.0f-0', tonumber(ARGV[1]) + 1)
return {committed, redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', ARGV[2])}
