-- The line (line.go). Positions count from 1. where has the bucket of each quota, index its place among all.

function bucket.rank(start, since)
  return start + since / AGEING
end

-- precedesInLine says whether place a goes before place b: by priority, rank and arrival.
function bucket.precedesInLine(a, b)
  if a[PRIORITY] ~= b[PRIORITY] then
    return a[PRIORITY] > b[PRIORITY]
  end
  local x, y = bucket.rank(a[START], a[SINCE]), bucket.rank(b[START], b[SINCE])
  if x ~= y then
    return x < y
  end
  return a[ARRIVAL] < b[ARRIVAL]
end

-- sortLine puts the line in order. Most often it is.
function bucket.sortLine()
  for i = 2, #s.line do
    if bucket.precedesInLine(s.line[i], s.line[i - 1]) then
      table.sort(s.line, bucket.precedesInLine)
      return
    end
  end
end

function bucket.findFlow(name)
  for i = 1, #s.flows do
    if s.flows[i] == name then
      return i
    end
  end
end

function bucket.startOf(flow)
  local i = bucket.findFlow(flow)
  return i and math.max(s.virtual - SLACK, s.finishes[i]) or s.virtual
end

function bucket.setFinish(flow, finish)
  finish = math.max(s.virtual - SLACK, finish)
  local i = bucket.findFlow(flow)
  if i then
    s.finishes[i] = finish
    return
  end
  if #s.flows >= MAX_FLOWS then
    local earliest = 1
    for k = 2, #s.flows do
      if s.finishes[k] < s.finishes[earliest] then
        earliest = k
      end
    end
    table.remove(s.flows, earliest)
    table.remove(s.finishes, earliest)
  end
  s.flows[#s.flows + 1] = flow
  s.finishes[#s.finishes + 1] = finish
end

function bucket.giveBack(flow, amount, after)
  if amount == 0 then
    return
  end
  local moved = false
  for i = 1, #s.line do
    local p = s.line[i]
    if p[FLOW] == flow and p[ARRIVAL] > after then
      p[START] = math.max(s.virtual - SLACK, p[START] - amount)
      moved = true
    end
  end
  if amount < 0 or bucket.findFlow(flow) then
    bucket.setFinish(flow, bucket.startOf(flow) - amount)
  end
  if moved then
    bucket.sortLine()
  end
end

function bucket.tidy()
  if #s.line == 0 then
    s.flows, s.finishes, s.virtual, s.arrivals = {}, {}, 0, 0
    return
  end
  for i = #s.flows, 1, -1 do
    if s.finishes[i] < s.virtual - SLACK then
      table.remove(s.flows, i)
      table.remove(s.finishes, i)
    end
  end
end

function bucket.find(place)
  for i = 1, #s.line do
    if s.line[i][ID] == place then
      return i
    end
  end
end

function bucket.leave(i)
  local p = table.remove(s.line, i)
  bucket.giveBack(p[FLOW], p[SPAN], p[ARRIVAL])
  bucket.tidy()
end

function bucket.dropExpired(t)
  local live, expired = {}, {}
  for i = 1, #s.line do
    local p = s.line[i]
    if p[LEASE] < t then
      expired[#expired + 1] = p
    else
      live[#live + 1] = p
    end
  end
  if #expired == 0 then
    return
  end
  s.line = live
  if #live > 0 then -- else no tag survives
    for i = #expired, 1, -1 do
      bucket.giveBack(expired[i][FLOW], expired[i][SPAN], expired[i][ARRIVAL])
    end
  end
  bucket.tidy()
end

function bucket.share(op)
  local share = 0
  for i = 1, #where do
    local b = where[i]
    local part = op[COST + i] * b[PER] / bucket.rate(b)
    if math.abs(part) > math.abs(share) then
      share = part
    end
  end
  return math.max(-MAX_SPAN, math.min(share, MAX_SPAN))
end

function bucket.ahead(j, position)
  local sum = 0
  for k = 1, position - 1 do
    sum = sum + s.line[k][PROTECTS + j]
  end
  return sum
end

function bucket.front(j, position)
  local sum, burst = 0, bucket.cap(s.buckets[j])
  for k = 1, position - 1 do
    local following = sum + s.line[k][PROTECTS + j]
    if following > burst then
      break
    end
    sum = following
  end
  return sum
end

function bucket.covers(t, op, position)
  for i = 1, #where do
    local cost = op[COST + i]
    if cost ~= 0 then
      local need = position > 1 and bucket.ahead(index[i], position) + cost or cost
      if bucket.levelAfter(where[i], t - s.at) < need then
        return false
      end
    end
  end
  return true
end

-- hint returns when to ask again, and which quota binds: its number, or 0 for the block.
function bucket.hint(t, op, position)
  local at, quota, overfull = t, 0, false
  for i = 1, #where do
    local cost, j, b = op[COST + i], index[i], where[i]
    if cost ~= 0 then
      local need, over = bucket.ahead(j, position) + cost, false
      if need > bucket.cap(b) then
        need, over = bucket.front(j, position), true
        overfull = true
      end
      local short = bucket.levelAfter(b, t - s.at) < need
      if short or over then
        local when = short and bucket.later(s.at, bucket.timeTo(b, need)) or t
        if when > at or quota == 0 then
          at, quota = when, i
        end
      end
    end
  end
  if overfull then
    at = math.max(at, t + MIN_OVERFULL)
    if position > 1 then
      at = math.max(at, s.line[1][DUE])
    end
  end
  if s.blocked > at or s.blocked > t and s.blocked == at then
    at, quota = s.blocked, 0
  end
  return math.min(at, t + MAX_SPAN), quota
end

-- hintFurtherBack is hint for one without a place, which doesn't age as others do.
function bucket.hintFurtherBack(at, quota, t, op, start, position)
  while true do
    local later = bucket.positionOf(at, op.priority, start)
    if later <= position then
      return at, quota
    end
    position = later
    at, quota = bucket.hint(t, op, position)
  end
end

function bucket.served(own, start, op)
  local span = bucket.share(op) / op.weight
  if own then
    local p = table.remove(s.line, own)
    bucket.giveBack(p[FLOW], p[SPAN] - span, p[ARRIVAL])
  else
    bucket.setFinish(op.flow, start + span)
  end
  if #s.line > 0 then
    s.virtual = math.max(s.virtual, math.min(start, s.line[1][START]))
  end
  bucket.tidy()
end

function bucket.positionOf(t, priority, start)
  local own = bucket.rank(start, t)
  for i = 1, #s.line do
    local p = s.line[i]
    if p[PRIORITY] < priority or p[PRIORITY] == priority and bucket.rank(p[START], p[SINCE]) > own then
      return i
    end
  end
  return #s.line + 1
end

function bucket.join(t, op, start, position)
  local span = bucket.share(op) / op.weight
  local p = { op.place, op.flow, op.priority, start, span, s.arrivals, t, 0, 0 }
  for j = 1, #s.buckets do
    p[PROTECTS + j] = 0
  end
  s.arrivals = s.arrivals + 1
  bucket.setFinish(op.flow, start + span)
  table.insert(s.line, position, p)
end

function bucket.keep(renewed, position, t, at, op)
  local p = s.line[position]
  for i = 1, #where do
    p[PROTECTS + index[i]] = op[COST + i]
  end
  p[DUE] = at
  if op.poll > 0 then
    p[DUE] = math.min(at, t + op.poll)
  end
  p[LEASE] = p[DUE] + op.grace
  local span = bucket.share(op) / op.weight
  if renewed and span ~= p[SPAN] then
    local back = p[SPAN] - span
    p[SPAN] = span
    bucket.giveBack(p[FLOW], back, p[ARRIVAL])
  end
end
