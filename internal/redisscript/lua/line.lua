-- The line (line.go). Positions count from 1.

local MIN_OVERFULL, SLACK, AGEING, MAX_FLOWS = 1000, 60000000, 8, 256

local function rank(start, since)
  return start + since / AGEING
end

-- sortLine restores the order: by priority, rank and arrival.
local function sortLine()
  table.sort(s.line, function(a, b)
    if a.priority ~= b.priority then
      return a.priority > b.priority
    end
    local x, y = rank(a.start, a.since), rank(b.start, b.since)
    if x ~= y then
      return x < y
    end
    return a.arrival < b.arrival
  end)
end

local function findFlow(name)
  for i = 1, #s.flows do
    if s.flows[i].name == name then
      return s.flows[i]
    end
  end
end

local function startOf(flow)
  local f = findFlow(flow)
  return f and most(s.virtual - SLACK, f.finish) or s.virtual
end

local function setFinish(flow, finish)
  finish = most(s.virtual - SLACK, finish)
  local f = findFlow(flow)
  if f then
    f.finish = finish
    return
  end
  if #s.flows >= MAX_FLOWS then
    local earliest = 1
    for i = 2, #s.flows do
      if s.flows[i].finish < s.flows[earliest].finish then
        earliest = i
      end
    end
    table.remove(s.flows, earliest)
  end
  s.flows[#s.flows + 1] = { name = flow, finish = finish }
end

local function giveBack(flow, amount, after)
  if amount == 0 then
    return
  end
  local moved = false
  for i = 1, #s.line do
    local p = s.line[i]
    if p.flow == flow and p.arrival > after then
      p.start = most(s.virtual - SLACK, p.start - amount)
      moved = true
    end
  end
  if amount < 0 or findFlow(flow) then
    setFinish(flow, startOf(flow) - amount)
  end
  if moved then
    sortLine()
  end
end

local function tidy()
  if #s.line == 0 then
    s.flows, s.virtual, s.arrivals = {}, 0, 0
    return
  end
  local kept = {}
  for i = 1, #s.flows do
    if not (s.flows[i].finish < s.virtual - SLACK) then
      kept[#kept + 1] = s.flows[i]
    end
  end
  s.flows = kept
end

local function find(place)
  for i = 1, #s.line do
    if s.line[i].id == place then
      return i
    end
  end
end

local function leave(i)
  local p = table.remove(s.line, i)
  giveBack(p.flow, p.span, p.arrival)
  tidy()
end

local function dropExpired(t)
  local i = #s.line
  while i >= 1 do
    if s.line[i].lease < t then
      leave(i)
      i = #s.line + 1 -- leaving may reorder the line
    end
    i = i - 1
  end
end

local function share(op)
  local share = 0
  for i = 1, #quotas do
    local b = s.buckets[where[i]]
    local part = op.cost[i] * b.per / rate(b)
    if math.abs(part) > math.abs(share) then
      share = part
    end
  end
  return most(-MAX_SPAN, least(share, MAX_SPAN))
end

local function ahead(j, position)
  local sum = 0
  for k = 1, position - 1 do
    sum = sum + s.line[k].cost[j]
  end
  return sum
end

local function front(j, position)
  local sum = 0
  for k = 1, position - 1 do
    local following = sum + s.line[k].cost[j]
    if following > cap(s.buckets[j]) then
      break
    end
    sum = following
  end
  return sum
end

local function covers(t, op, position)
  for i = 1, #quotas do
    local cost, j = op.cost[i], where[i]
    if cost ~= 0 and levelAfter(s.buckets[j], t - s.at) < ahead(j, position) + cost then
      return false
    end
  end
  return true
end

-- hint returns when to ask again, and which quota binds: its number, or 0 for the block.
local function hint(t, op, position)
  local at, quota, overfull = t, 0, false
  for i = 1, #quotas do
    local cost, j = op.cost[i], where[i]
    if cost ~= 0 then
      local b = s.buckets[j]
      local need, over = ahead(j, position) + cost, false
      if need > cap(b) then
        need, over = front(j, position), true
        overfull = true
      end
      local short = levelAfter(b, t - s.at) < need
      if short or over then
        local when = short and later(s.at, timeTo(b, need)) or t
        if when > at or quota == 0 then
          at, quota = when, i
        end
      end
    end
  end
  if overfull then
    at = most(at, t + MIN_OVERFULL)
    if position > 1 then
      at = most(at, s.line[1].due)
    end
  end
  if s.blocked > at or s.blocked > t and s.blocked == at then
    at, quota = s.blocked, 0
  end
  return least(at, t + MAX_SPAN), quota
end

local function served(own, start, op)
  local span = share(op) / op.weight
  if own then
    local p = table.remove(s.line, own)
    giveBack(p.flow, p.span - span, p.arrival)
  else
    setFinish(op.flow, start + span)
  end
  if #s.line > 0 then
    s.virtual = most(s.virtual, least(start, s.line[1].start))
  end
  tidy()
end

local function positionOf(t, priority, start)
  local own = rank(start, t)
  for i = 1, #s.line do
    local p = s.line[i]
    if p.priority < priority or p.priority == priority and rank(p.start, p.since) > own then
      return i
    end
  end
  return #s.line + 1
end

local function join(t, op, start, position)
  local p = {
    id = op.place, flow = op.flow, priority = op.priority, start = start, span = share(op) / op.weight,
    arrival = s.arrivals, since = t, cost = {},
  }
  for j = 1, #s.buckets do
    p.cost[j] = 0
  end
  s.arrivals = s.arrivals + 1
  setFinish(op.flow, start + p.span)
  table.insert(s.line, position, p)
end

local function keep(renewed, position, t, at, op)
  local p = s.line[position]
  for i = 1, #quotas do
    p.cost[where[i]] = op.cost[i]
  end
  p.due = at
  if op.poll > 0 then
    p.due = least(at, t + op.poll)
  end
  p.lease = p.due + op.grace
  local span = share(op) / op.weight
  if renewed and span ~= p.span then
    local back = p.span - span
    p.span = span
    giveBack(p.flow, back, p.arrival)
  end
end
