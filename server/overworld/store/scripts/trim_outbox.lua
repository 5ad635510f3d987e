#!lua flags=allow-oom
-- Forget a bounded number of the oldest messages to one receiver.
-- KEYS  1 own (the sender's)  2 out
-- ARGV  1 epoch  2 nonce  3 up to this number  4 how many at most
-- Returns {1, 1 done | 0 call again}, or {-1, epoch, tick} fenced.
local h = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'tick')
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return {-1, h[1] or '0', h[3] or '0'} end
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
if not first then return {1, 1} end
local up_to = tonumber(ARGV[3])
local target = math.min(up_to, tonumber(string.match(first[1], '^%d+')) + tonumber(ARGV[4]) - 1)
redis.call('XTRIM', KEYS[2], 'MINID', '=', string.format('%.0f-0', target + 1))
return {1, target >= up_to and 1 or 0}
