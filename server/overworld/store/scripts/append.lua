#!lua
-- Write one record and its outbox: a compare-and-swap on (epoch, nonce, tick, chain).
-- KEYS  1 own  2 jrnl  3.. one outbox for each destination
-- ARGV  1 epoch  2 nonce  3 previous tick  4 previous chain  5 tick  6 chain  7 committed  8 payload
--       then three for each message: index of its outbox in KEYS, number, body
-- Returns {1} appended, {2} already there, {-1, epoch, tick, chain} fenced, {-2, epoch, tick, chain} other head,
-- {-3, reason} refused. Nothing is written unless the answer is 1 (at 2 the beat moves).
-- Without flags a full Redis refuses the whole script before it starts.
local h = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'tick', 'chain', 'committed')
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return {-1, h[1] or '0', h[3] or '0', h[4] or ''} end
if h[3] ~= ARGV[3] or h[4] ~= ARGV[4] then
  if h[3] == ARGV[5] and h[4] == ARGV[6] then
    redis.call('HINCRBY', KEYS[1], 'beat', 1) -- a write, so that WAIT on this connection covers the first try
    return {2}
  end
  return {-2, h[1], h[3], h[4]}
end
-- Scripts are not rolled back: whatever could make a later write fail is looked at before the first one.
local last = {}
for k = 3, #KEYS do
  local kind = redis.call('TYPE', KEYS[k])['ok']
  if kind == 'stream' then
    local info = redis.call('XINFO', 'STREAM', KEYS[k])
    for i = 1, #info, 2 do
      if info[i] == 'last-generated-id' then last[k] = tonumber(string.match(info[i + 1], '^%d+')) end
    end
  elseif kind ~= 'none' then
    return {-3, KEYS[k] .. ' is a ' .. kind .. ', not a stream'}
  end
end
for i = 9, #ARGV, 3 do
  local k, number = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  if last[k] and number ~= last[k] + 1 then
    return {-3, KEYS[k] .. ' ends at ' .. string.format('%.0f', last[k]) .. ', message ' .. ARGV[i + 1] .. ' does not follow'}
  end
  last[k] = number
end
-- The journal needs no look before: its XADD is the first write, and refuses a wrong type or an id that is not newer.
redis.call('XADD', KEYS[2], ARGV[5] .. '-0', 'e', ARGV[1], 'c', ARGV[6], 'p', ARGV[8])
for i = 9, #ARGV, 3 do
  redis.call('XADD', KEYS[tonumber(ARGV[i])], ARGV[i + 1] .. '-' .. ARGV[5], 'b', ARGV[i + 2])
end
if tonumber(ARGV[7]) > tonumber(h[5] or '0') then
  redis.call('HSET', KEYS[1], 'tick', ARGV[5], 'chain', ARGV[6], 'committed', ARGV[7])
else
  redis.call('HSET', KEYS[1], 'tick', ARGV[5], 'chain', ARGV[6])
end
return {1}
