#!lua flags=allow-oom
-- Drop the journal and let it begin after a tick: after a wipe, or from a snapshot alone. With outboxes: they go, too,
-- and so do all acks.
-- KEYS  1 own  2 jrnl  3.. outboxes
-- ARGV  1 epoch  2 nonce  3 seen tick  4 seen chain  5 tick  6 chain
-- Returns {1}, {2} already done, {-1, epoch, tick, chain} fenced, {-2, epoch, tick, chain} other head.
local h = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'tick', 'chain', 'floor')
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return {-1, h[1] or '0', h[3] or '0', h[4] or ''} end
if h[3] == ARGV[5] and h[4] == ARGV[6] and h[5] == ARGV[5] then
  redis.call('HINCRBY', KEYS[1], 'beat', 1)
  return {2}
end
if h[3] ~= ARGV[3] or h[4] ~= ARGV[4] then return {-2, h[1], h[3], h[4]} end
redis.call('UNLINK', KEYS[2])
for k = 3, #KEYS do redis.call('UNLINK', KEYS[k]) end
if #KEYS > 2 then
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(field, 1, 4) == 'ack:' then redis.call('HDEL', KEYS[1], field) end
  end
end
redis.call('HSET', KEYS[1], 'tick', ARGV[5], 'chain', ARGV[6], 'committed', ARGV[5], 'floor', ARGV[5])
redis.call('HINCRBY', KEYS[1], 'beat', 1)
return {1}
