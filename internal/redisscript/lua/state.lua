-- The general way: the state unpacked into tables, and the functions of package bucket by their names there.

local function least(a, b)
  return b < a and b or a
end

local function most(a, b)
  return b > a and b or a
end

-- readText returns the text at a position, and the position after it.
local function readText(from, at)
  local size, start = unpackFrom('<H', from, at)
  return sub(from, start, start + size - 1), start + size
end

local function text(s)
  return pack('<H', #s) .. s
end

-- readLimits returns the quotas at the start of a state, and the position after them.
local function readLimits(from)
  local quotas, at = {}, 5
  for i = 1, byte(from, 4) do
    local q = {}
    q.limit, q.per, q.burst, at = unpackFrom('<ddd', from, at)
    quotas[i] = q
  end
  for i = 1, #quotas do
    quotas[i].resource, at = readText(from, at)
  end
  return quotas, at
end

local s = { at = 0, forgotten = 0, blocked = 0, virtual = 0, arrivals = 0, buckets = {}, line = {}, flows = {}, batches = {} }

local function decode(from)
  local quotas, at = readLimits(from)
  local flags, count, _
  s.buckets = quotas
  flags, s.at, s.forgotten, _, at = unpackFrom('<Bddd', from, at)
  for i = 1, #quotas do
    quotas[i].level, at = unpackFrom('<d', from, at)
    quotas[i].overLimit, quotas[i].overBurst = 0, 0
  end
  count, at = unpackFrom('<B', from, at)
  at = at + 4 * count
  for i = 1, count do
    local b, size = {}, 0
    b.at, size, at = unpackFrom('<dI4', from, at)
    b.client, at = readText(from, at)
    b.number, at = readText(from, at)
    b.effects, at = sub(from, at, at + size - 1), at + size
    s.batches[i] = b
  end
  if flags % 2 >= OVERRIDES then
    for i = 1, #quotas do
      quotas[i].overLimit, quotas[i].overBurst, at = unpackFrom('<dd', from, at)
    end
  end
  if flags % 4 >= BLOCKED then
    s.blocked, at = unpackFrom('<d', from, at)
  end
  if flags % 8 >= LINE then
    local places, flows
    s.virtual, s.arrivals, places, flows, at = unpackFrom('<dddd', from, at)
    for i = 1, places do
      local p = { cost = {} }
      p.id, at = readText(from, at)
      p.flow, at = readText(from, at)
      p.priority, p.start, p.span, p.arrival, p.since, p.due, p.lease, at = unpackFrom('<ddddddd', from, at)
      for j = 1, #quotas do
        p.cost[j], at = unpackFrom('<d', from, at)
      end
      s.line[i] = p
    end
    for i = 1, flows do
      local f = {}
      f.name, at = readText(from, at)
      f.finish, at = unpackFrom('<d', from, at)
      s.flows[i] = f
    end
  end
end

local function encode()
  local out, buckets = {}, s.buckets
  local function add(piece)
    out[#out + 1] = piece
  end
  add('tb' .. pack('<BB', VERSION, #buckets))
  local overrides = false
  for i = 1, #buckets do
    local b = buckets[i]
    add(pack('<ddd', b.limit, b.per, b.burst))
    overrides = overrides or b.overLimit > 0
  end
  for i = 1, #buckets do
    add(text(buckets[i].resource))
  end
  local flags, newest = 0, 0
  if overrides then
    flags = flags + OVERRIDES
  end
  if s.blocked ~= 0 then
    flags = flags + BLOCKED
  end
  if #s.line > 0 then
    flags = flags + LINE
  end
  for i = 1, #s.batches do
    if s.batches[i].at < newest then
      flags = flags + UNORDERED
      break
    end
    newest = s.batches[i].at
  end
  add(pack('<Bddd', flags, s.at, s.forgotten, newest))
  for i = 1, #buckets do
    add(pack('<d', buckets[i].level))
  end
  add(pack('<B', #s.batches))
  local batches = {}
  for i = 1, #s.batches do
    local b = s.batches[i]
    batches[i] = pack('<dI4', b.at, #b.effects) .. text(b.client) .. text(b.number) .. b.effects
    add(pack('<I4', #batches[i]))
  end
  add(table.concat(batches))
  if overrides then
    for i = 1, #buckets do
      add(pack('<dd', buckets[i].overLimit, buckets[i].overBurst))
    end
  end
  if s.blocked ~= 0 then
    add(pack('<d', s.blocked))
  end
  if #s.line > 0 then
    add(pack('<dddd', s.virtual, s.arrivals, #s.line, #s.flows))
    for i = 1, #s.line do
      local p = s.line[i]
      add(text(p.id) .. text(p.flow) .. pack('<ddddddd', p.priority, p.start, p.span, p.arrival, p.since, p.due, p.lease))
      for j = 1, #buckets do
        add(pack('<d', p.cost[j]))
      end
    end
    for i = 1, #s.flows do
      add(text(s.flows[i].name) .. pack('<d', s.flows[i].finish))
    end
  end
  return table.concat(out)
end
