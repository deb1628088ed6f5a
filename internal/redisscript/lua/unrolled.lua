-- The quick way for a number of buckets, BUCKETS. What stands between « and » is there once for each bucket, whose number
-- takes the place of the i in names that end with _i: so that each number is in a variable of its own, which costs a tenth
-- of what it costs in a table.
if n == BUCKETS then
  local «limit_i, per_i, burst_i, »flags, t, forgotten, newest, expires, «level_i, »count, first = unpackFrom('<«ddd»Bdddd«d»B', packed, #limits - 24 * BUCKETS + 1)
  if not stored then
    «
    level_i = burst_i
    »
  end
  local elapsed = now - t
  if elapsed > 0 then
    t = now
  end
  if flags >= LINE or t < newest then
    break
  end

  local overridden, tail, last = false, '', #packed -- tail: what follows the batches, the last of which ends at last
  if flags > 0 then
    if flags >= BLOCKED then
      tail = string.sub(packed, -8)
      if unpackFrom('<d', tail, 1) > t then
        break
      end
    end
    if flags % 2 == OVERRIDES then
      tail = string.sub(packed, -#tail - 16 * BUCKETS)
      local «overLimit_i, overBurst_i, »_ = unpackFrom('<«dd»', tail, 1)
      «
      if overLimit_i > 0 then
        limit_i, burst_i = overLimit_i, overBurst_i
      end
      »
      overridden = true
    end
    last = last - #tail
  end

  -- Which batch makes way, from one byte up to before another: this client's last one, or the oldest where there is no room.
  local from, to = first, first
  local oldestAt = first
  local mine = find(packed, client, first, true)
  if mine and mine < last then
    local numberAt = mine + #client
    if find(packed, number, numberAt, true) == numberAt then
      break
    end
    from, to = mine - 12, last + 1
    if count > 1 then
      to = numberAt + 2 - NUMBER + unpackFrom('<H', packed, numberAt) + unpackFrom('<I4', packed, mine - 4)
    end
    if from == first then
      oldestAt = to
    end
    count = count - 1
  end
  if count > 0 then
    local oldest = unpackFrom('<d', packed, oldestAt)
    if oldest <= t - RETRY_WINDOW then
      break
    end
    if count == MAX_BATCHES then
      to = first + 12
      to = to + 2 + unpackFrom('<H', packed, to)
      to = to + 2 - NUMBER + unpackFrom('<H', packed, to) + unpackFrom('<I4', packed, first + 8)
      if oldest > forgotten then
        forgotten = oldest
      end
      count = count - 1
    end
  end

  local effects, at, between, given = 0, 1, '', true
  local kind, before
  repeat
    before, kind = kind, byte(ops, at)
    if kind ~= nil and kind > AFTER and kind ~= END and before == ACQUIRE then -- which was granted
      kind = kind - AFTER
    end
    if kind == ACQUIRE or kind == ADJUST or kind == RECORD then
      local _, size, «cost_i, »next = unpackFrom('<BH«d»', ops, at)
      if elapsed > 0 then
        «
        level_i = level_i + limit_i * elapsed / per_i
        if level_i > burst_i then
          level_i = burst_i
        end
        »
        elapsed = 0
      end
      if kind == ACQUIRE then
        «
        if cost_i ~= 0 then
          if level_i < cost_i then
            given = false
          end
          level_i = level_i - cost_i
        end
        »
      else
        «
        if cost_i ~= 0 then
          if kind == ADJUST then
            level_i = level_i + cost_i
          else
            level_i = level_i - cost_i
          end
          if level_i > burst_i then
            level_i = burst_i
          end
        end
        »
      end
      effects = effects + 1
      at = next + size
    elseif kind == END then
      given = effects > 0 -- else levels are still of an earlier instant
      between = pack('c0<«d»', between«, level_i»)
      at = at + 1
    elseif kind ~= nil then
      given = false
    end
  until kind == nil or not given
  if not given or effects == 0 then
    break
  end

  -- The expiry stays where it is while that is neither too soon nor much too late: to move it costs as much as the rest.
  local remembered = (t > forgotten and t or forgotten) + RETRY_WINDOW - t
  local keeps
  if overridden or not clock then
    keeps, expires = expires == 0, 0
  else
    local ahead = expires * 1000 - t
    local sooner = ahead - ahead / LATE_PART - LATE
    keeps = ahead >= remembered« and level_i + limit_i * ahead / per_i >= burst_i» and
      (sooner < remembered« or level_i + limit_i * sooner / per_i < burst_i»)
    if not keeps then
      ahead = remembered
      «
      local wait_i = (burst_i - level_i) * per_i / limit_i
      if wait_i > ahead then
        ahead = wait_i
      end
      »
      if not (ahead < MAX_SPAN / 2) then
        break
      end
      expires = math.ceil((t + ahead + ahead / (LATE_PART * 2) + LATE / 2) / 1000)
      ahead = expires * 1000 - t
      if «level_i + limit_i * ahead / per_i < burst_i or »false then
        break
      end
    end
  end

  local earlier, later = '', ''
  if from > first then
    earlier = string.sub(packed, first, from - 1)
  end
  if to <= last then
    later = string.sub(packed, to, last)
  end
  local state = pack('c0<Bdddd«d»Bc0c0dI4c0c0c0c0', limits, flags, t, forgotten, t, expires, «level_i, »count + 1, earlier, later,
    t, effects, client, number, effects == 1 and '1' or string.rep('1', effects), tail)
  if keeps then
    call('SET', key, state, 'KEEPTTL')
  elseif expires > 0 then
    call('SET', key, state, 'PXAT', string.format('%d', expires))
  else
    call('SET', key, state)
  end
  do
    return pack('<dBddc0«d»', now, stored and QUICK or QUICK + 1, t, overridden and math.huge or t + remembered, between«, level_i»)
  end
end
