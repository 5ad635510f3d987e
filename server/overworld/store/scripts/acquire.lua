#!lua flags=allow-oom
-- Take a shard whose head still shows what the candidate saw.
-- KEYS  1 own
-- ARGV  1 seen epoch ('' = no head at all)  2 seen nonce  3 seen tick  4 seen beat
--       5 address  6 lowest epoch  7 nonce  8 version of the title
-- Returns {1 taken | 2 an earlier try had taken it | 0 refused, epoch, nonce, addr, tick, chain, committed, floor, beat, ver};
-- {0} where there is no head. The head is that after the call.
local own = KEYS[1]
local function head(answer)
  local h = redis.call('HMGET', own, 'epoch', 'nonce', 'addr', 'tick', 'chain', 'committed', 'floor', 'beat', 'ver')
  if not h[1] then return {answer} end
  return {answer, h[1], h[2] or '', h[3] or '', h[4] or '0', h[5] or '', h[6] or '0', h[7] or '0', h[8] or '0', h[9] or '0'}
end
local h = redis.call('HMGET', own, 'epoch', 'nonce', 'tick', 'beat')
if h[2] == ARGV[7] then
  redis.call('HINCRBY', own, 'beat', 1) -- a write, so that WAIT on this connection covers the first try
  return head(2)
end
if (h[1] or '') ~= ARGV[1] then return head(0) end
if h[1] and (h[2] ~= ARGV[2] or h[3] ~= ARGV[3] or h[4] ~= ARGV[4]) then return head(0) end
local epoch = string.format('%.0f', math.max(tonumber(h[1] or '0'), tonumber(ARGV[6])) + 1)
if not h[1] then
  redis.call('HSET', own, 'epoch', epoch, 'nonce', ARGV[7], 'addr', ARGV[5], 'beat', 1,
    'tick', 0, 'chain', '', 'committed', 0, 'floor', 0, 'ver', ARGV[8])
else
  redis.call('HSET', own, 'epoch', epoch, 'nonce', ARGV[7], 'addr', ARGV[5], 'ver', ARGV[8])
  redis.call('HINCRBY', own, 'beat', 1)
end
return head(1)
