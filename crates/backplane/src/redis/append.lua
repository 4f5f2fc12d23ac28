-- append: fence, validate all, then write one entry. sequencer.rs is the same in Rust; a test compares the two.
--
-- Arguments: run, epoch, ahead, producers at most in a generation, heads from the archive; then a pair for each run of
-- one producer with consecutive numbers, one kind and one mver: its head (see common.lua), and the sizes and bodies.
-- Answers: {'fenced', epoch} | {'ask', conversations} | {'ok', n, ts, verdicts}.

-- A verdict: kind, how many envelopes, then up to three numbers.
local VERDICT = '<BI2I8I8I8'
local STORED, DUP, REUSED, OUT_OF_ORDER, STALE, OLD_ID, UNKNOWN = 1, 2, 3, 4, 5, 6, 7
-- A head from the archive: conversation, whether there is one, seq, ordinal, mver.
local SEED, SEED_BYTES = '<c16BI8I8I8', 41

-- Drops the older generation when it is old enough and wholly below W.
local function rotate(keys, state, now, producers_max)
  local due = now - state.rotated >= DEDUPE_MS
    or redis.call('HLEN', young_of(keys, state)) >= producers_max
  if not due or state.gen_n > state.w then
    return
  end
  redis.call('UNLINK', old_of(keys, state))
  state.gen, state.rotated, state.gen_n = state.gen + 1, now, state.n
  set(keys, 'gen', state.gen, 'rotated', now, 'gen_n', state.n)
end

