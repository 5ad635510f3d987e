#!lua flags=no-writes
-- Fields of a shard's head.
-- KEYS  1 own    ARGV  names of fields
-- Returns their values, in this order.
return redis.call('HMGET', KEYS[1], unpack(ARGV))
