local pack, unpackFrom = struct.pack, struct.unpack

local key, about = KEYS[1], ARGV[1]
local stored = redis.call('GET', key)
if stored and sub(stored, 1, 3) ~= 'tb\1' then
  if sub(stored, 1, 2) ~= 'tb' then
    return redis.error_reply('THROTTLE_FOREIGN the key holds something else than a state')
  end
  return redis.error_reply('THROTTLE_VERSION the state has version ' .. (byte(stored, 3) or 0) .. ', this script reads ' .. VERSION)
end

local since, now
if #about > 2 then
  since = unpackFrom('<d', about, 3)
  if since < 0 then
    since = nil
  end
end
local clock = #about <= 10 -- the server's
if clock then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
else
  now = unpackFrom('<d', about, 11)
  if now > MAX_INSTANT then
    now = MAX_INSTANT
  elseif now < 0 then
    now = 0
  end
end
