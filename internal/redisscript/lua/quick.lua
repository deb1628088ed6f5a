-- quick does what is done most: a request with a new name, whose operations are granted, credit or debit, under the
-- limits that the state has, while nobody waits and nothing is blocked. It works on the packed state, with the same sums
-- in the same order as the general way below. Where any of that doesn't hold it returns nothing.
local function quick(client, number, limits, ops)
  if client == '' or limits == '' or sub(stored, 1, #limits) ~= limits then
    return
  end
  local n = byte(limits, 4)
  local doubles = rep('d', n)
  local head = '<Bddd' .. doubles .. 'B'
  local s = { unpackFrom(head, stored, #limits + 1) } -- flags, at, forgotten, newest, levels from s[5], how many batches
  local flags, t, count, sizesAt = s[1], s[2], s[n + 5], s[n + 6]
  local elapsed = now - t
  if elapsed > 0 then
    t = now
  end
  if flags >= LINE or count == 0 or t < s[4] then
    return
  end
  local q = { unpackFrom('<' .. rep(doubles, 3), limits, 5) } -- limit, per, burst of each bucket, as in force
  local least = (t > s[3] and t or s[3]) + RETRY_WINDOW
  local tail = ''
  if flags > 0 then
    if flags >= BLOCKED then
      local blocked = unpackFrom('<d', stored, #stored - 7)
      if blocked > t then
        return
      end
      tail = sub(stored, -8)
    end
    if flags % 2 == OVERRIDES then
      local at = #stored - #tail - 16 * n + 1
      tail = sub(stored, at)
      for i = 1, n do
        local limit, burst = unpackFrom('<dd', tail, 16 * i - 15)
        if limit > 0 then
          q[3 * i - 2], q[3 * i] = limit, burst
        end
      end
      least = math.huge
    end
  end

  -- Which batch makes way: this client's last one; else, where there is no room, the oldest.
  local sizes = { unpackFrom('<' .. rep('I4', count), stored, sizesAt) }
  local first = sizes[count + 1]
  local out, outAt = 0, first
  local found = string.find(stored, client, first, true)
  if found then
    out = 1
    while out < count and outAt + 12 < found do
      outAt = outAt + sizes[out]
      out = out + 1
    end
    local numberAt = found + #client
    if outAt + 12 ~= found or sub(stored, numberAt, numberAt + #number - 1) == number then
      return
    end
  end
  if out ~= 1 or count > 1 then
    local oldest = unpackFrom('<d', stored, out == 1 and first + sizes[1] or first)
    if oldest <= t - RETRY_WINDOW then
      return
    end
    if out == 0 and count == MAX_BATCHES then
      out = 1
      if oldest > s[3] then
        s[3] = oldest
      end
    end
  end

  if elapsed > 0 then
    for i = 1, n do
      local level, burst = s[4 + i] + q[3 * i - 2] * elapsed / q[3 * i - 1], q[3 * i]
      s[4 + i] = level > burst and burst or level
    end
  end
  local absentAt
  local answers, effects = { pack('<dB', now, 0) }, 0
  local opFormat, from = '<BH' .. doubles, 1
  repeat
    local kind = byte(ops, from)
    if kind == ACQUIRE or kind == ADJUST or kind == RECORD then
      local op = { unpackFrom(opFormat, ops, from) } -- kind, size of the rest, costs from op[3]
      for i = 1, n do
        local cost, level, burst = op[2 + i], s[4 + i], q[3 * i]
        if cost ~= 0 then
          if kind == ADJUST then
            level = level + cost
          elseif kind == ACQUIRE and level < cost then
            return
          else
            level = level - cost
          end
          s[4 + i] = level > burst and burst or level
        end
      end
      effects = effects + 1
      answers[#answers + 1] = kind == ACQUIRE and '\2' or '\1'
      from = op[n + 3] + op[2]
    elseif kind == nil or kind == END then
      absentAt = least
      for i = 1, n do
        local level, limit, per, burst = s[4 + i], q[3 * i - 2], q[3 * i - 1], q[3 * i]
        if level + limit * RETRY_WINDOW / per < burst and absentAt < math.huge then -- else it is full before that
          local wait = ceil((burst - level) * per / limit)
          if not (wait < MAX_SPAN) or level + limit * wait / per < burst or level + limit * (wait - 1) / per >= burst then
            return
          end
          if t + wait > absentAt then
            absentAt = t + wait
          end
        end
      end
      answers[#answers + 1] = pack('<dd', absentAt, 0)
      from = from + 1
    else
      return
    end
  until kind == nil
  if effects == 0 then
    return
  end

  local batch = pack('<dI4', t, effects) .. client .. number .. rep('1', effects)
  local last = #stored - #tail
  s[2], s[4], s[n + 5] = t, t, out > 0 and count or count + 1
  local state = limits .. pack(head, unpack(s, 1, n + 5))
    .. sub(stored, sizesAt, sizesAt + 4 * out - 5) .. sub(stored, sizesAt + 4 * out, first - 1) .. pack('<I4', #batch)
    .. sub(stored, first, outAt - 1) .. sub(stored, outAt + (out > 0 and sizes[out] or 0), last) .. batch .. tail
  return state, absentAt, table.concat(answers)
end

if stored and #ARGV == 5 and not since then
  local state, absentAt, answer = quick(ARGV[2], ARGV[3], ARGV[4], ARGV[5])
  if state then
    store(state, absentAt)
    return answer
  end
end
