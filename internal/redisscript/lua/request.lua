-- Names (replay.go). A batch is packed as in a state; client and number are texts, packed too.

-- findBatch returns the effects of a batch, or nil.
function bucket.findBatch(client, number)
  local name = client .. number
  for i = 1, #s.batches do
    local b = s.batches[i]
    if sub(b, 13, 12 + #name) == name then
      return sub(b, 13 + #name)
    end
  end
end

function bucket.remembers(t)
  return since <= t and since > t - RETRY_WINDOW and (s.forgotten == 0 or s.forgotten < since)
end

function bucket.remember(t, client, number, effects)
  local batches, appliedAt = {}, {}
  for i = 1, #s.batches do
    local b, at = s.batches[i], s.appliedAt[i]
    if at > t - RETRY_WINDOW and sub(b, 13, 12 + #client) ~= client then
      batches[#batches + 1], appliedAt[#appliedAt + 1] = b, at
    end
  end
  if #batches == MAX_BATCHES then
    s.forgotten = math.max(s.forgotten, appliedAt[1])
    table.remove(batches, 1)
    table.remove(appliedAt, 1)
  end
  batches[#batches + 1], appliedAt[#appliedAt + 1] = pack('<dI4', t, #effects) .. client .. number .. effects, t
  s.batches, s.appliedAt = batches, appliedAt
end

-- request applies one request, appends its answers, and says whether it freed something that others may wait for.
function bucket.request(client, number, limits, packed, answers)
  local t = math.max(now, s.at)
  bucket.dropExpired(t)
  if s.kept <= t then
    s.kept = 0
  end
  local quotas = limits ~= '' and bucket.readBuckets(limits) or nil
  bucket.align(quotas)
  local ops = bucket.readOps(packed)
  local named, done, unknown = client ~= '', nil, false
  if named then
    done = bucket.findBatch(client, number)
    unknown = not done and since and not bucket.remembers(t)
  end

  local effects, freed, granted = {}, false, false
  for k = 1, #ops do
    local op = ops[k]
    local kind = op.kind
    if kind == END then
      local at = bucket.absentAt()
      if named and not unknown then -- the name is kept only at the end
        at = math.max(at, t + RETRY_WINDOW)
      end
      answers[#answers + 1] = pack('<dd', at, #s.line)
      granted = false
      bucket.dropExpired(t)
      bucket.align(quotas)
    else
      local status, answer
      if unknown then
        status = UNKNOWN
      elseif done and kind ~= PEEK and byte(done, #effects + 1) == 49 then -- '1'
        status = kind == ACQUIRE and GRANTED or DONE
      elseif op.after and not granted then
        status = SKIPPED
      else
        status, answer = bucket.apply(t, op)
        t = math.max(now, s.at)
      end
      granted = status == GRANTED
      freed = freed or status == DONE and kind ~= RECORD and kind ~= PEEK and kind ~= REBASE
      effects[#effects + 1] = (granted or status == DONE) and '1' or '0'
      answers[#answers + 1] = answer or string.char(status)
    end
  end
  if named and not unknown then
    bucket.remember(t, client, number, table.concat(effects))
  end
  return freed
end

-- publish tells of the places that would be granted if they asked now, or refused for good (Ready in line.go). That it may
-- not, or that nobody listens, is no error: who waits also polls.
function bucket.publish()
  local t = math.max(s.at, now)
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
    if not (p[LEASE] < t) then
      local covered, never = true, false
      for j = 1, #s.buckets do
        local cost, b = p[PROTECTS + j], s.buckets[j]
        covered = covered and (cost == 0 or bucket.levelAfter(b, t - s.at) >= before[j] + cost)
        never = never or cost > bucket.cap(b)
        before[j] = before[j] + cost
      end
      if covered or never then
        redis.pcall('PUBLISH', channel, bucket.text(key) .. p[ID])
      end
    end
  end
end

if stored then
  bucket.decode(stored)
end
local answers, freed, last = {}, false, #ARGV - 3
for i = 2, last, 4 do
  freed = bucket.request(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], answers) or freed
  if i < last then
    answers[#answers + 1] = pack('<dd', bucket.absentAt(), #s.line)
  end
end

-- The state is written, to be dropped once it equals an absent one: never sooner, and little later, so that not each write
-- moves the expiry. With a clock that isn't the server's nothing is dropped.
local absentAt, written = bucket.absentAt(), s.expires
local keeps = written == 0
if absentAt < math.huge and clock then
  local ahead = written * 1000 - now
  keeps = now + ahead >= absentAt and now + ahead - ahead / LATE_PART - LATE < absentAt
  s.expires = keeps and written or ceil((absentAt + (absentAt - now) / (LATE_PART * 2) + LATE / 2) / 1000)
else
  s.expires = 0
end
if clock and absentAt <= now then
  if stored then
    call('DEL', key)
  end
elseif stored and keeps then
  local state = bucket.encode()
  if state ~= stored then
    call('SET', key, state, 'KEEPTTL')
  end
elseif s.expires > 0 then
  call('SET', key, bucket.encode(), 'PXAT', string.format('%d', s.expires))
else
  call('SET', key, bucket.encode())
end
if freed then
  bucket.publish()
end
return pack('<dBdd', now, stored and 0 or 1, absentAt, #s.line) .. table.concat(answers)