-- Heads and records of everything in the batch, each read once.
local function load_all(keys, state, args, first)
  local batch = { runs = {}, heads = {}, producers = {}, conversations = {}, names = {} }
  for i = first, #args, 2 do
    local key = sub(args[i], 1, RUN_KEY)
    local conversation = sub(key, 1, 16)
    local no, mver, kind, count = parse(RUN_REST, args[i], RUN_KEY + 1)
    if count > 1 and (kind == CREATED or kind == MEMBER) then
      error('a membership event stands alone in its run')
    end
    batch.runs[#batch.runs + 1] = {
      key = key, conversation = conversation, no = no, mver = mver, kind = kind, count = count,
      head = args[i], tail = args[i + 1],
    }
    if batch.heads[conversation] == nil then
      batch.heads[conversation] = false
      batch.conversations[#batch.conversations + 1] = conversation
    end
    if batch.producers[key] == nil then
      batch.producers[key] = false
      batch.names[#batch.names + 1] = key
    end
  end
  if #batch.runs == 0 then
    return batch
  end
  local heads = redis.call('HMGET', keys[HEADS], unpack(batch.conversations))
  for i, conversation in ipairs(batch.conversations) do
    batch.heads[conversation] = head_of(heads[i]) or false
  end
  local missing = {}
  local known = redis.call('HMGET', young_of(keys, state), unpack(batch.names))
  for i, name in ipairs(batch.names) do
    batch.producers[name] = producer_of(known[i]) or false
    if not known[i] then
      missing[#missing + 1] = name
    end
  end
  if #missing > 0 then
    known = redis.call('HMGET', old_of(keys, state), unpack(missing))
    for i, name in ipairs(missing) do
      local producer = producer_of(known[i]) or false
      batch.producers[name] = producer
      if producer then
        producer.moves = true
      end
    end
  end
  return batch
end

-- In an epoch that began with a loss a conversation is fenced by itself until the archive was asked for it: returns those
-- for which it was not. The larger of the two heads is the right one.
local function seed(state, batch, seeds)
  if state.ask == 0 then
    return ''
  end
  local asked = {}
  for at = 1, #seeds, SEED_BYTES do
    local conversation, found, seq, ordinal, mver = parse(SEED, seeds, at)
    asked[conversation] = true
    local head = batch.heads[conversation]
    if found == 1 and head == false then
      batch.heads[conversation] = { seq = seq, ordinal = ordinal, mver = mver, tag = 0 }
    elseif found == 1 and head and head.tag < state.epoch and head.seq < seq then
      head.seq, head.ordinal, head.mver = seq, ordinal, mver
    end
  end
  local ask = {}
  for _, conversation in ipairs(batch.conversations) do
    local head = batch.heads[conversation]
    if not asked[conversation] and (not head or head.tag < state.epoch) then
      ask[#ask + 1] = conversation
    end
  end
  return table.concat(ask)
end

-- The verdict of a publish that its producer has sent before.
local function again(keys, state, key, producer, no, hash)
  local recent = no > producer.last - producer.total
  if not recent and no > producer.last - WINDOW then
    producer = older_of(keys, state, key, producer)
    recent = producer and no > producer.last - producer.total
  end
  if not recent then
    return pack(VERDICT, OLD_ID, 1, 0, 0, 0)
  end
  return each_segment(producer, function(first, count, seq, n, ts, at)
    local i = no - first
    if i >= count then
      return nil
    end
    if sub(producer.segments, at + 8 * i, at + 8 * i + 7) ~= hash then
      return pack(VERDICT, REUSED, 1, seq + i, 0, 0)
    end
    return pack(VERDICT, DUP, 1, seq + i, producer.tag == state.epoch and n or 0, ts)
  end)
end

-- Why a run's next publish may not be stored, or nil.
local function refusal(head, run)
  if not head then
    return run.kind ~= CREATED and pack(VERDICT, UNKNOWN, 1, 0, 0, 0) or nil
  end
  if run.kind == CREATED or head.mver ~= run.mver then
    return pack(VERDICT, STALE, 1, head.mver, 0, 0)
  end
end

-- Stores envelopes `skip + 1 .. count` of a run: moves head and producer, adds to the entry.
local function number(state, batch, run, skip, n, ts)
  local head, count = batch.heads[run.conversation], run.count - skip
  if not head then
    head = { seq = 0, ordinal = 0, mver = 0, tag = state.epoch }
  end
  local before, seq = head.seq, head.seq + 1
  if head.tag ~= state.epoch and head.seq > 0 then
    seq = seq + EPOCH_SKIP
  end
  local place = pack(PLACE, before, seq, head.ordinal)
  head.seq, head.tag, head.touched = seq + count - 1, state.epoch, true
  if run.kind == MESSAGE then
    head.ordinal = head.ordinal + count
  end
  if (run.kind == CREATED or run.kind == MEMBER) and is_group(run.key) then
    head.mver = seq
  end
  batch.heads[run.conversation] = head
  local producer = batch.producers[run.key]
  if not producer then
    producer = { tag = state.epoch, last = 0, total = 0, segments = '' }
    batch.producers[run.key] = producer
  end
  in_epoch(producer, state.epoch)
  local hashes = sub(run.head, RUN_HASHES + 8 * skip)
  remember(producer, run.no + skip, count, seq, n, ts, hashes)
  producer.touched = true
  local parts = batch.parts
  parts[#parts + 1] = place
  if skip == 0 then
    parts[#parts + 1] = run.head
    parts[#parts + 1] = run.tail
  else
    local bytes = 0
    for i = 0, skip - 1 do
      bytes = bytes + parse('<I4', run.tail, 4 * i + 1)
    end
    local rest = pack(RUN_REST, run.no + skip, run.mver, run.kind, count)
    parts[#parts + 1] = run.key .. rest .. hashes
    parts[#parts + 1] = sub(run.tail, 4 * skip + 1, 4 * run.count)
    parts[#parts + 1] = sub(run.tail, 4 * run.count + bytes + 1)
  end
  batch.stored = batch.stored + 1
  return pack(VERDICT, STORED, count, seq, 0, 0)
end

-- All verdicts of a run. What is stored of it is always its end: numbers are consecutive, and the rest is the same.
local function judge(keys, state, batch, run, verdicts, n, ts)
  local i = 0
  while i < run.count do
    local producer, no = batch.producers[run.key], run.no + i
    local last = producer and producer.last or 0
    local verdict, count = nil, 1
    if no == last + 1 then
      verdict = refusal(batch.heads[run.conversation], run)
      if not verdict then
        count = run.count - i
        verdict = number(state, batch, run, i, n, ts)
      end
    elseif not producer then
      verdict = pack(VERDICT, OLD_ID, 1, 0, 0, 0)
    elseif no > last then
      count = run.count - i
      verdict = pack(VERDICT, OUT_OF_ORDER, count, last + 1, 0, 0)
    else
      local at = RUN_HASHES + 8 * i
      verdict = again(keys, state, run.key, producer, no, sub(run.head, at, at + 7))
    end
    verdicts[#verdicts + 1] = verdict
    i = i + count
  end
end

-- The fields of a producer that was touched: its record, and the older part of its window if that grows, or comes along
-- from the older generation.
local function put_producer(keys, state, fields, key, producer)
  local full = #producer.segments > RECENT_BYTES
  if full or producer.moves then
    local older = older_of(keys, state, key, producer)
    if full then
      older = join(older, producer, state.epoch)
      producer = { last = older.last, total = 0, segments = '' }
    end
    if older then
      in_epoch(older, state.epoch)
      fields[#fields + 1] = key .. OLDER
      fields[#fields + 1] = pack_producer(older, state.epoch)
    end
  end
  fields[#fields + 1] = key
  fields[#fields + 1] = pack_producer(producer, state.epoch)
end

-- The entry is first: if it is refused, nothing has happened.
local function write(keys, state, batch, n, ts)
  local size = ENTRY_BYTES
  for _, part in ipairs(batch.parts) do
    size = size + #part
  end
  local bytes = state.bytes + size
  -- Put together at once: Redis's Lua hashes every byte of each string that it makes, and this one is the whole batch.
  batch.parts[1] = pack(ENTRY, ENTRY_VERSION, state.epoch, n, ts, bytes, batch.stored)
  local entry = table.concat(batch.parts)
  redis.call('XADD', keys[LOG], id_of(state.epoch, n), 'b', entry)
  local heads, producers = {}, {}
  for conversation, head in pairs(batch.heads) do
    if head and head.touched then
      heads[#heads + 1] = conversation
      heads[#heads + 1] = pack_head(head)
    end
  end
  for name, producer in pairs(batch.producers) do
    if producer and producer.touched then
      put_producer(keys, state, producers, name, producer)
    end
  end
  redis.call('HSET', keys[HEADS], unpack(heads))
  redis.call('HSET', young_of(keys, state), unpack(producers))
  set(keys, 'n', n, 'ts', ts, 'bytes', bytes)
  redis.call('PUBLISH', keys[LOG], entry)
end

local function append(keys, args)
  local state = state_of(keys)
  if state.run ~= args[1] or state.epoch ~= tonumber(args[2]) then
    return { 'fenced', state.epoch }
  end
  local now = now_ms(args[3])
  rotate(keys, state, now, tonumber(args[4]))
  local batch = load_all(keys, state, args, 6)
  local ask = seed(state, batch, args[5])
  if #ask > 0 then
    return { 'ask', ask }
  end
  -- The first part is the entry's head, which is known last.
  batch.parts, batch.stored = { '' }, 0
  local n, ts, verdicts = state.n + 1, math.max(now, state.ts), {}
  for _, run in ipairs(batch.runs) do
    judge(keys, state, batch, run, verdicts, n, ts)
  end
  if batch.stored > 0 then
    local done, problem = pcall(write, keys, state, batch, n, ts)
    if not done then
      -- Something may be written and something not: nobody goes on before all is rebuilt in a new epoch.
      redis.pcall('HSET', keys[STATE], 'run', '', 'unheard', '1')
      local why = type(problem) == 'table' and problem.err or problem
      return redis.error_reply('TORN ' .. tostring(why))
    end
  end
  return { 'ok', n, ts, table.concat(verdicts) }
end

redis.register_function { function_name = NAME .. 'append', callback = append }
