-- The quick way is for what is done most: a request with a new name, whose operations are granted, credit or debit, under
-- the limits that the state has, while nobody waits and nothing is blocked. It works on the packed state, with the same
-- sums in the same order as the general way below. Where any of that doesn't hold it gives up: it breaks out of this loop,
-- and nothing has happened.
while stored and #ARGV == 5 and not since do
  local client, number, limits, ops = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
  local size = #limits
  if client == '' or size == 0 or find(stored, limits, 1, true) ~= 1 then
    break
  end
  local n = byte(limits, 4)
  local m = 3 * n
  -- The formats of an operation, of the numbers in a state up to how many batches, of those from the flags on, and of
  -- a state with a single batch: spelled out where that saves the time to put them together.
  local opFormat, whole, head, alone
  if n == 3 then
    opFormat, whole, head, alone = '<BHddd', '<dddddddddBdddddddB', '<BdddddddB', 'c0<BdddddddBI4dI4c0c0c0c0'
  elseif n == 2 then
    opFormat, whole, head, alone = '<BHdd', '<ddddddBddddddB', '<BddddddB', 'c0<BddddddBI4dI4c0c0c0c0'
  elseif n == 1 then
    opFormat, whole, head, alone = '<BHd', '<dddBdddddB', '<BdddddB', 'c0<BdddddBI4dI4c0c0c0c0'
  else
    local doubles = rep('d', n)
    opFormat, head = '<BH' .. doubles, '<Bdddd' .. doubles .. 'B'
    whole, alone = '<' .. rep(doubles, 3) .. 'Bdddd' .. doubles .. 'B', 'c0' .. head .. 'I4dI4c0c0c0c0'
  end
  -- v[3i-2], v[3i-1], v[3i] are limit, per and burst of bucket i, as in force; from v[m+1]: flags, at, forgotten, newest,
  -- expires, the levels from v[m+6], how many batches, and the position after that.
  local v = { unpackFrom(whole, stored, size - 8 * m + 1) }
  local flags, t, forgotten, count, sizesAt = v[m + 1], v[m + 2], v[m + 3], v[m + n + 6], v[m + n + 7]
  local elapsed = now - t
  if elapsed > 0 then
    t = now
  end
  if flags >= LINE or count == 0 or t < v[m + 4] then
    break
  end

  -- Which batch makes way: this client's last one; else, where there is no room, the oldest.
  local sizes, first
  if count > 1 then
    sizes = { unpackFrom('<' .. rep('I4', count), stored, sizesAt) }
    first = sizes[count + 1]
  else
    first = sizesAt + 4
  end
  local out, outAt = 0, first -- its number, 0 for none, and where it starts
  local found = find(stored, client, first, true)
  if found then
    out = 1
    while out < count and outAt + 12 < found do
      outAt = outAt + sizes[out]
      out = out + 1
    end
    local numberAt = found + #client
    if outAt + 12 ~= found or find(stored, number, numberAt, true) == numberAt then
      break
    end
  end
  local least = (t > forgotten and t or forgotten) + RETRY_WINDOW
  if out ~= 1 or count > 1 then
    local oldest = unpackFrom('<d', stored, out == 1 and first + sizes[1] or first)
    if oldest <= t - RETRY_WINDOW then
      break
    end
    if out == 0 and count == MAX_BATCHES then
      out = 1
      v[m + 3] = oldest > forgotten and oldest or forgotten
    end
  end

  local tail = ''
  if flags > 0 then
    if flags >= BLOCKED then
      tail = sub(stored, -8)
      if unpackFrom('<d', tail, 1) > t then
        break
      end
    end
    if flags % 2 == OVERRIDES then
      tail = sub(stored, -#tail - 16 * n)
      for i = 1, n do
        local limit, burst = unpackFrom('<dd', tail, 16 * i - 15)
        if limit > 0 then
          v[3 * i - 2], v[3 * i] = limit, burst
        end
      end
      least = math.huge
    end
  end

  local levels = m + 5
  local absentAt
  local answer, effects, given = '', 0, true
  local from = 1
  local kind, before
  repeat
    before, kind = kind, byte(ops, from)
    if kind ~= nil and kind > AFTER and kind ~= END and before == ACQUIRE then -- which was granted
      kind = kind - AFTER
    end
    if kind == ACQUIRE or kind == ADJUST or kind == RECORD then
      local op = { unpackFrom(opFormat, ops, from) } -- kind, size of the rest, costs from op[3]
      for i = 1, n do
        local j = 3 * i
        local cost, level, burst = op[2 + i], v[levels + i], v[j]
        if elapsed > 0 then
          level = level + v[j - 2] * elapsed / v[j - 1]
          if level > burst then
            level = burst
          end
        end
        if cost ~= 0 then
          if kind == ADJUST then
            level = level + cost
          elseif kind == ACQUIRE and level < cost then
            given = false
            break
          else
            level = level - cost
          end
          if level > burst then
            level = burst
          end
        end
        v[levels + i] = level
      end
      elapsed = 0
      effects = effects + 1
      answer = answer .. (kind == ACQUIRE and '\2' or '\1')
      from = op[n + 3] + op[2]
    elseif kind == nil or kind == END then
      given = effects > 0 -- else levels are still of an earlier instant
      absentAt = least
      for i = 1, n do
        local j = 3 * i
        local level, limit, per, burst = v[levels + i], v[j - 2], v[j - 1], v[j]
        local wait = (burst - level) * per / limit
        if not (wait < MAX_SPAN - 1) then
          given = false
        elseif level + limit * RETRY_WINDOW / per < burst and absentAt < math.huge then -- else it is full before that
          wait = ceil(wait)
          if level + limit * wait / per < burst or level + limit * (wait - 1) / per >= burst then
            -- The estimate is off by the rounding of levels: the least wait is searched for, as timeTo does.
            local fails, step = 0, 1
            if level + limit * wait / per >= burst then
              while wait - step > 0 do
                if level + limit * (wait - step) / per < burst then
                  fails = wait - step
                  break
                end
                wait = wait - step
                step = step * 2
              end
            else
              while level + limit * wait / per < burst and wait < MAX_SPAN do
                fails, wait = wait, wait + step
                step = step * 2
              end
              if wait >= MAX_SPAN then
                fails = wait
              end
            end
            while wait - fails > 1 do
              local middle = fails + math.floor((wait - fails) / 2)
              if level + limit * middle / per >= burst then
                wait = middle
              else
                fails = middle
              end
            end
          end
          if wait >= MAX_SPAN then
            given = false
          elseif t + wait > absentAt then
            absentAt = t + wait
          end
        end
      end
      if kind == END then
        answer = answer .. pack('<dd', absentAt, 0)
        from = from + 1
      end
    else
      given = false
    end
  until kind == nil or not given
  if not given or effects == 0 then
    break
  end

  local expires = 0
  if absentAt < math.huge and clock then
    expires = ceil(absentAt / 1000)
  end
  local keep = v[m + 5] >= expires and v[m + 5] <= expires + EXPIRY_SLACK
  if keep then
    expires = v[m + 5]
  elseif expires > 0 then
    expires = expires + EXPIRY_SLACK
  end
  v[m + 2], v[m + 4], v[m + 5] = t, t, expires
  local batchSize = 12 + #client + #number + effects
  local done = effects == 1 and '1' or rep('1', effects)
  local state
  if count == 1 and out == 1 then -- no other client's is there
    local at = m + n
    v[at + 7], v[at + 8], v[at + 9], v[at + 10], v[at + 11], v[at + 12], v[at + 13] = batchSize, t, effects, client, number, done, tail
    state = pack(alone, limits, unpack(v, m + 1, at + 13))
  else
    v[m + n + 6] = out > 0 and count or count + 1
    state = limits .. pack(head, unpack(v, m + 1, m + n + 6))
      .. sub(stored, sizesAt, sizesAt + 4 * out - 5) .. sub(stored, sizesAt + 4 * out, first - 1) .. pack('<I4', batchSize)
      .. sub(stored, first, outAt - 1) .. sub(stored, outAt + (out > 0 and sizes[out] or 0), -1 - #tail)
      .. pack('<dI4', t, effects) .. client .. number .. done .. tail
  end
  if keep then
    redis.call('SET', key, state, 'KEEPTTL')
  elseif expires > 0 then
    redis.call('SET', key, state, 'PXAT', string.format('%d', expires))
  else
    redis.call('SET', key, state)
  end
  do
    return pack('<dBddc0', now, 0, absentAt, 0, answer)
  end
end
