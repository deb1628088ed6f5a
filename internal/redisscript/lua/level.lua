-- Levels (refill.go).

local function rate(b)
  return b.overLimit > 0 and b.overLimit or b.limit
end

local function cap(b)
  return b.overLimit > 0 and b.overBurst or b.burst
end

local function levelAfter(b, elapsed)
  local level = b.level
  if elapsed > 0 then
    level = level + rate(b) * elapsed / b.per
  end
  return least(level, cap(b))
end

local function timeTo(b, need)
  if b.level >= need then
    return 0
  end
  local estimate = ceil((need - b.level) * b.per / rate(b))
  if not (estimate < MAX_SPAN) then
    return MAX_SPAN
  end
  local fails, holds, step = 0, estimate, 1
  if levelAfter(b, holds) >= need then
    while holds - step > 0 do
      if levelAfter(b, holds - step) < need then
        fails = holds - step
        break
      end
      holds = holds - step
      step = step * 2
    end
  else
    while levelAfter(b, holds) < need do
      fails, holds = holds, holds + step
      if holds >= MAX_SPAN then
        return MAX_SPAN
      end
      step = step * 2
    end
  end
  while holds - fails > 1 do
    local middle = fails + math.floor((holds - fails) / 2)
    if levelAfter(b, middle) >= need then
      holds = middle
    else
      fails = middle
    end
  end
  return holds
end

local function later(at, span)
  return span >= MAX_SPAN and math.huge or at + span
end

local function advance(t)
  if t <= s.at then
    return
  end
  for i = 1, #s.buckets do
    local b = s.buckets[i]
    b.level = levelAfter(b, t - s.at)
  end
  s.at = t
end

-- When a key equals an absent one (state.go).

local function absentAt()
  local at = most(s.at, s.blocked)
  for i = 1, #s.line do
    at = most(at, s.line[i].lease + 1)
  end
  for i = 1, #s.batches do
    at = most(at, s.batches[i].at + RETRY_WINDOW)
  end
  if s.forgotten > 0 then
    at = most(at, s.forgotten + RETRY_WINDOW)
  end
  for i = 1, #s.buckets do
    local b = s.buckets[i]
    if b.overLimit > 0 then
      return math.huge
    end
    if b.level < cap(b) then
      at = most(at, later(s.at, timeTo(b, cap(b))))
    end
  end
  return at
end

-- absentNow says whether the key, its levels being of the instant, equals an absent one at s.at.
local function absentNow()
  if s.blocked > s.at or s.forgotten > 0 and s.forgotten > s.at - RETRY_WINDOW then
    return false
  end
  for i = 1, #s.line do
    if s.line[i].lease >= s.at then
      return false
    end
  end
  for i = 1, #s.batches do
    if s.batches[i].at > s.at - RETRY_WINDOW then
      return false
    end
  end
  for i = 1, #s.buckets do
    local b = s.buckets[i]
    if b.overLimit > 0 or levelAfter(b, 0) < cap(b) then
      return false
    end
  end
  return true
end
