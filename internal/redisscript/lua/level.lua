-- Levels (refill.go).

function bucket.rate(b)
  return b[OVER_LIMIT] > 0 and b[OVER_LIMIT] or b[LIMIT]
end

function bucket.cap(b)
  return b[OVER_LIMIT] > 0 and b[OVER_BURST] or b[BURST]
end

function bucket.levelAfter(b, elapsed)
  local level, limit, burst = b[LEVEL], b[LIMIT], b[BURST]
  if b[OVER_LIMIT] > 0 then
    limit, burst = b[OVER_LIMIT], b[OVER_BURST]
  end
  if elapsed > 0 then
    level = level + limit * elapsed / b[PER]
  end
  return burst < level and burst or level
end

function bucket.timeTo(b, need)
  local level, per, limit, burst = b[LEVEL], b[PER], bucket.rate(b), bucket.cap(b)
  if level >= need then
    return 0
  end
  local estimate = ceil((need - level) * per / limit)
  if not (estimate < MAX_SPAN) then
    return MAX_SPAN
  end
  if estimate > 1 and burst >= need and level + limit * estimate / per >= need and level + limit * (estimate - 1) / per < need then
    return estimate -- as most often: what follows would find the same, by many calls
  end
  local fails, holds, step = 0, estimate, 1
  if bucket.levelAfter(b, holds) >= need then
    while holds - step > 0 do
      if bucket.levelAfter(b, holds - step) < need then
        fails = holds - step
        break
      end
      holds = holds - step
      step = step * 2
    end
  else
    while bucket.levelAfter(b, holds) < need do
      fails, holds = holds, holds + step
      if holds >= MAX_SPAN then
        return MAX_SPAN
      end
      step = step * 2
    end
  end
  while holds - fails > 1 do
    local middle = fails + math.floor((holds - fails) / 2)
    if bucket.levelAfter(b, middle) >= need then
      holds = middle
    else
      fails = middle
    end
  end
  return holds
end

function bucket.later(at, span)
  return span >= MAX_SPAN and math.huge or at + span
end

function bucket.advance(t)
  if t <= s.at then
    return
  end
  for i = 1, #s.buckets do
    local b = s.buckets[i]
    b[LEVEL] = bucket.levelAfter(b, t - s.at)
  end
  s.at = t
end

-- When a key equals an absent one (state.go).

function bucket.absentAt()
  local at = math.max(s.at, s.blocked, s.kept)
  for i = 1, #s.line do
    at = math.max(at, s.line[i][LEASE] + 1)
  end
  for i = 1, #s.batches do
    at = math.max(at, s.appliedAt[i] + RETRY_WINDOW)
  end
  if s.forgotten > 0 then
    at = math.max(at, s.forgotten + RETRY_WINDOW)
  end
  for i = 1, #s.buckets do
    local b = s.buckets[i]
    if b[OVER_LIMIT] > 0 then
      return math.huge
    end
    if b[LEVEL] < b[BURST] then
      at = math.max(at, bucket.later(s.at, bucket.timeTo(b, b[BURST])))
    end
  end
  return at
end

-- absentNow says whether the key equals an absent one at the instant of its levels.
function bucket.absentNow()
  if s.blocked > s.at or s.kept > s.at or s.forgotten > 0 and s.forgotten > s.at - RETRY_WINDOW then
    return false
  end
  for i = 1, #s.line do
    if s.line[i][LEASE] >= s.at then
      return false
    end
  end
  for i = 1, #s.batches do
    if s.appliedAt[i] > s.at - RETRY_WINDOW then
      return false
    end
  end
  for i = 1, #s.buckets do
    local b = s.buckets[i]
    if b[OVER_LIMIT] > 0 or b[LEVEL] < b[BURST] then
      return false
    end
  end
  return true
end
