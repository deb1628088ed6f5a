-- Buckets for the request's limits (state.go). where[i] is the bucket of quota i.

local quotas, where = {}, {}

-- precedes compares quotas in the common order. Lua's own comparison of strings depends on the server's locale.
local function precedes(a, b)
  if a.resource == b.resource then
    return a.per < b.per
  end
  for i = 1, #a.resource do
    local x, y = byte(a.resource, i), byte(b.resource, i)
    if x ~= y then
      return y ~= nil and x < y
    end
  end
  return true
end

local function protected(i)
  for j = 1, #s.line do
    if s.line[j].cost[i] > 0 then
      return true
    end
  end
  return false
end

local function drop()
  for i = #s.buckets, 1, -1 do
    local b = s.buckets[i]
    local named = false
    for j = 1, #quotas do
      named = named or quotas[j].resource == b.resource and quotas[j].per == b.per
    end
    if not (named or b.overLimit > 0 or b.level < cap(b) or protected(i)) then
      table.remove(s.buckets, i)
      for j = 1, #s.line do
        table.remove(s.line[j].cost, i)
      end
    end
  end
end

local function matches()
  if #s.buckets ~= #quotas then
    return false
  end
  for i = 1, #quotas do
    local b, q = s.buckets[i], quotas[i]
    if b.resource ~= q.resource or b.per ~= q.per or b.limit ~= q.limit or b.burst ~= q.burst then
      return false
    end
  end
  return true
end

local function align(limits)
  quotas, where = {}, {}
  if limits == '' then
    return
  end
  quotas = readLimits(limits)
  if not matches() then
    advance(now)
    if absentNow() then
      s.buckets = {}
    end
    drop()
    local i = 1
    for k = 1, #quotas do
      local q = quotas[k]
      while s.buckets[i] and precedes(s.buckets[i], q) do
        i = i + 1
      end
      local b = s.buckets[i]
      if b and b.resource == q.resource and b.per == q.per then
        b.limit, b.burst = q.limit, q.burst
        b.level = least(b.level, cap(b))
      else
        q.level, q.overLimit, q.overBurst = q.burst, 0, 0
        table.insert(s.buckets, i, q)
        for j = 1, #s.line do
          table.insert(s.line[j].cost, i, 0)
        end
      end
    end
  end
  local i = 1
  for k = 1, #quotas do
    while s.buckets[i].resource ~= quotas[k].resource or s.buckets[i].per ~= quotas[k].per do
      i = i + 1
    end
    where[k] = i
  end
end
