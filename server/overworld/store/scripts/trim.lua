#!lua flags=allow-oom
-- Forget a bounded number of the oldest records. Allowed on a full Redis: it is what makes room.
-- KEYS  1 own  2 jrnl
-- ARGV  1 epoch  2 nonce  3 up to this tick  4 how many at most
-- Returns {1, new floor}, {-1, epoch, tick} fenced, {-3, reason} refused.
local h = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'tick', 'committed', 'floor')
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return {-1, h[1] or '0', h[3] or '0'} end
local up_to, floor = tonumber(ARGV[3]), tonumber(h[5] or '0')
if up_to > tonumber(h[4] or '0') then
  return {-3, 'cannot trim up to tick ' .. ARGV[3] .. ': committed is ' .. (h[4] or '0')}
end
if up_to <= floor then return {1, string.format('%.0f', floor)} end
local target = math.min(up_to, floor + tonumber(ARGV[4]))
redis.call('XTRIM', KEYS[2], 'MINID', '=', string.format('%.0f-0', target + 1))
redis.call('HSET', KEYS[1], 'floor', string.format('%.0f', target))
return {1, string.format('%.0f', target)}
