-- Operations (apply.go). Each returns its status, and the answer where that is more.

local function acquire(t, op)
  local own = op.place ~= '' and find(op.place) or nil
  for i = 1, #quotas do
    if op.cost[i] > cap(s.buckets[where[i]]) then
      if own then
        leave(own)
      end
      return TOO_LARGE, pack('<BB', TOO_LARGE, i)
    end
  end
  if own and (s.line[own].flow ~= op.flow or s.line[own].priority ~= op.priority) then
    leave(own)
    own = nil
  end
  local start, position = 0, own or 1
  if own then
    start = s.line[own].start
  elseif #s.line > 0 then
    start = startOf(op.flow)
    position = positionOf(t, op.priority, start)
  end

  if t >= s.blocked and covers(t, op, position) then
    advance(t)
    for i = 1, #quotas do
      if op.cost[i] ~= 0 then
        local b = s.buckets[where[i]]
        b.level = b.level - op.cost[i]
      end
    end
    if #s.line > 0 then
      served(own, start, op)
    end
    return GRANTED
  end

  local at, quota = hint(t, op, position)
  if op.place ~= '' then
    if not own then
      join(t, op, start, position)
    end
    keep(own ~= nil, position, t, at, op)
  end
  return REFUSED, pack('<BBdd', REFUSED, quota, at - now, position)
end

local function adjust(t, op, sign)
  advance(t)
  for i = 1, #quotas do
    if op.cost[i] ~= 0 then
      local b = s.buckets[where[i]]
      b.level = least(b.level + sign * op.cost[i], cap(b))
    end
  end
  if #s.line > 0 then
    giveBack(op.flow, sign * share(op) / op.weight, -1)
  end
end

local function override(t, b, limit, burst)
  advance(t)
  if limit > 0 and burst == 0 then
    burst = least(limit * b.burst / b.limit, MAX_UNITS)
  end
  b.overLimit, b.overBurst = limit, burst
  b.level = least(b.level, cap(b))
end

local function observe(t, op)
  local b = s.buckets[where[op.quota]]
  if op.limit ~= 0 and op.limit ~= rate(b) then
    override(t, b, op.limit == b.limit and 0 or op.limit, 0)
  end
  if op.level < levelAfter(b, t - s.at) then
    advance(t)
    b.level = op.level
  end
end

-- peek encodes the state as it is at an instant.
local function peek(t)
  local at, levels = s.at, {}
  for i = 1, #s.buckets do
    levels[i] = s.buckets[i].level
  end
  advance(t)
  local state = encode()
  s.at = at
  for i = 1, #s.buckets do
    s.buckets[i].level = levels[i]
  end
  return DONE, pack('<BI4', PEEKED, #state) .. state
end

local function rebase()
  local back = s.at - now
  if back <= 0 then
    return
  end
  if #s.batches > 0 or s.forgotten > 0 then
    s.batches, s.forgotten = {}, s.at
  end
  s.at = now
  s.blocked = most(0, s.blocked - back)
  for i = 1, #s.line do
    local p = s.line[i]
    p.since, p.due, p.lease = most(0, p.since - back), most(0, p.due - back), p.lease - back
  end
  sortLine()
end

local function apply(t, op)
  local kind = op.kind
  if kind == ACQUIRE then
    return acquire(t, op)
  elseif kind == LEAVE then
    local i = find(op.place)
    if i then
      leave(i)
    end
  elseif kind == ADJUST then
    adjust(t, op, 1)
  elseif kind == RECORD then
    adjust(t, op, -1)
  elseif kind == SET_LIMIT then
    override(t, s.buckets[where[op.quota]], op.limit, op.burst)
  elseif kind == CLEAR_LIMIT then
    override(t, s.buckets[where[op.quota]], 0, 0)
  elseif kind == BLOCK then
    s.blocked = op.span <= 0 and 0 or most(s.blocked, t + op.span)
  elseif kind == OBSERVE then
    observe(t, op)
  elseif kind == PEEK then
    return peek(t)
  elseif kind == REBASE then
    rebase()
  else
    return INVALID
  end
  return DONE
end

-- readOps unpacks a request's operations; an END stays among them.
local function readOps(from)
  local ops, at = {}, 1
  while at <= #from do
    local op = { kind = byte(from, at) }
    at = at + 1
    if op.kind ~= END and op.kind >= AFTER then
      op.kind, op.after = op.kind - AFTER, true
    end
    local kind = op.kind
    if kind == ACQUIRE or kind == ADJUST or kind == RECORD then
      local size
      size, at = unpackFrom('<H', from, at)
      op.cost, op.place, op.flow, op.priority, op.weight, op.poll, op.grace = {}, '', '', 0, 1, 0, 0
      for i = 1, #quotas do
        op.cost[i], at = unpackFrom('<d', from, at)
      end
      if size > 0 then
        op.place, at = readText(from, at)
        op.flow, at = readText(from, at)
        op.priority, op.weight, op.poll, op.grace, at = unpackFrom('<dddd', from, at)
      end
    elseif kind == LEAVE then
      op.place, at = readText(from, at)
    elseif kind == SET_LIMIT then
      op.quota, op.limit, op.burst, at = unpackFrom('<Hdd', from, at)
    elseif kind == CLEAR_LIMIT then
      op.quota, at = unpackFrom('<H', from, at)
    elseif kind == BLOCK then
      op.span, at = unpackFrom('<d', from, at)
    elseif kind == OBSERVE then
      op.quota, op.level, op.limit, at = unpackFrom('<Hdd', from, at)
    end
    if op.quota then
      op.quota = op.quota + 1
    end
    ops[#ops + 1] = op
  end
  return ops
end
