#!lua flags=allow-oom
-- A receiver says up to which message of one sender its journal has committed. Never goes back.
-- KEYS  1 own (the receiver's)
-- ARGV  1 epoch  2 nonce  3 field  4 number
-- Returns {1}, or {-1, epoch, tick} fenced.
local h = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'tick', ARGV[3])
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return {-1, h[1] or '0', h[3] or '0'} end
if tonumber(ARGV[4]) > tonumber(h[4] or '0') then redis.call('HSET', KEYS[1], ARGV[3], ARGV[4]) end
return {1}
