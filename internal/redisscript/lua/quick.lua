-- The quick way is for what is done most: a request with a new name, whose operations are granted, credit or debit, on an
-- absent key or under the limits that the state has, while nobody waits and nothing is blocked. It works on the packed state, with the same
-- sums in the same order as the general way below. Where any of that doesn't hold it gives up: it breaks out of this loop,
-- and nothing has happened. What depends on how many buckets there are is in unrolled.lua, which follows for 1 bucket, 2, …
--
-- A short name could be found in a state where none begins; those of package driver are 28 bytes long.
local find = string.find
while #ARGV == 5 and not since do
  local client, number, limits, ops = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
  local n, packed = byte(limits, 4), stored
  if #client < 16 or stored and find(stored, limits, 1, true) ~= 1 or not n then
    break
  end
  if not stored then -- all numbers are zero; the levels are set below
    packed = limits .. string.rep('\0', 34 + 8 * n)
  end
