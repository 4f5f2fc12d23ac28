-- What all functions share: the state hash, time, heads of conversations, records of producers.
-- The first lines (name of the library, numbers that Rust has, too) are written in front of this by library.rs.
--
-- Keys, in the same order in every call: state, log, heads, young or old dedupe (two), nodes, answers, given, order.
-- The log's key is also the name of its channel.
--
-- Lua has doubles only: ids and hashes are opaque strings here, counters are below 2^53, and a number that becomes a
-- string goes through `text`, since `tostring` rounds from 10^14 on.

-- Called ten times per message, and found faster than globals. They are not there yet while the library is loaded.
local pack, parse, sub

local STATE, LOG, HEADS, DEDUPE, NODES, ANSWERS, GIVEN, ORDER = 1, 2, 3, 4, 6, 7, 8, 9

local CREATED, MESSAGE, MEMBER = 1, 2, 6

-- A run in a call and in the log: key (conversation, user, producer), then these, then one hash per envelope.
local RUN_KEY, RUN_REST = 32, '<I8I8BI2'
local RUN_HASHES = RUN_KEY + 8 + 8 + 1 + 2 + 1
-- What the log adds in front of a run: the conversation's seq before it, its first seq, the ordinal before it.
local PLACE, PLACE_BYTES = '<I8I8I8', 24
-- Head of an entry: version, epoch, n, ts, bytes of the epoch up to and with it, runs.
local ENTRY, ENTRY_BYTES, ENTRY_VERSION = '<BI4I8I8I8I2', 31, 1
-- A conversation: seq, ordinal, mver, the epoch in which it was numbered last.
local HEAD = '<I8I8I8I4'
-- A producer: epoch of its places, last no, publishes remembered; then segments of consecutive ones.
local PRODUCER, PRODUCER_BYTES = '<I4I8B', 13
local SEGMENT, SEGMENT_BYTES = '<BI8I8I8', 25
-- Bytes of segments that are written with every publish: nine of one. More go to a record of their own, the older part of
-- the window: all 32 with each publish would be 1 KB each time, in memory and in the append-only file.
local RECENT_BYTES, OLDER = 320, 'o'

local function text(number)
  return string.format('%.0f', number)
end

local function id_of(epoch, n)
  return text(epoch) .. '-' .. text(n)
end

-- Milliseconds. `ahead` is 0 but in tests of what takes a quarter of an hour.
local function now_ms(ahead)
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(ahead)
end

-- run and epoch in force; last n, first (trimmed up to), w, ts of the last entry, bytes of the epoch; generation of young
-- dedupe, since when, and the last n of the one before; ask (something was lost: ask the archive for heads); epoch and n of
-- what this epoch has in common with the one before; the persister's lease.
local FIELDS = {
  'run', 'epoch', 'n', 'first', 'w', 'ts', 'bytes', 'gen', 'rotated', 'gen_n', 'ask', 'ce', 'cn', 'lease',
}

-- The partition's state; `run` is false for one that has none. Every function begins with it.
local function state_of(keys)
  pack, parse, sub = struct.pack, struct.unpack, string.sub
  local values = redis.call('HMGET', keys[STATE], unpack(FIELDS))
  local state = { run = values[1] }
  for i = 2, #FIELDS do
    state[FIELDS[i]] = tonumber(values[i] or 0)
  end
  return state
end

local function set(keys, ...)
  local pairs_of = { ... }
  for i = 2, #pairs_of, 2 do
    if type(pairs_of[i]) == 'number' then
      pairs_of[i] = text(pairs_of[i])
    end
  end
  redis.call('HSET', keys[STATE], unpack(pairs_of))
end

local function young_of(keys, state)
  return keys[DEDUPE + state.gen % 2]
end

local function old_of(keys, state)
  return keys[DEDUPE + (state.gen + 1) % 2]
end

local function is_group(key)
  return string.byte(key, 1) >= 128
end

local function head_of(packed)
  if not packed then
    return nil
  end
  local seq, ordinal, mver, tag = parse(HEAD, packed)
  return { seq = seq, ordinal = ordinal, mver = mver, tag = tag, touched = false }
end

local function pack_head(head)
  return pack(HEAD, head.seq, head.ordinal, head.mver, head.tag)
end

local function producer_of(packed)
  if not packed then
    return nil
  end
  local tag, last, total = parse(PRODUCER, packed)
  local segments = sub(packed, PRODUCER_BYTES + 1)
  -- All fields at once: a table that grows is copied.
  return {
    tag = tag, last = last, total = total, segments = segments, touched = false, moves = false,
  }
end

local function pack_producer(producer, epoch)
  return pack(PRODUCER, epoch, producer.last, producer.total) .. producer.segments
end

-- Calls `each(first no, count, seq, n, ts, position of the hashes)` for every segment, oldest first, until it returns
-- something.
local function each_segment(producer, each)
  local at, no = 1, producer.last - producer.total + 1
  while at <= #producer.segments do
    local count, seq, n, ts = parse(SEGMENT, producer.segments, at)
    local found = each(no, count, seq, n, ts, at + SEGMENT_BYTES)
    if found then
      return found
    end
    at = at + SEGMENT_BYTES + 8 * count
    no = no + count
  end
end

-- Forgets the oldest publishes beyond the window.
local function prune(producer)
  while producer.total > WINDOW do
    local count, seq, n, ts = parse(SEGMENT, producer.segments)
    local drop = math.min(count, producer.total - WINDOW)
    local rest = sub(producer.segments, SEGMENT_BYTES + 8 * drop + 1)
    if drop < count then
      rest = pack(SEGMENT, count - drop, seq + drop, n, ts) .. rest
    end
    producer.segments = rest
    producer.total = producer.total - drop
  end
end

-- Places of an earlier epoch are at or below its W, or were written again in this one.
local function in_epoch(producer, epoch)
  if producer.tag == epoch then
    return
  end
  local parts = {}
  each_segment(producer, function(_, count, seq, _, ts, at)
    parts[#parts + 1] = pack(SEGMENT, count, seq, 0, ts)
    parts[#parts + 1] = sub(producer.segments, at, at + 8 * count - 1)
  end)
  producer.segments = table.concat(parts)
  producer.tag = epoch
end

-- The older part of a window, if there is one: it ends where the record begins.
local function older_of(keys, state, key, producer)
  local packed = redis.call('HGET', young_of(keys, state), key .. OLDER)
    or redis.call('HGET', old_of(keys, state), key .. OLDER)
  local older = producer_of(packed)
  if older and older.last == producer.last - producer.total then
    return older
  end
end

-- The whole window in one record.
local function join(older, producer, epoch)
  if not older then
    return producer
  end
  in_epoch(older, epoch)
  in_epoch(producer, epoch)
  older.segments = older.segments .. producer.segments
  older.total, older.last = older.total + producer.total, producer.last
  prune(older)
  return older
end

-- Takes publishes `no ..= no + count - 1` of one batch into the window.
local function remember(producer, no, count, seq, n, ts, hashes)
  local skip = math.max(0, count - WINDOW)
  producer.segments = producer.segments
    .. pack(SEGMENT, count - skip, seq + skip, n, ts)
    .. sub(hashes, 8 * skip + 1)
  if skip > 0 then
    producer.segments = sub(producer.segments, -(SEGMENT_BYTES + 8 * WINDOW))
    producer.total = 0
  end
  producer.total = producer.total + count - skip
  producer.last = no + count - 1
  prune(producer)
end
