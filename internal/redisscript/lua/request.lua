-- Names (replay.go).

local function findBatch(client, number)
  for i = 1, #s.batches do
    if s.batches[i].client == client and s.batches[i].number == number then
      return s.batches[i]
    end
  end
end

local function remembers(t)
  return since <= t and since > t - RETRY_WINDOW and (s.forgotten == 0 or s.forgotten < since)
end

local function remember(b)
  local kept = {}
  for i = 1, #s.batches do
    local old = s.batches[i]
    if old.at > b.at - RETRY_WINDOW and old.client ~= b.client then
      kept[#kept + 1] = old
    end
  end
  if #kept == MAX_BATCHES then
    s.forgotten = most(s.forgotten, kept[1].at)
    table.remove(kept, 1)
  end
  kept[#kept + 1] = b
  s.batches = kept
end

-- request applies one request, appends its answer, and says whether it freed something that others may wait for.
local function request(client, number, limits, opsText, answers)
  local t = most(now, s.at)
  dropExpired(t)
  align(limits)
  local ops = readOps(opsText)
  local named, done, unknown = client ~= '', '', false
  if named then
    client, number = sub(client, 3), sub(number, 3)
    local b = findBatch(client, number)
    if b then
      done = b.effects
    else
      unknown = since and not remembers(t)
    end
  end

  local effects, freed, granted, i = {}, false, false, 0
  local function close()
    local at = absentAt()
    if named and not unknown then -- the name is kept only at the end
      at = most(at, t + RETRY_WINDOW)
    end
    answers[#answers + 1] = pack('<dd', at, #s.line)
  end
  for k = 1, #ops do
    local op = ops[k]
    if op.kind == END then
      close()
      granted = false
    else
      local status, answer
      i = i + 1
      if unknown then
        status = UNKNOWN
      elseif op.kind ~= PEEK and byte(done, i) == 49 then
        status = op.kind == ACQUIRE and GRANTED or DONE
      elseif op.after and not granted then
        status = SKIPPED
      else
        status, answer = apply(t, op)
        t = most(now, s.at)
      end
      granted = status == GRANTED
      freed = freed or status == DONE and op.kind ~= RECORD and op.kind ~= PEEK and op.kind ~= REBASE
      effects[i] = (granted or status == DONE) and '1' or '0'
      answers[#answers + 1] = answer or string.char(status)
    end
  end
  if named and not unknown then
    remember({ client = client, number = number, at = t, effects = table.concat(effects) })
  end
  close()
  return freed
end

-- publish tells of the places that would be granted if they asked now. That it may not, or that nobody listens, is no
-- error: who waits also polls.
local function publish()
  local t = most(s.at, now)
  if t < s.blocked then
    return
  end
  local channel = sub(key, 1, unpackFrom('<H', about, 1)) .. 'ready'
  local before = {}
  for j = 1, #s.buckets do
    before[j] = 0
  end
  for i = 1, #s.line do
    local p = s.line[i]
    if not (p.lease < t) then
      local covered = true
      for j = 1, #s.buckets do
        local cost = p.cost[j]
        covered = covered and (cost == 0 or levelAfter(s.buckets[j], t - s.at) >= before[j] + cost)
        before[j] = before[j] + cost
      end
      if covered then
        redis.pcall('PUBLISH', channel, text(key) .. p.id)
      end
    end
  end
end

if stored then
  decode(stored)
end
local answers, freed = { pack('<dB', now, stored and 0 or 1) }, false
for i = 2, #ARGV, 4 do
  freed = request(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], answers) or freed
end
local state, at = encode(), absentAt()
if state ~= stored then
  store(state, at)
end
if freed then
  publish()
end
return table.concat(answers)
