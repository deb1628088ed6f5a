-- The general way: the state unpacked into tables, and the functions of package bucket by their names there.

local sub, rep, ceil = string.sub, string.rep, math.ceil
local unpack = rawget(_G, 'unpack') or table.unpack

if stored and sub(stored, 1, 3) ~= 'tb\1' then
  if sub(stored, 1, 2) ~= 'tb' then
    return redis.error_reply('THROTTLE_FOREIGN the key holds something else than a state')
  end
  return redis.error_reply('THROTTLE_VERSION the state has version ' .. (byte(stored, 3) or 0) .. ', this script reads ' .. VERSION)
end

local bucket = {}
local s = {
  at = 0, forgotten = 0, expires = 0, blocked = 0, kept = 0, virtual = 0, arrivals = 0, buckets = {}, line = {},
  flows = {}, finishes = {}, -- names, and the tag of each
  batches = {}, appliedAt = {}, -- packed, and the instant of each
}
local where, index = {}, {} -- of each of the request's quotas: its bucket, and that bucket's place among all
local aligned -- the quotas that these are of

function bucket.text(text)
  return pack('<H', #text) .. text
end

-- readText returns the text at a position, and the position after it.
function bucket.readText(from, at)
  local size = unpackFrom('<H', from, at)
  return sub(from, at + 2, at + 1 + size), at + 2 + size
end

-- readBuckets returns what limits say of buckets, and the position after them.
function bucket.readBuckets(from)
  local n, at = byte(from, 4), 5
  local resources, buckets = {}, {}
  for i = 1, n do
    resources[i], at = bucket.readText(from, at)
  end
  local v = { unpackFrom('<' .. rep('ddd', n), from, at) }
  for i = 1, n do
    local burst = v[3 * i]
    buckets[i] = { v[3 * i - 2], v[3 * i - 1], burst, burst, 0, 0, resources[i] }
  end
  return buckets, v[3 * n + 1]
end

function bucket.decode(from)
  local buckets, at = bucket.readBuckets(from)
  local n = #buckets
  local v = { unpackFrom('<Bdddd' .. rep('d', n) .. 'B', from, at) }
  local flags, count = v[1], v[n + 6]
  s.buckets, s.at, s.forgotten, s.expires = buckets, v[2], v[3], v[5]
  for i = 1, n do
    buckets[i][LEVEL] = v[5 + i]
  end
  at = v[n + 7]
  for i = 1, count do
    local appliedAt, effects, client = unpackFrom('<dI4H', from, at)
    local numberAt = at + 14 + client
    local after = numberAt + 2 - NUMBER + unpackFrom('<H', from, numberAt) + effects
    s.batches[i], s.appliedAt[i] = sub(from, at, after - 1), appliedAt
    at = after
  end
  if flags % 2 >= OVERRIDES then
    for i = 1, n do
      buckets[i][OVER_LIMIT], buckets[i][OVER_BURST], at = unpackFrom('<dd', from, at)
    end
  end
  if flags % 4 >= BLOCKED then
    s.blocked, at = unpackFrom('<d', from, at)
  end
  if flags >= KEPT then
    s.kept, at = unpackFrom('<d', from, at)
  end
  if flags % 8 >= LINE then
    bucket.decodeLine(from, at, n)
  end
end

function bucket.decodeLine(from, at, n)
  local places, flows
  s.virtual, s.arrivals, places, flows, at = unpackFrom('<dddd', from, at)
  local format = '<HHddddddd' .. rep('d', n)
  for i = 1, places do
    local p = { unpackFrom(format, from, at) }
    local id, flow = p[ID], p[FLOW]
    at = p[PROTECTS + n + 1]
    p[ID], p[FLOW], p[PROTECTS + n + 1] = sub(from, at, at + id - 1), sub(from, at + id, at + id + flow - 1), nil
    at = at + id + flow
    s.line[i] = p
  end
  local sizes = { unpackFrom('<' .. rep('H', flows), from, at) }
  s.finishes = { unpackFrom('<' .. rep('d', flows), from, sizes[flows + 1]) }
  at = s.finishes[flows + 1]
  s.finishes[flows + 1] = nil
  for i = 1, flows do
    s.flows[i] = sub(from, at, at + sizes[i] - 1)
    at = at + sizes[i]
  end
end

function bucket.encode()
  local buckets, batches, appliedAt = s.buckets, s.batches, s.appliedAt
  local n, count = #buckets, #batches
  local texts, numbers, overrides = { 'tb', string.char(VERSION, n) }, {}, {}
  local flags, newest = 0, 0
  for i = 1, n do
    local b = buckets[i]
    texts[2 + i] = bucket.text(b[RESOURCE])
    numbers[3 * i - 2], numbers[3 * i - 1], numbers[3 * i], numbers[3 * n + 5 + i] = b[LIMIT], b[PER], b[BURST], b[LEVEL]
    overrides[2 * i - 1], overrides[2 * i] = b[OVER_LIMIT], b[OVER_BURST]
    if b[OVER_LIMIT] > 0 then
      flags = OVERRIDES
    end
  end
  if s.blocked ~= 0 then
    flags = flags + BLOCKED
  end
  if s.kept ~= 0 then
    flags = flags + KEPT
  end
  if #s.line > 0 then
    flags = flags + LINE
  end
  for i = 1, count do
    if appliedAt[i] < newest then
      flags = flags + UNORDERED
      break
    end
    newest = appliedAt[i]
  end
  numbers[3 * n + 1], numbers[3 * n + 2], numbers[3 * n + 3], numbers[3 * n + 4] = flags, s.at, s.forgotten, newest
  numbers[3 * n + 5], numbers[4 * n + 6] = s.expires, count
  texts[n + 3] = pack('<' .. rep('ddd', n) .. 'Bdddd' .. rep('d', n) .. 'B', unpack(numbers))
  texts[n + 4] = table.concat(batches)
  if flags % 2 >= OVERRIDES then
    texts[#texts + 1] = pack('<' .. rep('dd', n), unpack(overrides))
  end
  if s.blocked ~= 0 then
    texts[#texts + 1] = pack('<d', s.blocked)
  end
  if s.kept ~= 0 then
    texts[#texts + 1] = pack('<d', s.kept)
  end
  if #s.line > 0 then
    bucket.encodeLine(texts, n)
  end
  return table.concat(texts)
end

function bucket.encodeLine(texts, n)
  local at, places, flows, sizes = #texts, #s.line, #s.flows, {}
  texts[at + 1] = pack('<dddd', s.virtual, s.arrivals, places, flows)
  local format = '<HHddddddd' .. rep('d', n)
  for i = 1, places do
    local p = s.line[i]
    texts[at + 1 + i] = pack(format, #p[ID], #p[FLOW], unpack(p, PRIORITY, PROTECTS + n)) .. p[ID] .. p[FLOW]
  end
  for i = 1, flows do
    sizes[i] = #s.flows[i]
  end
  at = at + places + 2
  texts[at] = pack('<' .. rep('H', flows), unpack(sizes))
  texts[at + 1] = pack('<' .. rep('d', flows), unpack(s.finishes))
  texts[at + 2] = table.concat(s.flows)
end
