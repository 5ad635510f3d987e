#!lua
-- Write an outbox anew, in one or more steps: what was in it goes with the first.
-- KEYS  1 own (the sender's)  2 out
-- ARGV  1 epoch  2 nonce  3 1 the first step | 0 a later one, then three for each message: number, tick, body
-- Returns {1}, or {-1, epoch, tick} fenced. A step that is repeated changes nothing.
local h = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'tick')
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return {-1, h[1] or '0', h[3] or '0'} end
local last = 0
if ARGV[3] == '1' then
  redis.call('UNLINK', KEYS[2])
else
  local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
  if newest then last = tonumber(string.match(newest[1], '^%d+')) end
end
for i = 4, #ARGV, 3 do
  if tonumber(ARGV[i]) > last then redis.call('XADD', KEYS[2], ARGV[i] .. '-' .. ARGV[i + 1], 'b', ARGV[i + 2]) end
end
redis.call('HINCRBY', KEYS[1], 'beat', 1)
return {1}
