-- Operations (apply.go). apply returns the status, and the answer where there is more to it.

function bucket.acquire(t, op)
  local own = op.place ~= '' and bucket.find(op.place) or nil
  for i = 1, #where do
    if op[COST + i] > bucket.cap(where[i]) then
      if own then
        bucket.leave(own)
      end
      return TOO_LARGE, pack('<BB', TOO_LARGE, i)
    end
  end
  if own and (s.line[own][FLOW] ~= op.flow or s.line[own][PRIORITY] ~= op.priority) then
    bucket.leave(own)
    own = nil
  end
  local start, position = 0, own or 1
  if own then
    start = s.line[own][START]
  elseif #s.line > 0 then
    start = bucket.startOf(op.flow)
    position = bucket.positionOf(t, op.priority, start)
  end

  if t >= s.blocked and bucket.covers(t, op, position) then
    bucket.advance(t)
    for i = 1, #where do
      local b = where[i]
      if op[COST + i] ~= 0 then
        b[LEVEL] = b[LEVEL] - op[COST + i]
      end
    end
    if #s.line > 0 then
      bucket.served(own, start, op)
    end
    return GRANTED
  end

  local at, quota = bucket.hint(t, op, position)
  if op.place == '' then
    at, quota = bucket.hintFurtherBack(at, quota, t, op, start, position)
  else
    if not own then
      bucket.join(t, op, start, position)
    end
    bucket.keep(own ~= nil, position, t, at, op)
  end
  return REFUSED, pack('<BBdd', REFUSED, quota, at - now, position)
end

function bucket.adjust(t, op, sign)
  bucket.advance(t)
  for i = 1, #where do
    local b = where[i]
    if op[COST + i] ~= 0 then
      b[LEVEL] = math.min(b[LEVEL] + sign * op[COST + i], bucket.cap(b))
    end
  end
  if #s.line > 0 then
    bucket.giveBack(op.flow, sign * bucket.share(op) / op.weight, -1)
  end
end

function bucket.override(t, b, limit, burst)
  bucket.advance(t)
  if limit > 0 and burst == 0 then
    burst = math.min(limit * b[BURST] / b[LIMIT], MAX_UNITS)
  end
  b[OVER_LIMIT], b[OVER_BURST] = limit, burst
  b[LEVEL] = math.min(b[LEVEL], bucket.cap(b))
end

function bucket.observe(t, op)
  local b = where[op.quota]
  if op.limit ~= 0 and op.limit ~= bucket.rate(b) then
    bucket.override(t, b, op.limit == b[LIMIT] and 0 or op.limit, 0)
  end
  if op.level < bucket.levelAfter(b, t - s.at) then
    bucket.advance(t)
    b[LEVEL] = op.level
  end
end

-- peek encodes the state as it is at an instant.
function bucket.peek(t)
  local at, levels = s.at, {}
  for i = 1, #s.buckets do
    levels[i] = s.buckets[i][LEVEL]
  end
  bucket.advance(t)
  local state = bucket.encode()
  s.at = at
  for i = 1, #s.buckets do
    s.buckets[i][LEVEL] = levels[i]
  end
  return DONE, pack('<BI4', PEEKED, #state) .. state
end

function bucket.rebase()
  local back = s.at - now
  if back <= 0 then
    return
  end
  if #s.batches > 0 or s.forgotten > 0 then
    s.batches, s.appliedAt, s.forgotten = {}, {}, s.at
  end
  s.at = now
  s.blocked, s.kept = math.max(0, s.blocked - back), math.max(0, s.kept - back)
  for i = 1, #s.line do
    local p = s.line[i]
    p[SINCE], p[DUE], p[LEASE] = math.max(0, p[SINCE] - back), math.max(0, p[DUE] - back), p[LEASE] - back
  end
  bucket.sortLine()
end

function bucket.apply(t, op)
  local kind = op.kind
  if kind == ACQUIRE then
    return bucket.acquire(t, op)
  elseif kind == LEAVE then
    local i = bucket.find(op.place)
    if i then
      bucket.leave(i)
    end
  elseif kind == ADJUST then
    bucket.adjust(t, op, 1)
  elseif kind == RECORD then
    bucket.adjust(t, op, -1)
  elseif kind == SET_LIMIT then
    bucket.override(t, where[op.quota], op.limit, op.burst)
  elseif kind == CLEAR_LIMIT then
    bucket.override(t, where[op.quota], 0, 0)
  elseif kind == BLOCK then
    s.blocked = op.span <= 0 and 0 or math.max(s.blocked, t + op.span)
  elseif kind == OBSERVE then
    bucket.observe(t, op)
  elseif kind == PEEK then
    return bucket.peek(t)
  elseif kind == REBASE then
    bucket.rebase()
  else
    return INVALID
  end
  return DONE
end

-- readOps unpacks a request's operations; an END stays among them.
function bucket.readOps(from)
  local ops, at = {}, 1
  local costs = '<BH' .. rep('d', #where)
  while at <= #from do
    local kind, after, op = byte(from, at), false, nil
    if kind ~= END and kind >= AFTER then
      kind, after = kind - AFTER, true
    end
    if kind == ACQUIRE or kind == ADJUST or kind == RECORD then
      op = { place = '', flow = '', priority = 0, weight = 1, poll = 0, grace = 0, kind = 0, after = false, unpackFrom(costs, from, at) }
      local size = op[2]
      at = op[COST + #where + 1]
      if size > 0 then
        op.place, at = bucket.readText(from, at)
        op.flow, at = bucket.readText(from, at)
        op.priority, op.weight, op.poll, op.grace, at = unpackFrom('<dddd', from, at)
      end
    else
      op = {}
      at = at + 1
      if kind == LEAVE then
        op.place, at = bucket.readText(from, at)
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
    end
    op.kind, op.after = kind, after
    ops[#ops + 1] = op
  end
  return ops
end
