#!lua flags=allow-oom
-- An owner that appends nothing shows that it lives, and may declare ticks committed or give up the address.
-- KEYS  1 own
-- ARGV  1 epoch  2 nonce  3 committed ('' = unchanged)  4 '1' = release: clear the address
-- Returns {1}, or {-1, epoch, tick} fenced, or {-3, reason} refused.
local h = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'tick', 'committed')
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return {-1, h[1] or '0', h[3] or '0'} end
if ARGV[3] ~= '' and tonumber(ARGV[3]) > tonumber(h[3] or '0') then
  return {-3, 'tick ' .. ARGV[3] .. ' cannot be committed: the journal ends at ' .. (h[3] or '0')}
end
redis.call('HINCRBY', KEYS[1], 'beat', 1)
if ARGV[3] ~= '' and tonumber(ARGV[3]) > tonumber(h[4] or '0') then redis.call('HSET', KEYS[1], 'committed', ARGV[3]) end
if ARGV[4] == '1' then redis.call('HSET', KEYS[1], 'addr', '') end
return {1}
