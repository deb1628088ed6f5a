-- Applies requests to the state of one key: the arithmetic of package bucket, bit for bit, in one atomic step. This file
-- and those after it (script.go has their order) are one script.
--
-- KEYS[1] is the key. ARGV[1] is about the call: the size of the prefix that the key starts with, H; then nothing, or an
-- instant, d: the call may have been made before, not earlier than that (below zero: it was not); then nothing, or the
-- instant to use instead of the server's clock, d, which only tests send. Four arguments a request follow:
--
--   client   text: what its name begins with, the same in all of a client's requests; empty: it has no name
--   number   the rest of its name: text, but with NUMBER added to its size, so that it can't be taken for a client
--   limits   empty for none, or as at the start of a state
--   ops      its operations
--
-- B is a byte, H and I4 are unsigned integers of two and four bytes, d is a float64, all little-endian; text is H, how
-- many bytes, and the bytes. Instants and spans are whole microseconds, which a float64 holds exactly.
--
-- An operation begins with its kind, B (plus AFTER if it depends on the one before), and goes on with
--
--   acquire, adjust, record  H, the size of what comes after the costs; of each quota: cost, d; then nothing (no place,
--                            flow '', weight 1) or place, flow, text text; priority, weight, poll, grace, dddd
--   leave                    place, text
--   set-limit                quota, H; limit, burst, dd
--   clear-limit              quota, H
--   block                    span, d
--   observe                  quota, H; level, limit, dd
--   peek, rebase, invalid    nothing
--
-- END, alone, closes a request; what follows is another with the same name and limits, and its answer is apart.
--
-- A state is
--
--   'tb', version, B; how many buckets, B; of each: resource, text; of each: limit, per, burst, ddd      (the limits)
--   flags, B; at, forgotten, newest (instant of the newest batch), expires (when Redis drops it, in milliseconds; 0: never),
--     dddd; of each bucket: level, d
--   how many batches, B; of each: at, d; size of the effects, I4; client and number, as above; effects
--   if OVERRIDES: of each bucket: limit, burst, dd
--   if BLOCKED: until, d
--   if KEPT: until, d
--   if LINE: virtual, arrivals, how many places, how many flows, dddd
--     of each place: size of its id and of its flow, HH; priority, start, span, arrival, since, due, lease, ddddddd; of each
--     bucket: cost, d; id; flow
--     of each flow: size of its name, H; of each: finish, d; of each: name
--
-- The answer is now, d; whether the key was absent, B; how the state stands at the end: when the key will equal an absent
-- one, d, infinite for never, and the length of its line, d; then for each request what became of its operations (status,
-- B; refused: quota + 1, B; retry after, place, dd; too large: quota + 1, B; peeked: size, I4; state) and, but for the
-- last one, how the state stood after it.
--
-- The quick way answers with numbers instead of what would take it time to find out: now, d; QUICK, B (plus 1 if the
-- key was absent); the instant of the levels, and one until which the state is kept in any case, dd, infinite for an override; for each request the levels after it,
-- d for each bucket. All operations had effect, nobody waits.
--
-- Constants and comments are gone from what a server gets (script.go): numbers are written in their place, since each
-- function would pay, each time, for every local outside it that it names. For the same reason functions are in a table.

local VERSION = 1
local OVERRIDES, BLOCKED, LINE, UNORDERED, KEPT = 1, 2, 4, 8, 16 -- UNORDERED: batches are not in the order of their instants
local ACQUIRE, LEAVE, ADJUST, RECORD, SET_LIMIT, CLEAR_LIMIT, BLOCK, OBSERVE, PEEK, REBASE = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
local AFTER, END = 64, 255
local DONE, GRANTED, REFUSED, TOO_LARGE, INVALID, SKIPPED, UNKNOWN, PEEKED = 1, 2, 3, 4, 5, 6, 7, 8 -- PEEKED: done, with a state

-- A bucket is an array of numbers and its resource, a place one of its id, its flow and numbers, the last of them what it
-- costs of each bucket; an operation has the cost of each quota from COST on.
local LIMIT, PER, BURST, LEVEL, OVER_LIMIT, OVER_BURST, RESOURCE = 1, 2, 3, 4, 5, 6, 7
local ID, FLOW, PRIORITY, START, SPAN, ARRIVAL, SINCE, DUE, LEASE, PROTECTS = 1, 2, 3, 4, 5, 6, 7, 8, 9, 9
local COST = 2

local RETRY_WINDOW = 60000000
local MAX_INSTANT = 8000000000000000
local MAX_SPAN = 315619200000000
local MAX_UNITS = 1000000000000000
local MAX_BATCHES = 16
local LATE, LATE_PART = 500000, 16 -- an expiry is at most so much too late, and a part of the time till then
local MAX_FLOWS = 256
local NUMBER = 32768
local QUICK = 2 -- where other answers have whether the key was absent
local MIN_OVERFULL, SLACK, AGEING = 1000, 60000000, 8

local byte = string.byte
