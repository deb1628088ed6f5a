-- Buckets for the request's limits (state.go).

-- precedes compares buckets in the common order. Lua's own comparison of strings depends on the server's locale.
function bucket.precedes(a, b)
  local x, y = a[RESOURCE], b[RESOURCE]
  if x == y then
    return a[PER] < b[PER]
  end
  for i = 1, #x do
    local c, d = byte(x, i), byte(y, i)
    if c ~= d then
      return d ~= nil and c < d
    end
  end
  return true
end

function bucket.same(b, q)
  return b[RESOURCE] == q[RESOURCE] and b[PER] == q[PER]
end

function bucket.protected(i)
  for j = 1, #s.line do
    if s.line[j][PROTECTS + i] > 0 then
      return true
    end
  end
  return false
end

function bucket.drop(quotas)
  if s.kept > s.at then
    return
  end
  for i = #s.buckets, 1, -1 do
    local b = s.buckets[i]
    local named = false
    for j = 1, #quotas do
      named = named or bucket.same(b, quotas[j])
    end
    if not (named or b[OVER_LIMIT] > 0 or b[LEVEL] < b[BURST] or bucket.protected(i)) then
      table.remove(s.buckets, i)
      for j = 1, #s.line do
        table.remove(s.line[j], PROTECTS + i)
      end
    end
  end
end

function bucket.matches(quotas)
  if #s.buckets ~= #quotas then
    return false
  end
  for i = 1, #quotas do
    local b, q = s.buckets[i], quotas[i]
    if not bucket.same(b, q) or b[LIMIT] ~= q[LIMIT] or b[BURST] ~= q[BURST] then
      return false
    end
  end
  return true
end

function bucket.keepFor(b, q)
  if q[BURST] < b[BURST] and b[LEVEL] < b[BURST] then
    local before = { b[LIMIT], b[PER], b[BURST], b[LEVEL], 0, 0 }
    s.kept = math.max(s.kept, s.at + bucket.timeTo(before, b[BURST]))
  end
end

-- align is asked before each part of a request. Only it changes which buckets there are, so where these are the quotas'
-- alone, nothing is to be done for the parts after the first.
function bucket.align(quotas)
  if quotas and quotas == aligned and #s.buckets == #quotas then
    return
  end
  where, index, aligned = {}, {}, quotas
  if not quotas then
    return
  end
  if not bucket.matches(quotas) then
    bucket.advance(now)
    if bucket.absentNow() then
      s.buckets = {}
    end
    bucket.drop(quotas)
    local i = 1
    for k = 1, #quotas do
      local q = quotas[k]
      while s.buckets[i] and bucket.precedes(s.buckets[i], q) do
        i = i + 1
      end
      local b = s.buckets[i]
      if b and bucket.same(b, q) then
        bucket.keepFor(b, q)
        b[LIMIT], b[BURST] = q[LIMIT], q[BURST]
        b[LEVEL] = math.min(b[LEVEL], bucket.cap(b))
      else
        table.insert(s.buckets, i, q)
        for j = 1, #s.line do
          table.insert(s.line[j], PROTECTS + i, 0)
        end
      end
    end
  end
  local i = 1
  for k = 1, #quotas do
    while not bucket.same(s.buckets[i], quotas[k]) do
      i = i + 1
    end
    where[k], index[k] = s.buckets[i], i
  end
end
