local pack, unpackFrom = struct.pack, struct.unpack

local call, ARGV = redis.call, ARGV
local key, about = KEYS[1], ARGV[1]
local stored = call('GET', key)
local since, now
if #about > 2 then
  since = unpackFrom('<d', about, 3)
  if since < 0 then
    since = nil
  end
end
local clock = #about <= 10 -- the server's
if clock then
  local time = call('TIME')
  now = time[1] * 1000000 + time[2]
else
  now = unpackFrom('<d', about, 11)
  if now > MAX_INSTANT then
    now = MAX_INSTANT
  elseif now < 0 then
    now = 0
  end
end
